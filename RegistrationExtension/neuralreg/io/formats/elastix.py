"""The parameter files of elastix, which no version of ITK reads.

A file holds one transform as `(Name value ...)` lines and names the file of the transform that is
applied before it. Source: the elastix manual, doi:10.1109/TMI.2009.2035616.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path, PureWindowsPath

import numpy as np
import SimpleITK as sitk

from neuralreg.errors import InvalidTransform, UnreadableFile
from neuralreg.geometry.grid import Grid, Matrix
from neuralreg.io.exchange.matrices import from_affine, to_affine
from neuralreg.io.exchange.sides import Sides
from neuralreg.io.exchange.splines import KernelSpline
from neuralreg.io.files import itk_reason, quiet_itk, require_existing, write_whole
from neuralreg.io.itk_images import check_vectors, read_itk_image, write_itk_image
from neuralreg.io.tables import read_text

_LINE = re.compile(r'^\((\w+)((?:\s+(?:"[^"]*"|[^\s")]+))+)\s*\)', re.MULTILINE)
_WORD = re.compile(r'"([^"]*)"|([^\s"]+)')
_NONE = "NoInitialTransform"
_DEEPEST = 20  # files that name each other
Values = dict[str, list[str]]


def is_elastix(path: Path) -> bool:
    """Whether a text file is one of elastix's."""
    with path.open("rb") as file:
        return b"(Transform " in file.read(4096)


def read_elastix(path: Path, *, depth: int = 0) -> sitk.Transform:
    """The transform in a parameter file, with those that come before it; fixed to moving, LPS mm.

    Splines between points, and deformations that are added to one another, are sampled on the grid
    of the fixed image that the file describes.

    Args:
        path: the parameter file.
        depth: how many files have led to this one.

    Raises:
        UnreadableFile: when a file is missing or incomplete, or the files form a circle.
        InvalidTransform: for a kind that cannot be read.
    """
    if depth > _DEEPEST:
        raise UnreadableFile(f"the initial transforms of {path} form a circle")
    values = _values(path)
    try:
        own = _transform(values, path)
        first = values.get("InitialTransformParametersFileName", [_NONE])[0]
        first = values.get("InitialTransformParameterFileName", [first])[0]
    except (LookupError, ValueError) as error:
        raise UnreadableFile(
            f"{path} is an incomplete parameter file of elastix", got=str(error)
        ) from error
    if first == _NONE:
        return own
    if not first:
        raise UnreadableFile(
            f"{path} names no initial transform", wanted=f"the name of a file, or {_NONE}"
        )
    before = read_elastix(_beside(path, first), depth=depth + 1)
    how = values.get("HowToCombineTransforms", ["Compose"])[0]
    if how == "Add":
        return _sum(before, own, values, path)
    if how != "Compose":
        raise InvalidTransform(
            "transforms of elastix are composed or added", where=str(path), got=how
        )
    return sitk.CompositeTransform([own, before])  # ITK applies the last first


def _sum(before: sitk.Transform, own: sitk.Transform, values: Values, path: Path) -> sitk.Transform:
    """The transform that adds the displacements of both."""
    if before.IsLinear() and own.IsLinear():
        identity = np.eye(before.GetDimension() + 1)
        return to_affine(from_affine(before) + from_affine(own) - identity)
    fields = [_sample(transform, values, path) for transform in (before, own)]
    return sitk.DisplacementFieldTransform(fields[0] + fields[1])


def _sample(transform: sitk.Transform, values: Values, path: Path) -> sitk.Image:
    grid = _grid(values, path)
    return sitk.TransformToDisplacementField(
        transform, sitk.sitkVectorFloat64, grid.size, grid.origin, grid.spacing, grid.direction
    )


