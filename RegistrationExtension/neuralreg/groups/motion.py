"""The frames of a sequence registered to one of them, to their mean, or along a chain."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import TypeAlias

import numpy as np
import torch
from scipy.linalg import fractional_matrix_power

from neuralreg.errors import InvalidImage, InvalidOption
from neuralreg.geometry.field import DisplacementField
from neuralreg.geometry.grid import Matrix
from neuralreg.geometry.image import Image
from neuralreg.geometry.linear import LinearTransform
from neuralreg.geometry.warp import warp
from neuralreg.groups.choices import Deformation, choose
from neuralreg.groups.frame_alignment import FrameAligner, choose_linear
from neuralreg.progress import Progress, silent, stage
from neuralreg.registration.engine import register
from neuralreg.registration.image_checks import prepare
from neuralreg.registration.options import LinearAlignment, RegistrationOptions

Way: TypeAlias = "LinearTransform | DisplacementField"
_HEAD_RADIUS_MM = 50.0  # rotations as millimeters on a sphere, Power et al. 2012


class Target(StrEnum):
    """What the frames are registered to."""

    FRAME = "frame"
    MEAN = "mean"
    CHAIN = "chain"


@dataclass(frozen=True)
class MotionOptions:
    """How a sequence is registered.

    Attributes:
        target: what to.
        frame: the number of the frame, with FRAME, and the one to begin with otherwise; the middle
            one unless given.
        deformation: what may change.
        periodic: the last frame is followed by the first: the drift of a chain is closed.
        registration: of deformable frames.
    """

    target: Target = Target.MEAN
    frame: int | None = None
    deformation: Deformation = Deformation.RIGID
    periodic: bool = False
    registration: RegistrationOptions = field(default_factory=RegistrationOptions)

    @classmethod
    def parse(
        cls,
        target: str,
        frame: int | None,
        deformation: str,
        periodic: bool,
        registration: RegistrationOptions,
    ) -> MotionOptions:
        """The options of words.

        Raises:
            InvalidOption: for a word that is none of the choices.
        """
        return cls(
            choose(Target, target, "target of a sequence"),
            frame,
            choose(Deformation, deformation, "deformation of a sequence"),
            periodic,
            registration,
        )

    def as_record(self) -> dict[str, object]:
        """Plain values, ready for JSON."""
        return {**asdict(self), "registration": self.registration.as_record()}


@dataclass(frozen=True, eq=False)
class Motion:
    """How each frame moved.

    Attributes:
        reference: the image that all frames were registered to.
        ways: reference to frame, in LPS mm; None for frames that could not be registered.
        failures: by number of the frame: why not.
        notes: which frames had to be aligned in another way than the rest, and why.
    """

    reference: Image
    ways: tuple[Way | None, ...]
    failures: dict[int, str]
    notes: tuple[str, ...] = ()


def estimate_motion(
    frames: Sequence[Image], options: MotionOptions, progress: Progress = silent
) -> Motion:
    """The way from a reference to each frame of a sequence.

    Args:
        frames: of one grid, at least two.
        options: how.
        progress: called with a fraction and a message; raise `Cancelled` in it to stop.

    Raises:
        InvalidOption: there is no such frame, or a chain shall be deformable.
        InvalidImage: there is only one frame, or the frame to begin with shows nothing.
    """
    if len(frames) < 2:
        raise InvalidImage("a sequence has at least two frames", got=f"{len(frames)}")
    first = len(frames) // 2 if options.frame is None else options.frame
    if not 0 <= first < len(frames):
        raise InvalidOption(
            "there is no such frame", got=f"{first}", wanted=f"0 to {len(frames) - 1}"
        )
    if options.target is Target.CHAIN:
        return _chain(frames, first, options, progress)
    if options.periodic:
        raise InvalidOption("the drift of a chain is closed; other targets have none",
                            got="periodic", wanted="target chain")  # fmt: skip
    reference = prepare(frames[first], f"frame {first}")[0]
    if options.target is Target.FRAME:
        return _to_reference(reference, frames, first, options, progress)
    begin = _to_reference(reference, frames, first, options, stage(progress, 0.0, 0.5))
    mean = mean_image(frames, begin.ways, reference)
    part = stage(progress, 0.5, 1.0)
    motion = _to_reference(mean, frames, None, options, part, begin.ways)
    return replace(motion, notes=tuple(dict.fromkeys([*begin.notes, *motion.notes])))


def _to_reference(
    reference: Image,
    frames: Sequence[Image],
    same: int | None,
    options: MotionOptions,
    progress: Progress,
    starts: Sequence[Way | None] | None = None,
) -> Motion:
    """The motion against one image.

    Args:
        reference: prepared.
        frames: of one grid.
        same: the number of the frame that is the reference, None where none is.
        options: how.
        progress: called with a fraction and a message.
        starts: ways that linear ones begin with; the identity unless given.
    """
    still = LinearTransform.identity(reference.grid.dimension)
    numbers = [n for n in range(len(frames)) if n != same]
    images = _Frames(frames, numbers)
    notes: list[str] = []
    if options.deformation is Deformation.DEFORMABLE:
        ways = _deformable_ways(reference, images, options, progress)
    else:
        begins = {n: way for n, way in enumerate(starts or ()) if isinstance(way, LinearTransform)}
        ways = _linear_ways(reference, images, begins, options, notes, progress)
    if same is not None:
        ways[same] = still
    every = tuple(ways.get(n) for n in range(len(frames)))
    return Motion(reference, every, images.failures, tuple(notes))


@dataclass(eq=False)
class _Frames:
    """Frames that are prepared when they are needed; which of them show nothing."""

    frames: Sequence[Image]
    numbers: list[int]
    failures: dict[int, str] = field(default_factory=dict)

    def prepare(
        self, at_once: int, progress: Progress
    ) -> Iterator[tuple[dict[int, Image], Progress]]:
        """So many by number, and the progress of what is done with them."""
        total = max(len(self.numbers), 1)
        for begin in range(0, len(self.numbers), at_once):
            chosen = self.numbers[begin : begin + at_once]
            part = stage(progress, begin / total, (begin + len(chosen)) / total)
            part(0.0, f"frame {chosen[0]}")
            images = {}
            for number in chosen:
                try:
                    images[number] = prepare(self.frames[number], f"frame {number}")[0]
                except InvalidImage as error:
                    self.failures[number] = str(error)
            yield images, part


def _deformable_ways(
    reference: Image, frames: _Frames, options: MotionOptions, progress: Progress
) -> dict[int, Way]:
    ways: dict[int, Way] = {}
    for images, part in frames.prepare(1, progress):
        for number, image in images.items():
            result = register(reference, image, options.registration, progress=part)
            ways[number] = result.field
    return ways


def _linear_ways(
    reference: Image,
    frames: _Frames,
    starts: Mapping[int, LinearTransform],
    options: MotionOptions,
    notes: list[str],
    progress: Progress,
) -> dict[int, Way]:
    still = LinearTransform.identity(reference.grid.dimension)
    kind = LinearAlignment(options.deformation.value)
    aligner = FrameAligner(reference, affine=kind is LinearAlignment.AFFINE)
    ways: dict[int, Way] = {}
    for images, _ in frames.prepare(aligner.most_frames, progress):
        begins = [starts.get(number, still) for number in images]
        alignments = aligner.align(list(images.values()), begins)
        for (number, image), one in zip(images.items(), alignments, strict=True):
            ways[number] = choose_linear(one, reference, image, kind, f"frame {number}", notes)
    return ways


def _chain(
    frames: Sequence[Image], first: int, options: MotionOptions, progress: Progress
) -> Motion:
    """Each frame to the next one, composed; what a whole cycle misses is shared by its steps.

    Raises:
        InvalidOption: it shall be deformable: errors would add up without a remedy.
        InvalidImage: a frame cannot be registered: the chain ends there.
    """
    if options.deformation is Deformation.DEFORMABLE:
        raise InvalidOption(
            "a chain is rigid or affine", got="deformable", wanted="target frame or mean"
        )
    kind = LinearAlignment(options.deformation.value)
    images = [prepare(frame, f"frame {n}")[0] for n, frame in enumerate(frames)]
    pairs = list(zip(range(len(images)), [*range(1, len(images)), 0], strict=True))
    steps: list[Matrix] = []
    notes: list[str] = []
    still = LinearTransform.identity(images[0].grid.dimension)
    for number, (one, next_one) in enumerate(pairs if options.periodic else pairs[:-1]):
        progress(number / len(pairs), f"frame {one} to {next_one}")
        aligner = FrameAligner(images[one], affine=kind is LinearAlignment.AFFINE)
        (step,) = aligner.align([images[next_one]], [still])
        name = f"frame {next_one} to {one}"
        way = choose_linear(step, images[one], images[next_one], kind, name, notes)
        steps.append(way.matrix)
    whole = [still.matrix]
    for matrix in steps:
        whole.append(matrix @ whole[-1])
    if options.periodic:
        drift = whole.pop()
        whole = [way @ np.linalg.inv(_power(drift, n / len(images))) for n, way in enumerate(whole)]
    start = np.linalg.inv(whole[first])
    ways = tuple(LinearTransform(way @ start) for way in whole)
    return Motion(images[first], ways, {}, tuple(notes))


def _power(matrix: Matrix, share: float) -> Matrix:
    """A part of a linear transform near the identity."""
    part: Matrix = np.real(fractional_matrix_power(matrix, share))
    return part


def mean_image(frames: Sequence[Image], ways: Sequence[Way | None], reference: Image) -> Image:
    """The mean of all frames that were registered, on the reference's grid."""
    total, count = torch.zeros_like(reference.data), 0
    for frame, way in zip(frames, ways, strict=True):
        if way is not None:
            total += resample_frame(frame.fill_not_finite().float(), way, reference).data
            count += 1
    return Image(total / max(count, 1), reference.grid)


