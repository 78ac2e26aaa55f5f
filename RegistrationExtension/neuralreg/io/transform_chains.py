"""Transforms in a row, on a grid, the other way round, and in a file of any program."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from neuralreg.errors import InvalidOption, InvalidTransform, UnwritableOutput
from neuralreg.geometry.grid import Grid, Matrix, require_dimension
from neuralreg.geometry.linear import LinearTransform
from neuralreg.io.exchange.families import FAMILIES, WRITERS, Content, read_content, written_kind
from neuralreg.io.exchange.integration import invert_displacements
from neuralreg.io.exchange.matrices import from_affine, to_affine
from neuralreg.io.exchange.sides import Sides
from neuralreg.io.files import suffix_of
from neuralreg.io.itk_images import WRITABLE as IMAGE_SUFFIXES
from neuralreg.io.itk_images import open_grid
from neuralreg.io.itk_output import write_field, write_transform_file
from neuralreg.io.itk_transforms import as_transform, innermost_transform

_INVERTED = re.compile(r"^\[\s*(.+?)\s*,\s*([01])\s*\]$")
_LATTICE = 8  # points per axis at which is asked whether a field covers an image
_FLAT = "an image file can only hold displacements on a grid"


@dataclass(frozen=True)
class Link:
    """One transform file of a chain.

    Attributes:
        path: of the file.
        inverted: whether points pass it the other way round, as ANTs' `[file,1]`.
    """

    path: Path
    inverted: bool = False

    @classmethod
    def parse(cls, argument: str) -> Link:
        """A file name, or `[file,1]` for the inverse, as antsApplyTransforms takes them."""
        match = _INVERTED.match(argument)
        if match is None or Path(argument).exists():
            return cls(Path(argument))
        return cls(Path(match[1]), match[2] == "1")


def read_chain(
    links: Sequence[Link], sides: Sides, sources: Sequence[str], notes: list[str]
) -> tuple[list[Content], list[str]]:
    """The transforms of a chain, in the order in which points of the fixed image pass.

    Args:
        links: the first moves points of the fixed image first.
        sides: the images at both ends of the chain.
        sources: a family for each link, or one for those whose content does not decide.
        notes: what had to be assumed is appended in words.

    Returns:
        The contents, inverted where the link says so, and the family of each.

    Raises:
        InvalidOption: there are as many families as suit neither.
        RegistrationError: as `read_content`.
    """
    if len(sources) not in (0, 1, len(links)):
        raise InvalidOption(
            "a format for each input, or one for all", got=f"{len(sources)} for {len(links)} inputs"
        )
    contents, families = [], []
    for k, link in enumerate(links):
        own = Sides(sides.fixed if k == 0 else None,
                    sides.moving if k == len(links) - 1 else None)  # fmt: skip
        content, family = _read_link(
            link, own.exchange() if link.inverted else own, sources[k:] or sources,
            sure=len(sources) == len(links), notes=notes,
        )  # fmt: skip
        if link.inverted:
            content = invert(content, _grid_or_none(own.moving), notes)
        contents.append(content)
        families.append(family)
    return contents, families


def _read_link(
    link: Link, own: Sides, sources: Sequence[str], *, sure: bool, notes: list[str]
) -> tuple[Content, str]:
    if sources and sure:
        return read_content(link.path, own, source=sources[0], notes=notes)
    try:
        return read_content(link.path, own, notes=notes)
    except InvalidTransform as error:
        if not sources or "--from" not in error.remedy:
            raise
        return read_content(link.path, own, source=sources[0], notes=notes)


def is_linear(content: Content) -> bool:
    """Whether a content is one matrix."""
    return not isinstance(content, sitk.Image) and bool(content.IsLinear())


def join(contents: Sequence[Content]) -> Content:
    """One transform for all in a row: a matrix where all are linear, the field if it is alone.

    Args:
        contents: the first moves points first.

    Raises:
        InvalidTransform: they differ in their number of axes.
    """
    if len(contents) == 1:
        return contents[0]
    if len({content.GetDimension() for content in contents}) > 1:
        raise InvalidTransform(
            "transforms in a row have the same number of axes",
            got=", ".join(f"{content.GetDimension()}D" for content in contents),
        )
    if all(map(is_linear, contents)):
        matrix = np.eye(contents[0].GetDimension() + 1)
        for content in contents:
            matrix = from_affine(content) @ matrix
        return to_affine(matrix)
    return sitk.CompositeTransform([as_transform(content) for content in reversed(contents)])


def own_grid(content: Content) -> Grid | None:
    """The grid of the displacements that points pass first; None where there is none."""
    if isinstance(content, sitk.Image):
        return Grid.of(content)
    first = innermost_transform(content)
    if isinstance(first, sitk.DisplacementFieldTransform):
        return Grid.of(first.GetDisplacementField())
    return None


def sample(content: Content, grid: Grid) -> sitk.Image:
    """The displacements at the samples of a grid; beyond a field's own grid none, as in ITK."""
    if isinstance(content, sitk.Image) and Grid.of(content).is_close(grid):
        return content
    require_dimension(content.GetDimension(), grid.dimension)
    return sitk.TransformToDisplacementField(
        as_transform(content), sitk.sitkVectorFloat32, grid.size, grid.origin, grid.spacing,
        grid.direction,
    )  # fmt: skip


