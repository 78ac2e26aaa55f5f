"""What is handed to the worker and back: numbers, arrays and grids, without torch or ITK.

The process that shows the images imports this file and never the libraries that compute.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuralreg.errors import InvalidImage, InvalidTransform
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.remarks import Remark
from neuralreg.geometry.typing import Array
from neuralreg.registration.guides.landmark_guide import LandmarkGuide
from neuralreg.registration.options import (
    USUAL,
    FieldRefinement,
    RegistrationOptions,
    WeightRefinement,
)
from neuralreg.registration.result import Outcome


@dataclass(frozen=True, eq=False)
class Field:
    """A displacement field: `p + vectors` is where a point p of the grid goes.

    Attributes:
        vectors: (z, y, x, d), mm, LPS components x y z.
        grid: where they are known; the nearest border sample counts outside.

    Raises:
        InvalidTransform: when shapes disagree.
    """

    vectors: Array
    grid: Grid

    def __post_init__(self) -> None:
        shape = (*self.grid.shape, self.grid.dimension)
        if self.vectors.shape != shape:
            raise InvalidTransform(
                "a field has one vector per sample",
                got=f"array {self.vectors.shape}",
                wanted=f"{shape}",
            )


@dataclass(frozen=True, eq=False)
class Origin:
    """The files that a volume of a scene was loaded from.

    Attributes:
        files: an image file, or the DICOM files of its slices; none where they are not known any
            more.
        grid: of the voxels in the scene, without transforms above them; None where their axes are
            not at right angles.
        edited: whether voxels or placement were changed since.
    """

    files: tuple[str, ...] = ()
    grid: Grid | None = None
    edited: bool = False


@dataclass(frozen=True, eq=False)
class Voxels:
    """An image, a label map, or a layer of labels that do not overlap.

    Attributes:
        data: (z, y, x), or (z, y, x, c) with several channels; any number type.
        grid: of the voxels in the world; or, with a bend, in the space that it leads to.
        bend: for voxels at other than right angles: from the world to that space.
        straight: the grid in the world onto which such an image is resampled for the search.
        labels: take nearest values, and 0 outside; else interpolate, and the lowest value outside.
        only: in a mask, the labels that count; all above 0 unless given.
        name: how remarks and messages call it.
        origin: where it was loaded from, whose header says which values are padding, the units,
            and what is to be doubted; None for what was made in memory.
        units: of the values; "" where they have none; None where only the file knows.
        remarks: what was repaired, assumed or doubted since it was handed over.

    Raises:
        InvalidImage: when shapes disagree.
    """

    data: Array
    grid: Grid
    bend: Field | None = None
    straight: Grid | None = None
    labels: bool = False
    only: tuple[int, ...] | None = None
    name: str = ""
    origin: Origin | None = None
    units: str | None = None
    remarks: tuple[Remark, ...] = ()

    def __post_init__(self) -> None:
        axes = self.grid.dimension
        if self.data.shape[:axes] != self.grid.shape or self.data.ndim > axes + 1:
            raise InvalidImage(
                "an image has its values on its grid",
                got=f"array {self.data.shape}",
                wanted=f"{self.grid.shape}, or with channels last",
            )

    @property
    def world_grid(self) -> Grid:
        """The image's grid in the world."""
        return self.straight or self.grid


ImageInput = Voxels | str  # a string is an image file of any kind that `neuralreg.read_image` takes


@dataclass(frozen=True, eq=False)
class RegisterJob:
    """Everything that a registration needs.

    Attributes:
        fixed, moving: the images.
        fixed_mask, moving_mask: layers; a voxel counts where any of them has a label that counts.
        initial: where to begin, fixed to moving: a field, a homogeneous matrix in LPS (row by row),
            or a transform file.
        options: everything else that can be chosen, including the model.
        channels: pairs of further images of both sides.
        labels: label maps of both sides that drive.
        rigid: label map of rigid parts on the fixed side.
        surfaces: pairs of points (n, d) on surfaces of both sides, LPS mm.
        sliding: layers of a mask of the part of the fixed image that may slide along the rest.
        warped: whether the moving image is wanted on the fixed grid.
        along: what else is wanted there.
        inverse: whether the other direction is wanted.
        cubic: whether the fields are for a cubic reader, as Slicer is: what is wanted on the fixed
            grid is brought there as that reader would.
    """

    fixed: ImageInput
    moving: ImageInput
    fixed_mask: tuple[ImageInput, ...] = ()
    moving_mask: tuple[ImageInput, ...] = ()
    initial: Field | tuple[tuple[float, ...], ...] | str | None = None
    options: RegistrationOptions = USUAL
    warped: bool = True
    along: tuple[ImageInput, ...] = ()
    inverse: bool = True
    cubic: bool = False
    channels: tuple[tuple[ImageInput, ImageInput], ...] = ()
    labels: tuple[ImageInput | None, ImageInput | None] = (None, None)
    rigid: ImageInput | None = None
    surfaces: tuple[tuple[Array, Array], ...] = ()
    sliding: tuple[ImageInput, ...] = ()


