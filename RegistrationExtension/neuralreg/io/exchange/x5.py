"""X5 (BIDS BEP014, a draft): matrices and dense fields in HDF5, fixed to moving in RAS mm.

Source: the draft as nitransforms 25.1 implements it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from neuralreg.errors import InvalidTransform, PackageMissing, UnreadableFile
from neuralreg.geometry.grid import Matrix
from neuralreg.io.exchange import vector_files
from neuralreg.io.exchange.matrices import FLIP, complete, exchange_frames, to_affine
from neuralreg.io.exchange.sides import Sides
from neuralreg.io.files import write_whole, writing_error
from neuralreg.io.volume import grid_of_affine

SIGNATURE = b"\x89HDF\r\n\x1a\n"


def load_h5py(path: Path) -> Any:
    """The package h5py.

    Raises:
        PackageMissing: it is not installed.
    """
    try:
        import h5py
    except ImportError as error:
        raise PackageMissing(
            "this file is read and written with h5py, which is not installed", where=str(path),
            remedy="pip install h5py (or neuralreg[exchange]).",
        ) from error  # fmt: skip
    return h5py


def is_x5(path: Path) -> bool:
    """Whether an HDF5 file says that it is X5; by its ending where h5py is not installed."""
    try:
        h5py = load_h5py(path)
    except PackageMissing:
        return path.suffix.lower() == ".x5"
    try:
        with h5py.File(path, "r") as file:
            return str(file.attrs.get("Format", "")) == "X5"
    except OSError as error:
        raise UnreadableFile(f"{path} cannot be read as HDF5", got=str(error)) from error


def read_x5(path: Path) -> sitk.Transform | sitk.Image:
    """The transform in an X5 file; of several, a chain in which the last of the file is first.

    Raises:
        InvalidTransform: it holds several transforms, or a kind that is not known.
        UnreadableFile: it is damaged.
        PackageMissing: h5py is not installed.
    """
    h5py = load_h5py(path)
    try:
        with h5py.File(path, "r") as file:
            nodes = list(file["TransformGroup"].values())
            if len(nodes) != 1:
                raise InvalidTransform(
                    "this file holds several transforms and does not say how they are joined",
                    where=str(path), got=f"{len(nodes)}",
                    remedy="Give each in a file of its own.",
                )  # fmt: skip
            return _read_node(path, nodes[0])
    except (OSError, KeyError) as error:
        raise UnreadableFile(f"{path} is a damaged X5 file", got=str(error)) from error


def write_linear(matrix: Matrix, path: Path, sides: Sides) -> None:
    """Write a matrix (fixed to moving, LPS mm), with the fixed image as its domain.

    Args:
        matrix: fixed to moving, LPS mm.
        path: of the file.
        sides: the fixed image, where it is known.
    """
    domain = None
    if sides.fixed is not None:
        space = sides.space("fixed", path, "the domain of an X5 file")
        domain = (space.size, FLIP @ space.index_to_world)
    attributes = {"Type": "linear", "SubType": "affine", "Representation": "matrix"}
    _write(path, exchange_frames(matrix), attributes, domain)


def write_field(field: sitk.Image, path: Path) -> None:
    """Write displacements (LPS mm) as a dense field.

    Args:
        field: on any grid.
        path: of the file.
    """
    values, grid, affine = vector_files.array_of(field)
    values[..., :2] *= -1
    attributes = {"Type": "nonlinear", "SubType": "densefield", "Representation": "displacements"}
    _write(path, values, attributes, (grid.size, affine))


def _read_node(path: Path, node: Any) -> sitk.Transform | sitk.Image:
    kind, values = str(node.attrs["Type"]), np.asarray(node["Transform"], float)
    if kind == "linear":
        values = values.reshape(-1, *values.shape[-2:])
        if len(values) != 1:
            raise InvalidTransform(
                "this file holds a matrix for each volume of a series", where=str(path),
                got=f"{len(values)} matrices",
            )  # fmt: skip
        return to_affine(exchange_frames(complete(values[0], path)))
    form = str(node.attrs.get("Representation", ""))
    if kind != "nonlinear" or form not in ("displacements", "deformations"):
        raise InvalidTransform(
            "this kind of X5 transform is not known", where=str(path), got=f"{kind} {form}",
            wanted="linear, or nonlinear displacements or deformations",
        )  # fmt: skip
    if values.ndim != 4 or values.shape[3] != 3 or "Domain" not in node:
        raise InvalidTransform(
            "a dense field of X5 has three numbers per voxel, and a domain", where=str(path),
            got=f"shape {values.shape}",
        )  # fmt: skip
    grid = grid_of_affine(values.shape[:3], np.asarray(node["Domain"]["Mapping"], float))
    vectors = np.ascontiguousarray(values.transpose(2, 1, 0, 3))
    return vector_files.ras_image(vectors, grid, positions=form == "deformations")


def _write(
    path: Path,
    values: Any,
    attributes: dict[str, str],
    domain: tuple[tuple[int, ...], Matrix] | None,
) -> None:
    h5py = load_h5py(path)
    with write_whole(path) as draft:
        try:
            with h5py.File(draft, "w") as file:
                file.attrs["Format"], file.attrs["Version"] = "X5", np.uint16(1)
                node = file.create_group("TransformGroup/0")
                for name, value in attributes.items():
                    node.attrs[name] = value
                node.attrs["ArrayLength"] = 1
                node.attrs["Metadata"] = json.dumps({"WrittenBy": "neuralreg"})
                node["Transform"] = values
                node["DimensionKinds"] = np.array(["space"] * 3 + ["vector"], "S")
                if domain is not None:
                    node["Domain/Grid"], node["Domain/Size"] = np.uint8(1), np.array(domain[0])
                    node["Domain/Mapping"] = domain[1]
                    node["Domain"].attrs["Coordinates"] = "cartesian"
        except RuntimeError as error:
            raise writing_error(path, EOFError()) from error
