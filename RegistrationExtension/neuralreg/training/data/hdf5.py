"""Images and labels in HDF5 files, as DeepReg lays them out: an array per key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuralreg.errors import InvalidImage, UnreadableFile
from neuralreg.geometry.grid import Grid
from neuralreg.training.data.image_folder import Place, natural_order

Array = NDArray[Any]


def keys_of(path: Path) -> list[str]:
    """The keys of a file in natural order.

    Raises:
        UnreadableFile: it is missing, damaged, or a key holds no array.
    """
    import h5py

    if not path.is_file():
        raise UnreadableFile(f"{path.parent} has no file '{path.name}'", wanted=str(path))
    try:
        with h5py.File(path) as file:
            for key in file:
                _require_array(path, key, file.get(key))
            return sorted(file, key=natural_order)
    except OSError as error:
        raise UnreadableFile(f"{path} cannot be read as HDF5", got=str(error)) from error


def _require_array(path: Path, key: str, value: Any) -> None:
    import h5py

    if isinstance(value, h5py.Dataset) and value.shape is not None and value.dtype.kind in "biuf":
        return
    got = "a link that leads nowhere"
    if isinstance(value, h5py.Group):
        got = f"a folder with {', '.join(map(repr, list(value)[:4])) or 'nothing in it'}"
    elif value is not None:
        got = f"{value.dtype} of shape {value.shape}"
    raise UnreadableFile(
        f"{path} holds something else than an array at the key '{key}'",
        got=got,
        wanted="an array of numbers at each key, such as group-1-2, and no folders",
        remedy="Write images.h5 (and labels.h5) with one array per key; docs/training.md, Data.",
    )


def read_array(location: Place, d: int) -> tuple[Array, Grid]:
    """Values (c, z, y, x) of an array with axes x y z, or x y z c, and where they lie.

    Args:
        location: a file and a key. Samples have 1 mm unless the array has the attributes spacing,
            origin and direction (x y z, LPS).
        d: number of axes of the images.

    Raises:
        UnreadableFile: there is no such array, or it is damaged.
        InvalidImage: it has another number of axes, or attributes that do not fit.
    """
    import h5py

    try:
        with h5py.File(location.path) as file:
            stored = file.get(location.key)
            _require_array(Path(location.path), location.key, stored)
            array, about = np.asarray(stored[()]), dict(stored.attrs)
    except OSError as error:
        raise UnreadableFile(f"{location} is missing or damaged", got=str(error)) from error
    if not array.size:
        raise InvalidImage(
            "an array has no samples", where=str(location), got=f"shape {array.shape}"
        )
    if array.ndim not in (d, d + 1):
        raise InvalidImage(
            "an array has as many axes as the network, and one more for labels in channels",
            where=str(location),
            got=f"shape {array.shape}",
            wanted=f"{d} or {d + 1} axes",
        )
    channels = array[None] if array.ndim == d else np.moveaxis(array, -1, 0)
    values = np.ascontiguousarray(channels.transpose(0, *range(d, 0, -1)))
    return values, _grid_of(location, array.shape[:d], about)


def _grid_of(location: Place, size: tuple[int, ...], about: dict[str, Any]) -> Grid:
    d = len(size)
    usual = {"spacing": np.ones(d), "origin": np.zeros(d), "direction": np.eye(d)}
    parts = {}
    for name, default in usual.items():
        given = np.ravel(about.get(name, default))
        if given.size != default.size or given.dtype.kind not in "biuf":
            raise InvalidImage(
                f"the attribute '{name}' does not fit the array",
                where=str(location),
                got=str(given.tolist()),
                wanted=f"{default.size} numbers",
            )
        parts[name] = tuple(given.astype(float).tolist())
    try:
        return Grid(size, parts["spacing"], parts["origin"], parts["direction"])
    except InvalidImage as error:
        raise error.at(str(location)) from error