def _grid(values: Values, path: Path) -> Grid:
    """The grid of the fixed image, as the file describes it."""
    try:
        d = int(values["FixedImageDimension"][0])
        size, spacing = _numbers(values, "Size"), _numbers(values, "Spacing")
        index = [float(v) for v in values.get("Index", ["0"] * d)]
        direction = np.eye(d)
        if values.get("UseDirectionCosines", ["true"])[0] == "true":
            cosines = values.get("Direction", [str(v) for v in direction.ravel()])
            direction = np.reshape([float(v) for v in cosines], (d, d)).T  # by columns
        origin = np.array(_numbers(values, "Origin")) + direction @ np.multiply(index, spacing)
    except (LookupError, ValueError) as error:
        raise UnreadableFile(
            f"{path} does not describe the fixed image", got=str(error),
            wanted="Size, Spacing, Origin and Direction",
        ) from error  # fmt: skip
    return Grid(tuple(map(int, size)), tuple(spacing), tuple(origin), tuple(direction.ravel()))


def _values(path: Path) -> Values:
    text, _ = read_text(path)
    return {
        name: [quoted or plain for quoted, plain in _WORD.findall(words)]
        for name, words in _LINE.findall(text)
    }


def _beside(path: Path, name: str) -> Path:
    """The file of the initial transform: where it was written, or now beside this one.

    A name relative to the file comes before one relative to the working folder; a folder may be
    one of Windows.
    """
    beside = path.parent / PureWindowsPath(name).name
    return next((p for p in (path.parent / name, Path(name)) if p.is_file()), beside)


def _transform(values: Values, path: Path) -> sitk.Transform:
    kind, d = values["Transform"][0], int(values["FixedImageDimension"][0])
    if kind == "SplineKernelTransform":
        field = _kernel_spline(values, d).on(_grid(values, path))
        return sitk.DisplacementFieldTransform(sitk.Cast(field, sitk.sitkVectorFloat64))
    if kind == "DeformationFieldTransform":
        field = read_itk_image(_beside(path, values["DeformationFieldFileName"][0]))
        check_vectors(field)
        return sitk.DisplacementFieldTransform(sitk.Cast(field, sitk.sitkVectorFloat64))
    if kind in ("File", "ExternalTransform") and "TransformFileName" in values:
        return _itk_file(_beside(path, values["TransformFileName"][0]))
    if kind not in _KINDS:
        raise InvalidTransform(
            "this kind of elastix transform cannot be read",
            got=kind,
            wanted=", ".join(_KINDS),
            remedy="Let transformix write a deformation field (-def all).",
        )
    if values.get("UseCyclicTransform", ["false"])[0] == "true":
        raise InvalidTransform(
            "a cyclic spline of elastix cannot be read", where=str(path),
            remedy="Let transformix write a deformation field (-def all).",
        )  # fmt: skip
    transform = _KINDS[kind](values, d)
    transform.SetParameters(_numbers(values, "TransformParameters"))
    return transform


def _itk_file(path: Path) -> sitk.Transform:
    try:
        with quiet_itk():
            return sitk.ReadTransform(str(require_existing(path))).Downcast()
    except RuntimeError as error:
        raise UnreadableFile(
            f"{path} cannot be read as a transform of ITK", got=itk_reason(error)
        ) from error


def _kernel_spline(values: Values, d: int) -> KernelSpline:
    fixed = np.reshape(_numbers(values, "FixedImageLandmarks"), (-1, d))
    moving = np.reshape(_numbers(values, "TransformParameters"), (-1, d))
    stiffness = float(values.get("SplineRelaxationFactor", ["0"])[0])
    return KernelSpline.fit(fixed, moving, values["SplineKernelType"][0], stiffness)


def _translation(values: Values, d: int) -> sitk.Transform:
    return sitk.TranslationTransform(d)


def _euler(values: Values, d: int) -> sitk.Transform:
    if d == 2:
        return _with_center(sitk.Euler2DTransform(), values)
    euler = sitk.Euler3DTransform()
    euler.SetComputeZYX(values.get("ComputeZYX", ["false"])[0] == "true")
    return _with_center(euler, values)


def _similarity(values: Values, d: int) -> sitk.Transform:
    transform = sitk.Similarity2DTransform() if d == 2 else sitk.Similarity3DTransform()
    return _with_center(transform, values)


def _affine(values: Values, d: int) -> sitk.Transform:
    return _with_center(sitk.AffineTransform(d), values)


