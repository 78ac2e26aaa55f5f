"""The parameter files of elastix, which no version of ITK reads.

A file holds one transform as `(Name value ...)` lines and names the file of the transform that is
applied before it. Source: the elastix manual, doi:10.1109/TMI.2009.2035616.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path, PureWindowsPath

import numpy as np
import SimpleITK as sitk

from neuralreg.errors import InvalidTransform, UnreadableFile
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

    Args:
        path: the parameter file.
        depth: how many files have led to this one.

    Raises:
        UnreadableFile: when a file is missing or incomplete, or the files form a circle.
        InvalidTransform: for a kind that cannot be read, or transforms that are added instead of
            composed.
    """
    if depth > _DEEPEST:
        raise UnreadableFile(f"the initial transforms of {path} form a circle")
    values = _values(path)
    try:
        own = _transform(values)
        first = values.get("InitialTransformParametersFileName", [_NONE])[0]
        first = values.get("InitialTransformParameterFileName", [first])[0]
    except (LookupError, ValueError) as error:
        raise UnreadableFile(
            f"{path} is an incomplete parameter file of elastix", got=str(error)
        ) from error
    if first == _NONE:
        return own
    if values.get("HowToCombineTransforms", ["Compose"])[0] != "Compose":
        raise InvalidTransform("only composed transforms can be read", where=str(path))
    before = read_elastix(_beside(path, first), depth=depth + 1)
    return sitk.CompositeTransform([own, before])  # ITK applies the last first


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


def _transform(values: Values) -> sitk.Transform:
    kind, d = values["Transform"][0], int(values["FixedImageDimension"][0])
    if kind not in _KINDS:
        raise InvalidTransform(
            "this kind of elastix transform cannot be read",
            got=kind,
            wanted=", ".join(_KINDS),
            remedy="Let transformix write a deformation field (-def all).",
        )
    transform = _KINDS[kind](values, d)
    transform.SetParameters(_numbers(values, "TransformParameters"))
    return transform


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
