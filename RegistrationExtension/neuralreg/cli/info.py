"""`neuralreg info`: what is in a file, in plain words."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from neuralreg.cli.common_options import AsJson, FixedSide, Format, MovingSide, one_format

if TYPE_CHECKING:
    from neuralreg.geometry.field import DisplacementField
    from neuralreg.geometry.grid import Grid
    from neuralreg.geometry.image import Image
    from neuralreg.geometry.linear import LinearTransform
    from neuralreg.io.exchange.sides import Sides

Facts = dict[str, object]
_MOST_LABELS = 128  # a gray image of 8 bits has more values


def info(
    file: Annotated[
        Path,
        typer.Argument(
            help="An image, a DICOM folder (or FOLDER::SERIES), a transform, a segmentation, "
            "landmarks, a mesh, streamlines, or the folder of a registration's results."
        ),
    ],
    source: Format = None,
    fixed: FixedSide = None,
    moving: MovingSide = None,
    as_json: AsJson = False,
) -> None:
    """Say what is in a file or in a folder of results.

    Of a transform: the program, what it maps to what in that program's coordinates, and the same in
    LPS mm. Some formats need the images for that: --fixed and --moving.
    """
    from neuralreg.cli.terminal import columns, print_result, warn, words
    from neuralreg.io.exchange.sides import Sides

    notes: list[str] = []
    program, sides = one_format(source), Sides(fixed, moving)
    facts = {"file": str(file), **_facts(file, sides, program, notes)}
    warn(notes)
    rows = [(name, words(facts[name])) for name in facts if name != "remarks"]  # as warnings
    print_result(facts, as_json, lambda: columns(rows))


def _facts(file: Path, sides: Sides, source: str | None, notes: list[str]) -> Facts:
    from neuralreg.cli.info_results import (
        facts_of_points,
        facts_of_record,
        facts_of_segmentation,
        facts_of_series,
        is_record,
    )
    from neuralreg.io.files import container_of
    from neuralreg.io.formats.ome_zarr import is_ome_zarr
    from neuralreg.io.formats.segmentations import is_segmentation
    from neuralreg.io.image_files import image_of_volume
    from neuralreg.io.itk_images import open_volume
    from neuralreg.io.point_sets.point_files import is_point_file
    from neuralreg.io.transform_files import holds_transform

    if is_record(file):
        return facts_of_record(file)
    if file.is_dir() and not is_ome_zarr(file) and (several := facts_of_series(file)):
        return several
    if is_point_file(file) and not source:
        return facts_of_points(file, notes)
    if is_segmentation(file):
        return facts_of_segmentation(file)
    if source or (container_of(file).is_file() and holds_transform(file)):
        return _transform(file, sides, source, notes)
    volume = open_volume(file)
    return {
        **_image(image_of_volume(file, volume)),
        "units": volume.units or None,
        "frames": volume.frames,
        "remarks": [{"kind": str(one.kind), **one.values} for one in volume.remarks],
        "warnings": [str(one) for one in volume.remarks],
    }


def _transform(file: Path, sides: Sides, source: str | None, notes: list[str]) -> Facts:
    import SimpleITK as sitk

    from neuralreg.io.exchange.families import FAMILIES, read_content
    from neuralreg.io.itk import field_from_itk, linear_from_itk
    from neuralreg.io.transform_chains import is_linear, own_grid
    from neuralreg.io.transform_files import transform_of

    content, name = read_content(file, sides, source=source, notes=notes)
    family = FAMILIES[name]
    facts: Facts
    if is_linear(content):
        facts = _linear_facts(linear_from_itk(content))
    elif isinstance(content, sitk.Image):
        facts = _field_facts(field_from_itk(content))
    elif own_grid(content) is not None:
        facts = _field_facts(cast("DisplacementField", transform_of(content, None)))
    else:
        d, itk = content.GetDimension(), content.GetName()
        facts = {"kind": f"{d}D transform without a grid of its own, fixed to moving", "itk": itk}
    return {
        **facts,
        "program": family.program,
        "file_maps": family.linear if is_linear(content) else family.field,
        "maps": "points of the fixed image to the moving image, LPS mm",
        **_parts(content),
    }


def _parts(content: object) -> Facts:
    """The members of a composite, in the order in which points pass them."""
    import SimpleITK as sitk

    if not isinstance(content, sitk.CompositeTransform):
        return {}
    count = content.GetNumberOfTransforms()
    names = [content.GetNthTransform(n).Downcast().GetName() for n in reversed(range(count))]
    return {"points_pass": " -> ".join(names)}


def _grid(grid: Grid) -> Facts:
    return {**grid.to_record(), "axes": _axes(grid)}


def _axes(grid: Grid) -> str:
    """The anatomical direction that each axis comes nearest to, for instance "LPS"."""
    letters = ("LR", "PA", "SI")
    code = ""
    for axis in range(grid.dimension):
        cosines = [grid.direction[row * grid.dimension + axis] for row in range(grid.dimension)]
        nearest = max(range(grid.dimension), key=lambda row: abs(cosines[row]))
        code += letters[nearest][cosines[nearest] < 0]
    return code


def _image(image: Image) -> Facts:
    import numpy as np

    values = image.data.double()
    finite = values[values.isfinite()]
    facts: Facts = {
        "kind": f"{image.grid.dimension}D image",
        "numbers": str(image.data.dtype).removeprefix("torch."),
        **_grid(image.grid),
        "lowest": float(finite.min()) if len(finite) else None,
        "highest": float(finite.max()) if len(finite) else None,
        "mean": float(finite.mean()) if len(finite) else None,
        "not_finite": image.data.numel() - finite.numel(),
    }
    if not image.data.is_floating_point():
        labels = np.unique(image.data.numpy())
        if len(labels) <= _MOST_LABELS:
            facts["labels"] = labels.tolist()
    return facts


def _field_facts(field: DisplacementField) -> Facts:
    length = field.vectors.double().norm(dim=0)
    return {
        "kind": f"{field.grid.dimension}D displacement field, fixed to moving",
        **_grid(field.grid),
        "mean_displacement_mm": float(length.mean()),
        "largest_displacement_mm": float(length.max()),
    }


def _linear_facts(linear: LinearTransform) -> Facts:
    import numpy as np

    d = linear.dimension
    u, stretch, v = np.linalg.svd(linear.matrix[:d, :d])
    turn = u @ v
    cosine = (np.trace(turn) - 1) / 2 if d == 3 else turn[0, 0]
    return {
        "kind": f"{d}D linear transform, fixed to moving",
        "matrix_lps": linear.matrix.tolist(),
        "rotation_degrees": float(np.degrees(np.arccos(np.clip(cosine, -1, 1)))),
        "stretch": stretch.tolist(),
        "mirrors": bool(linear.determinant < 0),
        "rigid": bool(np.allclose(stretch, 1, atol=1e-4) and linear.determinant > 0),
    }