def invert(content: Content, grid: Grid | None, notes: list[str]) -> Content:
    """The transform that takes points back.

    Args:
        content: to be inverted.
        grid: of the inverse of a field, such as that of the moving image; its own unless given.
        notes: the largest error is appended where a field folds.

    Raises:
        InvalidTransform: it has no grid, and none is given.
        PackageMissing: fields are inverted with PyTorch.
    """
    if is_linear(content):
        return to_affine(LinearTransform(from_affine(content)).inverse().matrix)
    start = own_grid(content) or grid
    if start is None:
        raise InvalidTransform(
            "a transform without a grid is inverted on one", got=content.GetName(),
            remedy="Name the images (--fixed, --moving).",
        )  # fmt: skip
    return invert_displacements(sample(content, start), grid or start, notes)


def write_content(
    content: Content, path: Path, target: str, sides: Sides, notes: list[str]
) -> Content:
    """Write a transform for any program.

    Args:
        content: fixed to moving, LPS mm.
        path: of the file.
        target: the family, a key of `WRITERS`, or "itk".
        sides: the images that it is between, as far as they are known.
        notes: what a reader has to know is appended in words.

    Returns:
        What was written: a matrix, displacements on a grid, or a chain.

    Raises:
        UnwritableOutput: the family has no such file, or the file cannot be written.
        InvalidTransform: an image is needed that was not given.
    """
    if target == "itk":
        return _write_itk(content, path, sides, notes)
    writer = WRITERS[target]
    if content.GetDimension() != 3:
        raise UnwritableOutput(
            f"{FAMILIES[target].program} is written in 3D only", got=f"{content.GetDimension()}D",
            remedy="Write a file of ITK: .tfm, .h5, .nii.gz.",
        )  # fmt: skip
    as_field = written_kind(path, target, is_linear(content))
    if writer.linear is not None and not as_field:
        writer.linear(from_affine(content), path, sides, notes)
    if writer.field is None or not as_field:
        return content
    if writer.on_fixed:
        grid = sides.grid("fixed", path, f"{FAMILIES[target].program} keeps a warp on its voxels")
    else:
        grid = _grid_for(content, path, sides)
    field = sample(content, grid)
    _note_outside(content, _grid_or_none(sides.fixed) or grid, notes)
    writer.field(field, path, sides, notes)
    return field


def _write_itk(content: Content, path: Path, sides: Sides, notes: list[str]) -> Content:
    if suffix_of(path) in IMAGE_SUFFIXES:
        grid = _grid_for(content, path, sides)
        field = sample(content, grid)
        _note_outside(content, _grid_or_none(sides.fixed) or grid, notes)
        write_field(field, path)
        return field
    write_transform_file(as_transform(content), path)
    return content


def _grid_for(content: Content, path: Path, sides: Sides) -> Grid:
    """The transform's own grid, else that of the fixed image."""
    grid = own_grid(content) or _grid_or_none(sides.fixed)
    if grid is None:
        raise InvalidTransform(
            _FLAT, where=str(path), got="a transform without a grid of its own",
            remedy="Name the fixed image (--fixed), or write it as .h5 or .tfm.",
        )  # fmt: skip
    return grid


def _grid_or_none(path: Path | None) -> Grid | None:
    return None if path is None else open_grid(path)[0]


def _note_outside(content: Content, grid: Grid, notes: list[str]) -> None:
    """Say how much of an image a field does not cover, and what programs do there."""
    known = own_grid(content)
    if known is None or known.dimension != grid.dimension:
        return
    axes = [np.linspace(0, n - 1, _LATTICE) for n in grid.size]
    lattice: Matrix = np.stack(np.meshgrid(*axes), -1).reshape(-1, grid.dimension)
    outside = 1 - known.covers(grid.points_at(lattice)).mean()
    if outside > 0:
        notes.append(
            f"{100 * outside:.2g} % of the fixed image lies outside of the field's grid; nothing "
            "is displaced there, as in ITK and ANTs (neuralreg and 3D Slicer continue the border)"
        )
