"""Grids of MINC, written by its definition: HDF5 with h5py, netCDF with SciPy."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
from scipy.io import netcdf_file

AXES = ("xspace", "yspace", "zspace", "vector_dimension")
ORDER = ("zspace", "yspace", "xspace", "vector_dimension")


def _geometry(affine: np.ndarray, steps_back: tuple[int, ...]):
    """Start, step and cosines of each axis; the axes of `steps_back` have negative steps."""
    steps = np.linalg.norm(affine[:3, :3], axis=0)
    for k in steps_back:
        steps[k] = -steps[k]
    cosines = affine[:3, :3] / steps
    return np.linalg.solve(cosines, affine[:3, 3]), steps, cosines


def write_minc2(
    path: Path,
    vectors: np.ndarray,
    affine: np.ndarray,
    order: tuple[str, ...] = ORDER,
    steps_back: tuple[int, ...] = (),
) -> None:
    """Vectors (x, y, z, c) at voxels whose indices the matrix takes to RAS mm, as MINC 2."""
    start, step, cosines = _geometry(affine, steps_back)
    values = vectors.transpose([AXES.index(name) for name in order]).astype(np.float32)
    with h5py.File(path, "w") as file:
        minc = file.create_group("minc-2.0")
        minc.attrs["minc_version"] = np.bytes_("2.4.03")
        minc.create_group("info")
        dimensions, image = minc.create_group("dimensions"), minc.create_group("image/0")
        for k, name in enumerate(AXES):
            node = dimensions.create_dataset(name, data=np.int32(0))
            node.attrs["length"] = np.uint32(vectors.shape[k])
            _describe(node, "", "dimension____")
            if k < 3:
                node.attrs["start"], node.attrs["step"] = start[k], step[k]
                node.attrs["direction_cosines"] = cosines[:, k]
                node.attrs["spacing"] = np.bytes_("regular__")
        node = image.create_dataset("image", data=values)
        _describe(node, ",".join(order), "group________")
        node.attrs["signtype"] = np.bytes_("signed__")
        node.attrs["valid_range"] = np.array([values.min(), values.max()], float)
        for name, value in (("image-min", values.min()), ("image-max", values.max())):
            _describe(image.create_dataset(name, data=float(value)), "", "var_attribute")


def _describe(node: h5py.Dataset, order: str, kind: str) -> None:
    node.attrs["dimorder"] = np.bytes_(order)
    node.attrs["varid"] = np.bytes_("MINC standard variable")
    node.attrs["vartype"] = np.bytes_(kind)
    node.attrs["version"] = np.bytes_("MINC Version    1.0")


def write_minc1(path: Path, vectors: np.ndarray, affine: np.ndarray) -> None:
    """The same as MINC 1: integers of 16 bits, with a range for each slice."""
    start, step, cosines = _geometry(affine, ())
    values = vectors.transpose([AXES.index(name) for name in ORDER])
    low, high = values.min((1, 2, 3)), values.max((1, 2, 3))
    scaled = (values - low[:, None, None, None]) / (high - low)[:, None, None, None]
    with netcdf_file(path, "w") as file:
        for name, length in zip(ORDER, values.shape, strict=True):
            file.createDimension(name, length)
        for k, name in enumerate(AXES[:3]):
            axis = file.createVariable(name, "i", ())
            axis.start, axis.step, axis.direction_cosines = start[k], step[k], cosines[:, k]
            axis.spacing = b"regular__"
        image = file.createVariable("image", "h", ORDER)
        image[:] = np.rint(scaled * 32000).astype(np.int16)
        image.signtype, image.valid_range = b"signed__", np.array([0.0, 32000.0])
        for name, range_ in (("image-min", low), ("image-max", high)):
            file.createVariable(name, "d", (ORDER[0],))[:] = range_


def write_grid_xfm(path: Path, grid: Path, *, inverted: bool, before: str = "") -> None:
    """An .xfm of a grid, after other transforms if any."""
    flag = "Invert_Flag = True;\n" if inverted else ""
    path.write_text(
        f"MNI Transform File\n%a comment\n\n{before}Transform_Type = Grid_Transform;\n{flag}"
        f"Displacement_Volume = {grid.name};\n"
    )
