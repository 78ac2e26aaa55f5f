"""DICOM files with several frames, by pydicom: ITK takes their places, scales or types wrongly."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import SimpleITK as sitk

from neuralreg.errors import InvalidImage, UnreadableFile
from neuralreg.geometry.grid import Grid, Matrix
from neuralreg.geometry.remarks import Remark, RemarkKind
from neuralreg.io.formats.dicom_header import (
    frame_groups,
    frame_scales,
    number_of,
    require_even,
    scale_of,
)
from neuralreg.io.formats.dicom_padding import fill_padding, paddings_of
from neuralreg.io.volume import Array, Volume, frame_remarks, not_finite_remarks, to_image

_TURNED = 1e-3  # of a cosine: more than rounding


@dataclass(frozen=True)
class Placement:
    """Where the frames of a file are and how each is scaled.

    Attributes:
        positions: LPS mm of the first voxel of each frame, (frames, 3).
        cosines: of the rows and columns, (2, 3).
        spacing: between columns and rows, mm.
        scales: slope and intercept of each frame, (frames, 2).
        thickness: distance of slices where the positions cannot say, mm.
    """

    positions: Matrix
    cosines: Matrix
    spacing: tuple[float, float]
    scales: Matrix
    thickness: float


def read_frames(
    path: Path, header: Any, placement: Placement | None, frames: int, repeat: int | None = 0
) -> list[Volume]:
    """The frames of one file in their order in space, each with its own scale.

    Args:
        path: the file.
        header: of the file, without its pixels.
        placement: what `place_frames` says.
        frames: how many.
        repeat: which one is taken where several are at one place; all of them where it is None.
    """
    values = _read_stored(path, header).reshape(frames, int(header.Rows), int(header.Columns))
    remarks = []
    if header.get("PhotometricInterpretation") == "PALETTE COLOR":
        remarks.append(Remark(RemarkKind.PALETTE, path))
    units = ""
    if "DoseGridScaling" in header:
        values = (values.astype(np.float64) * float(header.DoseGridScaling)).astype(np.float32)
        units = str(header.get("DoseUnits", "") or "")
        remarks.append(Remark(RemarkKind.UNITS, path, {"units": units or "dose"}))
    if placement is None:
        if frames == 1:
            return [Volume(_flat(values, header), tuple(remarks), 1, units)]
        remarks.append(Remark(RemarkKind.NO_PLACEMENT, path))
        return [Volume(to_image(values), tuple(remarks), 1, units)]
    if (placement.scales != (1, 0)).any():
        slopes, intercepts = placement.scales.T
        values = (values * slopes[:, None, None] + intercepts[:, None, None]).astype(np.float32)
    orders, paddings = _orders(path, placement), paddings_of(header, frames)
    volumes = []
    for k in range(len(orders)) if repeat is None else [repeat]:
        grid = _grid(path, values.shape, placement, orders[k])
        ordered = values[orders[k]]
        filled, padded = fill_padding(path, ordered, [paddings[frame] for frame in orders[k]])
        doubts = not_finite_remarks(path, filled)
        notes = (*remarks, *doubts, *padded, *frame_remarks(path, 4, k, len(orders)))
        volumes.append(Volume(to_image(filled, grid), notes, len(orders), units))
    return volumes


def _flat(values: Array, header: Any) -> sitk.Image:
    image = to_image(values)
    step = [float(s) for s in header.get("PixelSpacing", (1, 1))]
    image.SetSpacing((step[1], step[0], 1.0))
    return image


def _read_stored(path: Path, header: Any) -> Array:
    """The values as stored."""
    try:
        return np.asarray(pydicom.dcmread(path, force=True).pixel_array)
    except Exception as error:
        raise UnreadableFile(
            f"{path} cannot be read as an image",
            got=str(error),
            remedy="Decompress the file first, for example with gdcmconv --raw.",
        ) from error


def place_frames(path: Path, header: Any, frames: int) -> Placement | None:
    """Where the frames are; None where the file does not say."""
    if header.get("PerFrameFunctionalGroupsSequence"):
        return _place_enhanced(path, header, frames)
    cosines, spacing = header.get("ImageOrientationPatient"), header.get("PixelSpacing")
    first = header.get("ImagePositionPatient")
    if "DetectorInformationSequence" in header and cosines is None:
        detector = header.DetectorInformationSequence[0]
        cosines = detector.get("ImageOrientationPatient")
        first = detector.get("ImagePositionPatient")
    if cosines is None or spacing is None or first is None:
        return None
    axes = np.array(cosines, float).reshape(2, 3)
    normal = np.cross(*axes)
    step = number_of(header, "SpacingBetweenSlices", number_of(header, "SliceThickness", 1.0))
    along = np.arange(frames) * step
    if (offsets := header.get("GridFrameOffsetVector")) is not None and len(offsets) == frames:
        along = np.array(offsets, float)
        along = along - along[0] if along[0] else along  # the first is 0, or where the first one is
    return Placement(
        np.array(first, float) + np.outer(along, normal),
        axes,
        (float(spacing[1]), float(spacing[0])),
        np.tile(scale_of(header), (frames, 1)),
        step,
    )


def _place_enhanced(path: Path, header: Any, frames: int) -> Placement | None:

    def part(group: tuple[Any, Any], name: str) -> Any:
        sequence = group[0].get(name) or group[1].get(name)
        return sequence[0] if sequence else pydicom.Dataset()

    groups = list(frame_groups(header, frames))
    positions = [part(g, "PlanePositionSequence").get("ImagePositionPatient") for g in groups]
    planes = [part(g, "PlaneOrientationSequence").get("ImageOrientationPatient") for g in groups]
    measures = part(groups[0], "PixelMeasuresSequence")
    spacing = measures.get("PixelSpacing")
    if spacing is None or any(p is None for p in (*positions, *planes)):
        return None
    if np.ptp(np.array(planes, float), axis=0).max() > _TURNED:
        raise InvalidImage(
            "the frames of a volume are parallel",
            where=str(path),
            got="frames of several orientations, as localizers have them",
            remedy="Export one orientation as a series of its own.",
        )
    return Placement(
        np.array(positions, float),
        np.array(planes[0], float).reshape(2, 3),
        (float(spacing[1]), float(spacing[0])),
        np.array(frame_scales(header, frames)),
        number_of(measures, "SpacingBetweenSlices", number_of(measures, "SliceThickness", 1.0)),
    )


def _orders(path: Path, placement: Placement) -> list[list[int]]:
    """The frames of each volume along the normal: the first ones of all positions, the next ..."""
    normal = np.cross(*placement.cosines)
    along = np.round((placement.positions - placement.positions[0]) @ normal, 3)
    levels, counts = np.unique(along, return_counts=True)
    if len(set(counts.tolist())) > 1:
        raise InvalidImage(
            f"the frames of {path} do not make volumes",
            got=f"{len(along)} frames at {len(levels)} positions",
            remedy="Export one time point, echo or phase as a series of its own.",
        )
    by_level = np.array([np.flatnonzero(along == level) for level in levels])
    orders: list[list[int]] = by_level.T.tolist()
    return orders


def _grid(path: Path, shape: tuple[int, ...], placement: Placement, order: list[int]) -> Grid:
    positions = placement.positions[order]
    normal = np.cross(*placement.cosines)
    along = (positions - positions[0]) @ normal
    step = float(np.median(np.diff(along))) if len(along) > 1 else abs(placement.thickness) or 1.0
    require_even(f"the frames of {path}", positions, normal, min(placement.spacing))
    direction = np.stack([*placement.cosines, normal], -1)
    return Grid(
        (shape[2], shape[1], len(order)),
        (*placement.spacing, step),
        tuple(positions[0].tolist()),
        tuple(direction.ravel().tolist()),
    )
