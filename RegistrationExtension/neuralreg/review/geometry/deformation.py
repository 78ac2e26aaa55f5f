"""A transform under review: where points go, on any grid, without torch."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from neuralreg.errors import InvalidTransform
from neuralreg.geometry.grid import Grid, Matrix, require_dimension
from neuralreg.geometry.linear import LinearTransform
from neuralreg.geometry.typing import Array
from neuralreg.io.exchange.families import read_content
from neuralreg.io.exchange.matrices import from_affine
from neuralreg.io.exchange.sides import Sides
from neuralreg.io.itk_images import check_vectors

_SAME_AXES = 1e-6  # difference of cosines
_HASH_DECIMALS = 4  # of mm: what a file in single precision keeps


@runtime_checkable
class FieldData(Protocol):
    """A DisplacementField of the core (components first), or the worker's record of one (last)."""

    @property
    def vectors(self) -> Any:
        """Displacements in mm."""

    @property
    def grid(self) -> Grid:
        """Of the displacements."""


@runtime_checkable
class ResultData(Protocol):
    """A RegistrationResult: the field, and the inverse that was computed from it."""

    @property
    def field(self) -> FieldData:
        """Fixed to moving."""

    @property
    def inverse_field(self) -> FieldData:
        """Moving to fixed."""


