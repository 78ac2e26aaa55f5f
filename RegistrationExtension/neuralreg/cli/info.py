"""`neuralreg info`: what is in a file, in plain words."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from neuralreg.cli.common_options import AsJson

if TYPE_CHECKING:
    from neuralreg.geometry.field import DisplacementField
    from neuralreg.geometry.grid import Grid
    from neuralreg.geometry.image import Image
    from neuralreg.geometry.linear import LinearTransform

Facts = dict[str, object]
_MOST_LABELS = 128  # a gray image of 8 bits has more values


def info(
    file: Annotated[Path, typer.Argument(help="An image, a DICOM folder, or a transform.")],
    as_json: AsJson = False,
) -> None:
    """Say what is in an image or transform file."""
    from neuralreg.cli.terminal import columns, print_result, words

    facts = {"file": str(file), **_facts(file)}
    rows = [(name, words(facts[name])) for name in facts if name != "remarks"]  # as warnings
    print_result(facts, as_json, lambda: columns(rows))


def _facts(file: Path) -> Facts:
    from neuralreg.io.image_files import image_of_volume
    from neuralreg.io.itk_images import open_volume
    from neuralreg.io.transform_files import holds_transform

    if file.is_file() and holds_transform(file):
        return _transform(file)
    volume = open_volume(file)
    return {
        **_image(image_of_volume(file, volume)),
        "units": volume.units or None,
        "frames": volume.frames,
        "remarks": [{"kind": str(one.kind), **one.values} for one in volume.remarks],
        "warnings": [str(one) for one in volume.remarks],
    }


def _transform(file: Path) -> Facts:
    import SimpleITK as sitk

    from neuralreg.io.itk import linear_from_itk
    from neuralreg.io.transform_files import innermost_transform, read_itk_transform, read_transform

    transform = read_itk_transform(file)
    if transform.IsLinear():
        return _linear_facts(linear_from_itk(transform))
    if not isinstance(innermost_transform(transform), sitk.DisplacementFieldTransform):
        d, name = transform.GetDimension(), transform.GetName()
        return {"kind": f"{d}D transform without a grid of its own, fixed to moving", "itk": name}
    return _field_facts(cast("DisplacementField", read_transform(file)))


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