def resample_frame(frame: Image, way: Way, reference: Image) -> Image:
    """A frame as it looks in the reference, resampled once."""
    if isinstance(way, LinearTransform):
        few = reference.grid.resize([min(n, 2) for n in reference.grid.size]).pad(1)
        way = DisplacementField.from_linear(way, few)
    return warp(frame, way, reference.grid)


@dataclass(frozen=True)
class Pose:
    """How a frame lies against the reference.

    Attributes:
        translations: mm along x y z (LPS) of the center of the field of view, (d,).
        rotations: degrees about x y z (one number in 2D).
        displacement_mm: framewise, against the frame before; 0 for the first.
    """

    translations: tuple[float, ...]
    rotations: tuple[float, ...]
    displacement_mm: float


def poses_of(motion: Motion) -> list[Pose | None]:
    """Translations and rotations of each frame, of deformations their nearest rigid part.

    Framewise displacement: the absolute changes of all translations and of the rotations on a
    sphere of 50 mm, added. Source: Power et al. 2012, doi:10.1016/j.neuroimage.2011.10.018.
    """
    grid = motion.reference.grid
    poses: list[Pose | None] = []
    before: np.ndarray | None = None
    for way in motion.ways:
        if way is None:
            poses.append(None)
            continue
        translations, rotations = _pose_of(way, grid.center, grid.corners())
        now = np.concatenate([translations, np.radians(rotations) * _HEAD_RADIUS_MM])
        moved = 0.0 if before is None else float(np.abs(now - before).sum())
        before = now
        poses.append(Pose(tuple(translations.tolist()), tuple(rotations.tolist()), moved))
    return poses


def _pose_of(way: Way, center: Matrix, corners: Matrix) -> tuple[Matrix, Matrix]:
    rigid = LinearTransform.fit_rigid(corners, way(corners))
    d = len(center)
    r = rigid.matrix[:d, :d]
    if d == 2:
        angles = np.array([np.degrees(np.arctan2(r[1, 0], r[0, 0]))])
    else:  # x, then y, then z, as ITK's Euler3DTransform with ComputeZYX
        angles = np.degrees(
            [
                np.arctan2(r[2, 1], r[2, 2]),
                np.arcsin(np.clip(-r[2, 0], -1, 1)),
                np.arctan2(r[1, 0], r[0, 0]),
            ]
        )
    return rigid(center[None])[0] - center, angles