@dataclass(frozen=True, eq=False)
class Deformation:
    """`p_moving = p_fixed + u(p_fixed)` in LPS mm, as it was given.

    Exactly one of `vectors`, `matrix` and `transform` is there.

    Attributes:
        dimension: 2 or 3.
        vectors: u, (z, y, x, d), on `grid`, linear between samples and constant beyond them.
        grid: Of the vectors.
        matrix: Homogeneous.
        transform: Anything else that ITK knows.
    """

    dimension: int
    vectors: Array | None = None
    grid: Grid | None = None
    matrix: Matrix | None = None
    transform: sitk.Transform | None = None

    @classmethod
    def of(cls, source: TransformLike) -> Deformation:
        """From a file, a SimpleITK transform or image of vectors, or the core's own transforms.

        Raises:
            InvalidTransform: The source is something else, or not finite.
            UnreadableFile: The file cannot be read.
        """
        if isinstance(source, Deformation):
            return source
        if isinstance(source, str | Path):
            return cls.from_file(Path(source))
        if isinstance(source, sitk.Image):
            return cls._from_vectors(source)
        if isinstance(source, sitk.Transform):
            return cls._from_transform(source.Downcast())
        if isinstance(source, LinearTransform):
            return cls(source.dimension, matrix=source.matrix)
        field = source.field if isinstance(source, ResultData) else source
        if not isinstance(field, FieldData):
            raise InvalidTransform("this is no transform", got=type(source).__name__)
        vectors = field.vectors
        if not isinstance(vectors, np.ndarray):  # a tensor of the core, components first
            vectors = np.moveaxis(vectors.detach().cpu().numpy(), 0, -1)
        return cls(field.grid.dimension, vectors=_require_finite(vectors), grid=field.grid)

    @classmethod
    def from_file(
        cls,
        path: Path,
        sides: Sides | None = None,
        source: str | None = None,
        notes: list[str] | None = None,
    ) -> Deformation:
        """From a file of any program.

        Args:
            path: Of the transform.
            sides: The images that it is between, which some formats need.
            source: The program, where content does not decide.
            notes: What had to be assumed is appended in words.

        Raises:
            InvalidTransform: It cannot be used, can be read in several ways, or needs an image.
            UnreadableFile: It is missing or damaged.
        """
        content, _ = read_content(path, sides, source=source, notes=notes)
        try:
            if isinstance(content, sitk.Image):
                return cls._from_vectors(content)
            return cls._from_transform(content)
        except InvalidTransform as error:
            raise error.at(str(path)) from error

    @classmethod
    def _from_vectors(cls, image: sitk.Image) -> Deformation:
        check_vectors(image)
        return cls(image.GetDimension(), vectors=sitk.GetArrayFromImage(image), grid=Grid.of(image))

    @classmethod
    def _from_transform(cls, transform: sitk.Transform) -> Deformation:
        d = transform.GetDimension()
        if transform.IsLinear():
            return cls(d, matrix=LinearTransform(from_affine(transform)).matrix)
        if isinstance(transform, sitk.DisplacementFieldTransform):
            return cls._from_vectors(transform.GetDisplacementField())
        return cls(d, transform=transform)

    @property
    def is_linear(self) -> bool:
        """Whether it is one matrix."""
        return self.matrix is not None

    def on(self, grid: Grid) -> Array:
        """u at the samples of a grid: (z, y, x, d), mm, single precision."""
        self._require(grid)
        if self.matrix is not None:
            return _linear_on(self.matrix, grid)
        if self.vectors is not None and self.grid is not None:
            return resample(self.vectors, self.grid, grid)
        sampled = sitk.TransformToDisplacementField(
            self._itk_transform(),
            sitk.sitkVectorFloat32,
            grid.size,
            grid.origin,
            grid.spacing,
            grid.direction,
        )
        return _require_finite(sitk.GetArrayFromImage(sampled))

    def __call__(self, points: Sequence[Sequence[float]] | Matrix) -> Matrix:
        """Points (n, d) in LPS mm, moved; in double precision."""
        at = np.asarray(points, float).reshape(-1, self.dimension)
        if self.matrix is not None:
            return LinearTransform(self.matrix)(at)
        if self.vectors is not None and self.grid is not None:
            index = self.grid.indices_at(at)[:, ::-1].T
            parts = [
                ndimage.map_coordinates(
                    self.vectors[..., c].astype(float), index, order=1, mode="nearest"
                )
                for c in range(self.dimension)
            ]
            moved: Matrix = at + np.stack(parts, -1)
            return moved
        transform = self._itk_transform()
        return np.array([transform.TransformPoint(p) for p in at.tolist()])

    @property
    def sha256(self) -> str:
        """A hash of what the deformation does, the same however it was stored.

        Displacements are rounded to 1e-4 mm, so that single and double precision agree.
        """
        digest = hashlib.sha256()
        if self.matrix is not None:
            digest.update(round_to_bytes(self.matrix))
        elif self.vectors is not None and self.grid is not None:
            digest.update(repr(_round_geometry(self.grid)).encode())
            for rows in self.vectors:
                digest.update(round_to_bytes(rows))
        else:
            for part in _parts(self._itk_transform()):
                digest.update(_content(part))
        return digest.hexdigest()

    def _itk_transform(self) -> sitk.Transform:
        if self.transform is None:
            raise InvalidTransform("a deformation has vectors, a matrix or a transform", got="none")
        return self.transform

    def _require(self, grid: Grid) -> None:
        require_dimension(self.dimension, grid.dimension)


TransformLike: TypeAlias = (
    str
    | Path
    | sitk.Image
    | sitk.Transform
    | LinearTransform
    | FieldData
    | ResultData
    | Deformation
)


def resample(values: Array, of: Grid, grid: Grid) -> Array:
    """Vectors on another grid, linear, single precision.

    Grids with the same axes are resampled axis by axis, which is many times faster.

    Args:
        values: (z, y, x, d).
        of: Their grid; beyond it its border is continued.
        grid: The grid of the result.
    """
    if of.is_close(grid):
        return np.ascontiguousarray(values, np.float32)
    if np.allclose(of.direction, grid.direction, atol=_SAME_AXES):
        return _along_axes(values.astype(np.float32, copy=False), of, grid)
    return sample_through(values, of, grid, sitk.Transform(grid.dimension, sitk.sitkIdentity))


