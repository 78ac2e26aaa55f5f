"""The job "sequence": the frames of a sequence in a scene, registered to each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from neuralreg.errors import InvalidImage
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.linear import LinearTransform
from neuralreg.geometry.slicer_interpolation import crop_for_cubic_readers
from neuralreg.groups.motion import MotionOptions, Way, estimate_motion, poses_of
from neuralreg.progress import Progress, stage
from neuralreg.registration.options import RegistrationOptions
from neuralreg.worker.messages import Field, rows_of
from neuralreg.worker.shared_images import image_of, record_of


def register_frames(arguments: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """The way from a reference to each frame.

    Args:
        arguments: frames: images on one grid; to, frame, deformation, periodic: as
            `MotionOptions.parse` takes them; options: record of those of a registration.
        progress: called with a fraction and a message.

    Returns:
        ways: for each frame a matrix in LPS (row by row), a field, or None for one that could not
        be registered; failures: why, by the frame's number as text; notes: on frames that were
        aligned in another way than the rest; poses: of each frame, or None.

    Raises:
        InvalidImage: the frames have different grids or several channels.
        InvalidOption, InvalidImage: as `estimate_motion`.
    """
    progress(0.0, "reading the frames")
    frames = [image_of(each) for each in arguments["frames"]]
    _require_one_grid([frame.grid for frame in frames])
    options = MotionOptions.parse(
        arguments["to"],
        arguments["frame"],
        arguments["deformation"],
        arguments["periodic"],
        RegistrationOptions.from_record(arguments["options"]),
    )
    motion = estimate_motion(frames, options, stage(progress, 0.02, 0.95))
    grid = motion.reference.grid
    poses = [None if pose is None else asdict(pose) for pose in poses_of(motion)]
    return {
        "ways": [None if way is None else _record(way, grid) for way in motion.ways],
        "failures": {str(number): why for number, why in motion.failures.items()},
        "notes": list(motion.notes),
        "poses": poses,
    }


def _require_one_grid(grids: list[Grid]) -> None:
    for number, grid in enumerate(grids):
        if not grid.is_close(grids[0]):
            raise InvalidImage(
                "the frames of a sequence lie on one grid",
                where=f"frame {number}",
                got=f"{grid.size} voxels of {grid.spacing} mm",
                wanted=f"{grids[0].size} voxels of {grids[0].spacing} mm, at the same place",
                remedy="Resample the frames onto one of them first.",
            )


def _record(way: Way, grid: Grid) -> Field | tuple[tuple[float, ...], ...]:
    if isinstance(way, LinearTransform):
        return rows_of(way.matrix)
    return record_of(crop_for_cubic_readers(way, grid))