@dataclass(frozen=True, eq=False)
class Registration:
    """What a registration gives back; the facts are those of `neuralreg.RegistrationResult`.

    Attributes:
        model, outcome, warnings, timings, provenance: as there.
        linear: homogeneous matrix of the alignment in the field, LPS, row by row.
        grid: of the fixed image.
        field: fixed to moving.
        inverse_field: moving to fixed, if it was wanted.
        warped, along: values on the fixed grid, in the types of what was given; (z, y, x[, c]);
            for what could not be brought along the text that says why.
    """

    model: str
    outcome: Outcome
    warnings: tuple[str, ...]
    timings: Mapping[str, float]
    provenance: Mapping[str, Any]
    linear: tuple[tuple[float, ...], ...]
    grid: Grid
    field: Field
    inverse_field: Field | None
    warped: Array | None
    along: tuple[Array | str, ...]


@dataclass(frozen=True, eq=False)
class TransformPart:
    """One of the transforms that points pass one after the other, as it is stored.

    Attributes:
        moves: a field, a homogeneous matrix in LPS (row by row), or the numbers of another kind.
        kind: "field", "matrix", or the name of the other kind.
        inverse: whether it is passed backwards.
    """

    moves: Field | tuple[tuple[float, ...], ...] | Array
    kind: str
    inverse: bool = False


@dataclass(frozen=True, eq=False)
class ReviewJob:
    """A transform to be reviewed, and what is known about both sides.

    Attributes:
        transform: fixed to moving: a field, a homogeneous matrix in LPS (row by row), or a file.
        content: what the transform is recognized by where it was sampled: its parts as they are
            stored; the transform itself unless given.
        fixed, moving: the images.
        fixed_labels, moving_labels: label maps whose values mean the same structures.
        names: of the structures, by the value as text.
        mask: on the fixed side.
        sliding: mask on the fixed side of what slid along the rest; nothing counts beside its
            border.
        steering: kinds of guides that steered: "labels", "surfaces", "sliding".
        fixed_points, moving_points, point_names: pairs of landmarks in one order, LPS mm.
        steering_points: those in the fixed image that steered the registration, LPS mm.
        corrections: records of those that were made by hand since.
        inverse: moving to fixed, like `transform`.
        own_inverse: whether the inverse was computed from the transform instead of by a
            registration of its own.
        profile: file of limits, if not the usual one.
        detail: "quick" or "full".
        maps: images wanted on the fixed grid: "jacobian", "forward_backward", "magnitude",
            "residual", "warped" (the moving image); "carried_back" is the fixed image on the moving
            grid.
    """

    transform: Field | tuple[tuple[float, ...], ...] | str
    fixed: ImageInput | None = None
    moving: ImageInput | None = None
    fixed_labels: ImageInput | None = None
    moving_labels: ImageInput | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    mask: ImageInput | None = None
    sliding: ImageInput | None = None
    steering: tuple[str, ...] = ()
    fixed_points: tuple[tuple[float, ...], ...] = ()
    moving_points: tuple[tuple[float, ...], ...] = ()
    point_names: tuple[str, ...] = ()
    steering_points: tuple[tuple[float, ...], ...] = ()
    corrections: tuple[Mapping[str, Any], ...] = ()
    inverse: Field | tuple[tuple[float, ...], ...] | str | None = None
    own_inverse: bool = False
    profile: str | None = None
    detail: str = "full"
    maps: tuple[str, ...] = ()
    content: tuple[TransformPart, ...] = ()


@dataclass(frozen=True, eq=False)
class Review:
    """What a review gives back.

    Attributes:
        report: as `QualityReport.as_record`.
        maps: by name.
    """

    report: Mapping[str, Any]
    maps: Mapping[str, Voxels]


RECORDS = {
    kind.__name__: kind
    for kind in (
        Grid,
        Field,
        Origin,
        Voxels,
        Outcome,
        FieldRefinement,
        WeightRefinement,
        LandmarkGuide,
        RegistrationOptions,
        RegisterJob,
        Registration,
        TransformPart,
        ReviewJob,
        Review,
    )
}


def rows_of(matrix: NDArray[np.floating[Any]]) -> tuple[tuple[float, ...], ...]:
    """A matrix as plain numbers."""
    return tuple(tuple(row) for row in matrix.tolist())