def _bspline(values: Values, d: int) -> sitk.Transform:
    transform = sitk.BSplineTransform(d, int(values.get("BSplineTransformSplineOrder", ["3"])[0]))
    size, index = _numbers(values, "GridSize"), _numbers(values, "GridIndex")
    spacing, origin = _numbers(values, "GridSpacing"), _numbers(values, "GridOrigin")
    direction = np.reshape(_numbers(values, "GridDirection"), (d, d)).T  # elastix: by columns
    start = origin + direction @ np.multiply(index, spacing)
    transform.SetFixedParameters([*size, *start.tolist(), *spacing, *direction.ravel().tolist()])
    return transform


def _with_center(transform: sitk.Transform, values: Values) -> sitk.Transform:
    transform.SetCenter(_numbers(values, "CenterOfRotationPoint"))
    return transform


def _numbers(values: Values, name: str) -> list[float]:
    return [float(value) for value in values[name]]


_KINDS: dict[str, Callable[[Values, int], sitk.Transform]] = {
    "TranslationTransform": _translation,
    "EulerTransform": _euler,
    "SimilarityTransform": _similarity,
    "AffineTransform": _affine,
    "BSplineTransform": _bspline,
    "RecursiveBSplineTransform": _bspline,
}


def write_linear(matrix: Matrix, path: Path, sides: Sides) -> None:
    """Write a matrix (fixed to moving, LPS mm) for transformix.

    Args:
        matrix: fixed to moving, LPS mm.
        path: .txt.
        sides: the fixed image, onto whose grid transformix resamples.
    """
    grid = sides.grid("fixed", path, "transformix resamples onto the grid in this file")
    d = grid.dimension
    numbers = [*matrix[:d, :d].ravel(), *matrix[:d, d]]
    _write(path, "AffineTransform", grid, [
        f"(NumberOfParameters {len(numbers)})",
        f"(TransformParameters {_words(numbers)})",
        f"(CenterOfRotationPoint {_words([0.0] * d)})",
    ])  # fmt: skip


def field_beside(path: Path) -> Path:
    """Where the displacements of a parameter file go: transformix reads them from another file."""
    return path.with_name(f"{path.stem}_field.mha")


def write_field(field: sitk.Image, path: Path) -> None:
    """Write displacements for transformix: a parameter file, and an image beside it.

    Args:
        field: LPS mm, on the grid to resample onto.
        path: .txt.
    """
    image = field_beside(path)
    write_itk_image(field, image)
    _write(path, "DeformationFieldTransform", Grid.of(field), [
        "(NumberOfParameters 0)",
        f'(DeformationFieldFileName "{image.resolve()}")',
        "(DeformationFieldInterpolationOrder 1)",
    ])  # fmt: skip


def _write(path: Path, kind: str, grid: Grid, own: list[str]) -> None:
    d = grid.dimension
    cosines = np.reshape(grid.direction, (d, d)).T.ravel()  # by columns
    lines = [
        f'(Transform "{kind}")',
        *own,
        f'(InitialTransformParametersFileName "{_NONE}")',
        '(HowToCombineTransforms "Compose")',
        f"(FixedImageDimension {d})",
        f"(MovingImageDimension {d})",
        '(FixedInternalImagePixelType "float")',
        '(MovingInternalImagePixelType "float")',
        f"(Size {' '.join(map(str, grid.size))})",
        f"(Index {' '.join(['0'] * d)})",
        f"(Spacing {_words(grid.spacing)})",
        f"(Origin {_words(grid.origin)})",
        f"(Direction {_words(cosines)})",
        '(UseDirectionCosines "true")',
        '(ResampleInterpolator "FinalBSplineInterpolator")',
        "(FinalBSplineInterpolationOrder 3)",
        '(Resampler "DefaultResampler")',
        "(DefaultPixelValue 0)",
        '(ResultImageFormat "nii.gz")',
        '(ResultImagePixelType "float")',
        '(CompressResultImage "true")',
    ]
    with write_whole(path) as draft:
        draft.write_text("\n".join(lines) + "\n")


def _words(numbers: Iterable[float]) -> str:
    return " ".join(f"{number:.12g}" for number in numbers)
