"""What readers of files repaired, assumed or doubted: typed, and in words for people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path


class RemarkKind(StrEnum):
    """What a reader repaired, assumed or doubts."""

    NOT_FINITE = "not finite"
    FRAME_CHOSEN = "frame chosen"
    PLACEMENTS_DISAGREE = "placements disagree"
    SPACING_CONTRADICTS = "spacing contradicts"
    SCALING_CONTRADICTS = "scaling contradicts"
    SINGLE_SLICE = "single slice"
    NO_PLACEMENT = "no placement"
    PADDED = "padded"
    PADDED_RANGE = "padded range"
    PADDING_BY_FRAME = "padding by frame"
    MOSAIC = "mosaic"
    NOT_INVERTED = "not inverted"
    INTENSITY_FUNCTION = "intensity function"
    PALETTE = "palette"
    FILES_UNKNOWN = "files unknown"
    INTERCEPT_ADDED = "intercept added"
    PLACED_OTHERWISE = "placed otherwise"
    NOT_FINITE_LOST = "not finite lost"
    SLICES_DOUBTED = "slices doubted"
    RESCALED_BY_SLICE = "rescaled by slice"
    UNITS = "units"
    SHIFTED_SLICES = "shifted slices"
    NO_SPACING = "no spacing"
    TURNED_PLANE = "turned plane"
    LENGTH_UNIT = "length unit"
    HEADER_REPAIRED = "header repaired"
    LEVEL_CHOSEN = "level chosen"
    NO_UNIT = "no unit"
    AXES_ASSUMED = "axes assumed"


_WORDS = {
    RemarkKind.NOT_FINITE: "{count} NaN or infinite values",
    RemarkKind.FRAME_CHOSEN: "{axes}D image, frame {frame} of {frames} was chosen",
    RemarkKind.PLACEMENTS_DISAGREE: "qform and sform place the image up to {voxels:.2g} voxels "
    "apart; placed as ITK and 3D Slicer place it",
    RemarkKind.SPACING_CONTRADICTS: "pixdim gives a spacing of {pixdim} mm, the sform {sform} mm; "
    "placed by the sform, as the NIfTI standard says",
    RemarkKind.SCALING_CONTRADICTS: "there is no scl_slope to the scl_inter of {intercept:g}: "
    "values are not scaled, as the NIfTI standard says; ITK adds the intercept",
    RemarkKind.SINGLE_SLICE: "one DICOM file was read alone; give its folder to read the series",
    RemarkKind.NO_PLACEMENT: "the file does not say where the image is: it begins at the origin "
    "with axes along left, posterior and superior",
    RemarkKind.NO_SPACING: "the files do not say how large a pixel is: 1 mm was assumed",
    RemarkKind.PADDED: "{count} voxels have the padding value {value:g} and count as background",
    RemarkKind.PADDED_RANGE: "{count} voxels have padding values from {low:g} to {high:g} and "
    "count as background",
    RemarkKind.PADDING_BY_FRAME: "its frames differ in what is padding, so that none of it was "
    "made background; give the file in its place",
    RemarkKind.FILES_UNKNOWN: "what its file says beside the voxels (padding, units, headers that "
    "contradict themselves) is not known: {why}",
    RemarkKind.INTERCEPT_ADDED: "its file has no scl_slope to the scl_inter of {intercept:g}: 3D "
    "Slicer adds that to the values, the NIfTI standard does not",
    RemarkKind.PLACED_OTHERWISE: "the scene has it up to {voxels:.2g} voxels from where {file} "
    "places it by the NIfTI standard; it was taken as it lies in the scene",
    RemarkKind.NOT_FINITE_LOST: "its file holds {count} NaN or infinite values, which are 0 in the "
    "scene; give the file in its place",
    RemarkKind.SLICES_DOUBTED: "its DICOM files would be refused: {what}; in the scene it may be "
    "bent",
    RemarkKind.MOSAIC: "a mosaic: the slices of a volume are tiles of one picture; convert the "
    "series first, for example with dcm2niix",
    RemarkKind.NOT_INVERTED: "small values are to be shown as white (MONOCHROME1): values are as "
    "they are stored; ITK and 3D Slicer invert them",
    RemarkKind.INTENSITY_FUNCTION: "the header gives an ElementToIntensityFunction: values are as "
    "they are stored, as in ITK and 3D Slicer",
    RemarkKind.PALETTE: "the values are indices of a palette of colors",
    RemarkKind.RESCALED_BY_SLICE: "each slice was scaled by its own slope, {low:g} to {high:g}",
    RemarkKind.UNITS: "the values are in {units}",
    RemarkKind.TURNED_PLANE: "a single plane that is not axial: as an image in 2D it keeps its "
    "spacing, not its place in space",
    RemarkKind.LENGTH_UNIT: "the header gives lengths in {unit}; they were converted to mm, which "
    "some programs do not do",
    RemarkKind.HEADER_REPAIRED: "the header holds {what}: placed by the {by}; other programs may "
    "place the image elsewhere",
    RemarkKind.LEVEL_CHOSEN: "level {level} of {levels} was read, {size} voxels; another one is "
    "named after two colons, the finest: {name}",
    RemarkKind.NO_UNIT: "the file gives no unit of length: mm was assumed",
    RemarkKind.AXES_ASSUMED: "the file does not say where its axes lead to: x, y, z were taken as "
    "left, posterior, superior",
    RemarkKind.SHIFTED_SLICES: "slices are up to {mm:.2g} mm off an even spacing",
}


@dataclass(frozen=True)
class Remark:
    """What was repaired, assumed or doubted about one file.

    Attributes:
        kind: what it is about.
        path: the file or folder; of a volume in memory its name.
        values: the numbers and names that belong to it.
    """

    kind: RemarkKind
    path: Path | str
    values: Mapping[str, object] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.path}: {_WORDS[self.kind].format(**self.values)}"
