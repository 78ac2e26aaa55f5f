"""What the files say that a volume of a scene was loaded from: the program there keeps voxels only.

3D Slicer reads by ITK, which adds intercepts, makes 0 of NaN and takes spacings as the door does
not: where that shows, the remark tells of the scene, and not what the door would have done.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neuralreg.errors import RegistrationError
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.remarks import Remark, RemarkKind
from neuralreg.io.formats import nifti, nifti_header
from neuralreg.io.formats.dicom import HEADER_TAGS, is_dicom, require_straight, units_of
from neuralreg.io.formats.dicom_frames import place_frames
from neuralreg.io.formats.dicom_header import number_of, read_header, text_of
from neuralreg.io.formats.dicom_padding import Padding, paddings_of
from neuralreg.io.formats.dicom_series import SliceTags
from neuralreg.io.itk_images import open_grid

_SERIES_TAGS = [*HEADER_TAGS, "ImageOrientationPatient", "PixelSpacing",
                "FrameOfReferenceUID"]  # fmt: skip
_MOVED = 0.1  # voxels: more than rounding
_NIFTI = (*nifti_header.SUFFIXES, *nifti_header.PAIR_SUFFIXES)
_CLEAR = (".nrrd", ".nhdr", ".mha", ".mhd")  # their headers say everything once
_SAID_OTHERWISE = (
    RemarkKind.SPACING_CONTRADICTS,
    RemarkKind.SCALING_CONTRADICTS,
    RemarkKind.TURNED_PLANE,
)


@dataclass(frozen=True)
class FileFacts:
    """What files say that voxels do not.

    Attributes:
        remarks: on the header, or why it is not known.
        paddings: of each slice or frame.
        units: of the values; "" where the files do not say.
    """

    remarks: tuple[Remark, ...] = ()
    paddings: Sequence[Padding | None] = (None,)
    units: str = ""


def facts_of(name: str, files: Sequence[str], grid: Grid | None, *, edited: bool) -> FileFacts:
    """What the files of a volume say about it.

    Args:
        name: how remarks call the volume.
        files: one image file, or the DICOM files of its slices.
        grid: where the scene has the voxels, without transforms above them; None where their axes
            are not at right angles.
        edited: whether voxels or placement were changed since the file was read.
    """
    paths = [Path(file) for file in files]
    if len(paths) == 1 and paths[0].name.lower().endswith(_CLEAR):
        return FileFacts()
    missing = next((path for path in paths if not path.is_file()), None)
    if not paths or missing is not None:
        why = f"{missing} is not there" if missing else "the DICOM database does not know its files"
        return _nothing_known(name, why)
    try:
        if is_dicom(paths[0]):
            return _dicom_facts(name, paths)
        if not paths[0].name.lower().endswith(_NIFTI):
            return FileFacts()
        return FileFacts(tuple(_nifti_remarks(name, paths[0], grid, edited)))
    except RegistrationError as error:
        return _nothing_known(name, str(error))


def _nothing_known(name: str, why: str) -> FileFacts:
    return FileFacts((Remark(RemarkKind.FILES_UNKNOWN, name, {"why": why}),))


def _nifti_remarks(name: str, path: Path, grid: Grid | None, edited: bool) -> list[Remark]:
    header = nifti_header.read_header(path)
    shape = (*header.shape, 1, 1)[:3]
    if grid is not None and grid.size != shape:
        why = f"{path} now holds {_in_words(shape)} voxels, not {_in_words(grid.size)}"
        return [Remark(RemarkKind.FILES_UNKNOWN, name, {"why": why})]
    remarks = nifti_header.header_remarks(Path(name), header)
    remarks = [remark for remark in remarks if remark.kind not in _SAID_OTHERWISE]
    if header.has_lone_intercept:
        values = {"intercept": header.intercept}
        remarks.append(Remark(RemarkKind.INTERCEPT_ADDED, name, values))
    if edited:
        return remarks
    if grid is not None and (gap := _gap_voxels(open_grid(path)[0], grid)) > _MOVED:
        remarks.append(Remark(RemarkKind.PLACED_OTHERWISE, name, {"voxels": gap, "file": path}))
    if header.frames == 1 and (count := nifti.count_stored_not_finite(header)):
        remarks.append(Remark(RemarkKind.NOT_FINITE_LOST, name, {"count": count}))
    return remarks


def _gap_voxels(one: Grid, other: Grid) -> float:
    """The largest distance of corresponding corners; 0 for a plane, which the scene gives depth."""
    if one.dimension < other.dimension:
        return 0.0
    gap = np.linalg.norm(one.corners() - other.corners(), axis=-1).max()
    return float(gap / min(other.spacing))


def _in_words(size: Sequence[int]) -> str:
    return " x ".join(map(str, size))


def _dicom_facts(name: str, paths: list[Path]) -> FileFacts:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pydicom, about values that it can read all the same
        if len(paths) == 1:
            header = read_header(paths[0])
            frames = int(number_of(header, "NumberOfFrames", 1))
            unplaced = place_frames(paths[0], header, frames) is None
            remarks = [Remark(RemarkKind.NO_PLACEMENT, name)] if unplaced else []
            return FileFacts(tuple(remarks), paddings_of(header, frames), units_of(header))
        headers = [read_header(path, _SERIES_TAGS) for path in paths]
        paddings = [paddings_of(header)[0] for header in headers]
        return FileFacts(tuple(_slice_remarks(name, headers)), paddings, units_of(headers[0]))


def _slice_remarks(name: str, headers: list[Any]) -> list[Remark]:
    """What is doubted about slices, in the order of the places that they have."""
    tags = SliceTags(name, len(headers), lambda k, tag: text_of(headers[k], tag))
    try:
        remarks = tags.remarks()
        positions, orientations = tags.positions(), tags.orientations()
        if len(positions) and len(orientations):
            normal = np.cross(*orientations[0].reshape(2, 3))
            order = np.argsort(positions @ normal)
            pixel = min(tags.spacings().min(initial=np.inf), np.inf)
            remarks += require_straight(name, positions[order], normal, pixel)
    except RegistrationError as error:  # a file given by its path would be refused
        what = f"{error.what}, {error.got}" if error.got else error.what
        return [Remark(RemarkKind.SLICES_DOUBTED, name, {"what": what})]
    return remarks
