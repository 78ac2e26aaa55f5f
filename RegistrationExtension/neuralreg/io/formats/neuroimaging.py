"""FreeSurfer, MINC, AFNI, ECAT and Philips files, which nibabel reads."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import nibabel
import numpy as np
from nibabel.externals.netcdf import netcdf_file
from nibabel.minc1 import Minc1File
from nibabel.minc2 import Minc2File
from nibabel.openers import Opener

from neuralreg.errors import InvalidImage, InvalidTransform, PackageMissing, UnreadableFile
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.remarks import Remark, RemarkKind
from neuralreg.io.volume import (
    Array,
    Volume,
    frame_remarks,
    grid_of_affine,
    not_finite_remarks,
    to_image,
)

SUFFIXES = (".mgz", ".mgh", ".mnc", ".mnc.gz", ".head", ".brik", ".brik.gz", ".v", ".par", ".rec")

_VECTOR_AXIS = "vector_dimension"
_HDF5 = b"\x89HDF"


def read_neuroimaging(path: Path, frame: int | None = 0) -> list[Volume]:
    """One frame of the image in a file of one of `SUFFIXES`, or all of them where it is None.

    Raises:
        UnreadableFile: the file is damaged or none of these.
        InvalidImage: its axes are not at right angles.
        PackageMissing: MINC 2 needs h5py.
    """
    with _reading(path):
        image = nibabel.load(_header_of(path))
        values = np.asanyarray(image.dataobj)
        affine = np.asarray(image.affine, float)
    if isinstance(image, nibabel.Minc1Image):  # its arrays are z y x already, and its 4D is t z y x
        values, affine = _reverse(values, affine)
    if values.dtype.fields or values.dtype.kind == "c":
        raise InvalidImage("only images with one real value per voxel can be registered",
                           where=str(path), got=str(values.dtype))  # fmt: skip
    values = values.reshape(*values.shape[:3], *[1] * (3 - values.ndim), -1)
    frames = range(values.shape[-1]) if frame is None else [frame]
    return [_to_volume(path, values, affine, k) for k in frames]


def read_minc_vectors(path: Path) -> tuple[Array, Grid]:
    """The three numbers of each voxel of a MINC file, in single precision, and where they lie.

    Returns:
        The numbers (z, y, x, 3) as the file has them (displacements are RAS mm), and their grid.

    Raises:
        UnreadableFile: the file is damaged or not of MINC.
        InvalidTransform: it does not hold three numbers per voxel.
        InvalidImage: its axes are not at right angles.
        PackageMissing: MINC 2 needs h5py.
    """
    with _reading(path):
        axes, values, affine = _read_minc(path)
    if values.ndim != 4 or _VECTOR_AXIS not in axes or values.shape[axes.index(_VECTOR_AXIS)] != 3:
        raise InvalidTransform(
            "a grid of MINC has three numbers per voxel", where=str(path),
            got=" x ".join(f"{name} {n}" for name, n in zip(axes, values.shape, strict=True)),
            wanted=f"three axes of space, and {_VECTOR_AXIS} 3",
        )  # fmt: skip
    vectors = np.moveaxis(values, axes.index(_VECTOR_AXIS), -1).astype(np.float32)
    placement = affine[:, [2, 1, 0, 3]]  # the last axis of an array is the first of an index
    try:
        return vectors, grid_of_affine(vectors.shape[2::-1], placement)
    except InvalidImage as error:
        raise error.at(str(path)) from error


def _read_minc(path: Path) -> tuple[tuple[str, ...], Array, Array]:
    """The names of the axes of a MINC file, its array, and the matrix of its axes of space."""
    with Opener(str(path), "rb") as stream:
        if stream.read(len(_HDF5)) == _HDF5:
            import h5py

            with h5py.File(path, "r") as file:
                minc = Minc2File(file)
                order = file["minc-2.0/image/0/image"].attrs["dimorder"].decode()
                return tuple(order.split(",")), minc.get_scaled_data(), minc.get_affine()
        stream.seek(0)
        content = netcdf_file(stream, mmap=False)
        # The axis of vectors has no variable of its own, which nibabel asks for.
        content.variables.setdefault(_VECTOR_AXIS, SimpleNamespace(spacing=b"regular__"))
        minc = Minc1File(content)
        axes = tuple(content.variables["image"].dimensions)
        return axes, minc.get_scaled_data(), minc.get_affine()


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Say what a library could not read, in words of ours."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of nibabel, about headers that it completes
            yield
    except ImportError as error:
        raise PackageMissing(
            f"{path} needs a package that is not installed", got=str(error)
        ) from error
    except Exception as error:
        raise UnreadableFile(
            f"{path} cannot be read as an image",
            got=f"{type(error).__name__}: {error}",
            remedy="Open the file in another program to see whether it is damaged.",
        ) from error


def _header_of(path: Path) -> Path:
    """AFNI and Philips keep the header in a file of its own."""
    name = path.name.lower()
    for values, header in ((".brik.gz", ".head"), (".brik", ".head"), (".rec", ".par")):
        if name.endswith(values):
            stem = path.name[: -len(values)]
            both = (path.with_name(stem + header), path.with_name(stem + header.upper()))
            return both[0] if both[0].exists() else both[1]
    return path


def _reverse(values: Array, affine: Array) -> tuple[Array, Array]:
    """The same voxels with the axes the other way round: x y z t."""
    return values.T, affine[:, [2, 1, 0, 3]]


def _to_volume(path: Path, values: Array, affine: Array, frame: int) -> Volume:
    """One frame of values x y z t."""
    frames = values.shape[-1]
    remarks = frame_remarks(path, 4, frame, frames)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) == 0:
        affine = np.diag([-1.0, -1.0, 1.0, 1.0])
        remarks.append(Remark(RemarkKind.NO_PLACEMENT, path))
    chosen = values[..., frame].transpose(2, 1, 0)
    if not chosen.dtype.isnative:
        chosen = chosen.astype(chosen.dtype.newbyteorder("="))
    if np.issubdtype(chosen.dtype, np.floating):
        chosen = chosen if chosen.dtype.itemsize in (4, 8) else chosen.astype(np.float32)
        remarks += not_finite_remarks(path, chosen)
    try:
        grid = grid_of_affine(chosen.shape[::-1], affine)
    except InvalidImage as error:
        raise error.at(str(path)) from error
    return Volume(to_image(chosen, grid), tuple(remarks), frames)