def sample_through(values: Array, of: Grid, grid: Grid, transform: sitk.Transform) -> Array:
    """Vectors, sampled where a transform maps the samples of a grid; linear, single precision.

    Args:
        values: (z, y, x, d).
        of: Their grid; beyond it its border is continued.
        grid: Its samples are mapped.
        transform: From the samples of `grid` to points in `of`.
    """
    image = sitk.GetImageFromArray(np.ascontiguousarray(values, np.float32), isVector=True)
    moved = sitk.Resample(
        place_on_grid(image, of),
        grid.size,
        transform,
        sitk.sitkLinear,
        grid.origin,
        grid.spacing,
        grid.direction,
        0.0,
        sitk.sitkVectorFloat32,
        True,  # beyond the samples the border is continued
    )
    array: Array = sitk.GetArrayFromImage(moved)
    return array


def place_on_grid(image: sitk.Image, grid: Grid) -> sitk.Image:
    """The same image, with the spacing, origin and direction of a grid."""
    image.SetSpacing(grid.spacing)
    image.SetOrigin(grid.origin)
    image.SetDirection(grid.direction)
    return image


def _along_axes(values: Array, of: Grid, grid: Grid) -> Array:
    d = of.dimension
    first = of.indices_at(grid.points_at([0.0] * d))  # x y z
    step = np.divide(grid.spacing, of.spacing)
    axes = sorted(range(d), key=lambda c: grid.size[c] / of.size[c])  # shrink first, grow last
    for c in axes:
        index = np.clip(first[c] + step[c] * np.arange(grid.size[c]), 0, of.size[c] - 1)
        low = np.minimum(index.astype(int), max(of.size[c] - 2, 0))
        weight = (index - low).astype(np.float32)
        shape = [1] * (d + 1)
        shape[d - 1 - c] = -1
        below = values.take(low, axis=d - 1 - c)
        above = values.take(np.minimum(low + 1, of.size[c] - 1), axis=d - 1 - c)
        above -= below
        above *= weight.reshape(shape)
        values = below
        values += above
    return values


def _linear_on(matrix: Matrix, grid: Grid) -> Array:
    d = grid.dimension
    in_index = (matrix - np.eye(d + 1)) @ grid.index_to_world
    u = np.broadcast_to(in_index[:d, d], (*grid.shape, d)).copy()
    for c in range(d):
        shape = [1] * (d + 1)
        shape[d - 1 - c] = -1
        u += np.arange(grid.size[c]).reshape(shape) * in_index[:d, c]
    return u.astype(np.float32)


def _require_finite(vectors: Array) -> Array:
    if not np.isfinite(vectors).all():
        raise InvalidTransform(
            "displacements are finite",
            got=f"{int((~np.isfinite(vectors)).sum())} NaN or infinite numbers",
        )
    return vectors


def _parts(transform: sitk.Transform) -> list[sitk.Transform]:
    """The transforms that a composite applies one after the other."""
    transform = transform.Downcast()
    if not isinstance(transform, sitk.CompositeTransform):
        return [transform]
    count = transform.GetNumberOfTransforms()
    return [part for n in range(count) for part in _parts(transform.GetNthTransform(n))]


def _content(part: sitk.Transform) -> bytes:
    """What a transform that is no composite does, as bytes."""
    if part.IsLinear() or isinstance(part, sitk.DisplacementFieldTransform):
        return Deformation.of(part).sha256.encode()
    numbers = np.array([*part.GetFixedParameters(), *part.GetParameters()])
    name: bytes = part.GetName().encode()
    return name + round_to_bytes(numbers)


def round_to_bytes(values: Array) -> bytes:
    """Numbers for a hash: to 1e-4, so that single and double precision agree."""
    rounded = np.rint(np.asarray(values, np.float32).astype(float) * 10**_HASH_DECIMALS)
    if np.abs(rounded).max(initial=0.0) > np.iinfo(np.int32).max:  # more than 200 m
        return bytes((rounded + 0.0).astype("<f8").data)
    return bytes(rounded.astype("<i4").data)


def _round_geometry(grid: Grid) -> tuple[object, ...]:
    rounded = [
        tuple(round(v, _HASH_DECIMALS) + 0.0 for v in part)
        for part in (grid.spacing, grid.origin, grid.direction)
    ]
    return (grid.size, *rounded)
