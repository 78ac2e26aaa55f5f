"""OME-Zarr (NGFF 0.4 and 0.5): one level of a pyramid, one channel and one frame of it.

Source: the OME-NGFF specification, https://ngff.openmicroscopy.org/0.5, "multiscales"; anatomical
orientation as in its RFC 4.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neuralreg.errors import InvalidImage, PackageMissing, UnreadableFile
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.remarks import Remark, RemarkKind
from neuralreg.io.files import SERIES_MARK, split_series
from neuralreg.io.volume import Volume, frame_remarks, not_finite_remarks, to_image

ENOUGH = 3_000_000  # voxels: as many as the default engine takes of an image
_MM = {
    "nanometer": 1e-6, "micrometer": 1e-3, "millimeter": 1.0, "centimeter": 10.0,
    "decimeter": 100.0, "meter": 1e3, "angstrom": 1e-7, "inch": 25.4,
}  # fmt: skip
_SECONDS = {"microsecond": 1e-6, "millisecond": 1e-3, "second": 1.0, "minute": 60.0, "hour": 3600.0}
_OLD_AXES = ("t", "c", "z", "y", "x")  # of every array before version 0.3
_LPS = {  # axis of LPS and its sense, by where values of an axis lead to
    "right-to-left": (0, 1), "left-to-right": (0, -1),
    "anterior-to-posterior": (1, 1), "posterior-to-anterior": (1, -1),
    "inferior-to-superior": (2, 1), "superior-to-inferior": (2, -1),
}  # fmt: skip
_DAMAGES = (KeyError, IndexError, ValueError, TypeError, AttributeError, OSError, RuntimeError)


def is_ome_zarr(path: Path) -> bool:
    """Whether a path leads to a folder of Zarr, or names a level in one."""
    folder, _ = split_series(path)
    return folder.is_dir() and any((folder / name).is_file() for name in (".zgroup", "zarr.json"))


def read_ome_zarr(path: Path, frame: int | None = 0) -> list[Volume]:
    """One level of an image, or all its frames.

    Args:
        path: the folder, or `FOLDER::LEVEL`, `FOLDER::c=CHANNEL`, `FOLDER::LEVEL,c=CHANNEL`, with
            the number of a level (0 is the finest) or the path of its array, and the number or name
            of a channel. Without a level the coarsest one with at least `ENOUGH` voxels is read, or
            the finest.
        frame: of the time axis; None: all of them.

    Raises:
        UnreadableFile: it is damaged, or no image.
        InvalidImage: it has several channels and none is named.
        PackageMissing: the package zarr is not installed.
    """
    try:
        image = _Multiscale.open(path)
        level, remarks = image.choose()
        return image.volumes(level, remarks, frame)
    except _DAMAGES as error:
        raise UnreadableFile(
            f"{path} cannot be read as OME-Zarr", got=f"{type(error).__name__}: {error}"
        ) from error


def ome_zarr_grid(path: Path) -> tuple[Grid, list[Remark]]:
    """Where the voxels of the level that `read_ome_zarr` reads lie, from its metadata alone."""
    try:
        image = _Multiscale.open(path)
        level, remarks = image.choose()
        grid, more = image.grid(level)
        return grid, [*remarks, *more]
    except _DAMAGES as error:
        raise UnreadableFile(
            f"{path} cannot be read as OME-Zarr", got=f"{type(error).__name__}: {error}"
        ) from error


@dataclass(frozen=True)
class _Multiscale:
    """The image of a folder.

    Attributes:
        path: as it was given.
        about: its entry of "multiscales".
        axes: names, in the order of the arrays.
        arrays: of the levels, the finest first.
        level, channel: as the path names them; "" where it does not.
        channels: names.
    """

    path: Path
    about: dict[str, Any]
    axes: tuple[str, ...]
    arrays: list[Any]
    level: str
    channel: str
    channels: list[str]

    @classmethod
    def open(cls, path: Path) -> _Multiscale:
        folder, words = split_series(path)
        group = _load_zarr(path).open_group(str(folder), mode="r")
        attributes = dict(group.attrs)
        attributes = attributes.get("ome", attributes)
        images = attributes.get("multiscales", [])
        if len(images) != 1:
            raise UnreadableFile(
                f"{folder} holds no image of OME-Zarr" if not images else
                f"{folder} holds several images of OME-Zarr",
                got=f"{len(images)} multiscales; groups {', '.join(sorted(group)) or 'none'}",
                remedy="Give the folder of one image.",
            )  # fmt: skip
        parts = [part.strip() for part in words.split(",") if part.strip()]
        channel = next((part[2:] for part in parts if part.startswith("c=")), "")
        level = next((part for part in parts if not part.startswith("c=")), "")
        arrays = [group[one["path"]] for one in images[0]["datasets"]]
        axes = images[0].get("axes") or _OLD_AXES[-arrays[0].ndim :]
        names = tuple(axis if isinstance(axis, str) else axis["name"] for axis in axes)
        labels = [str(c.get("label", "")) for c in attributes.get("omero", {}).get("channels", [])]
        if not {"y", "x"} <= set(names) <= set(_OLD_AXES):
            raise UnreadableFile(
                f"{folder} has other axes than those of an image", got=" ".join(names),
                wanted="of t c z y x, at least y x",
            )  # fmt: skip
        return cls(path, images[0], names, arrays, level, channel, labels)

    def choose(self) -> tuple[int, list[Remark]]:
        """The level to read, and a remark where nobody chose it."""
        names = [one["path"] for one in self.about["datasets"]]
        if self.level:
            if self.level in names:
                return names.index(self.level), []
            if self.level.isdigit() and int(self.level) < len(names):
                return int(self.level), []
            raise UnreadableFile(
                f"no level is called '{self.level}' in {split_series(self.path)[0]}",
                got=", ".join(f"{k}: {self._size(k)}" for k in range(len(names))),
                wanted="the number of a level",
            )
        fine = [k for k in range(len(names)) if self._count(k) >= ENOUGH]
        level = fine[-1] if fine else 0
        if len(names) == 1:
            return level, []
        values = {"level": level, "levels": len(names), "size": self._size(level)}
        folder = split_series(self.path)[0]
        return level, [
            Remark(
                RemarkKind.LEVEL_CHOSEN, self.path, {**values, "name": f"{folder}{SERIES_MARK}0"}
            )
        ]

    def grid(self, level: int) -> tuple[Grid, list[Remark]]:
        """Where the voxels of a level lie, LPS mm."""
        scale, shift = self._scaling(level)
        space: list[str] = [name for name in ("x", "y", "z") if name in self.axes]
        units = {self._unit(name) for name in space}
        remarks = [Remark(RemarkKind.NO_UNIT, self.path)] if "" in units else []
        factors = [self._factor(name, _MM) for name in space]
        spacing = np.array([scale[name] for name in space]) * factors
        origin = np.array([shift[name] for name in space]) * factors
        direction, more = self._direction(space)
        size = tuple(int(self.arrays[level].shape[self.axes.index(name)]) for name in space)
        if not (np.isfinite(spacing).all() and (spacing > 0).all() and np.isfinite(origin).all()):
            raise UnreadableFile(
                f"the scale of {self.path} is no spacing", got=str(spacing.tolist()), wanted="> 0"
            )
        placed = Grid(
            size, tuple(spacing.tolist()), tuple((direction @ origin).tolist()),
            tuple(direction.ravel().tolist()),
        )  # fmt: skip
        return placed, remarks + more

    def volumes(self, level: int, remarks: list[Remark], frame: int | None) -> list[Volume]:
        """One frame of a level, or all of them."""
        grid, more = self.grid(level)
        array = self.arrays[level]
        count = int(array.shape[self.axes.index("t")]) if "t" in self.axes else 1
        chosen = range(count) if frame is None else [frame]
        scale, shift = self._scaling(level)
        factor = self._factor("t", _SECONDS)
        time = (shift.get("t", 0.0) * factor, scale.get("t", 1.0) * factor) if count > 1 else (0, 1)
        volumes = []
        for k in chosen:
            values = self._read(array, k)
            own = [*remarks, *more, *frame_remarks(self.path, len(self.axes), k, count)]
            own += not_finite_remarks(self.path, values)
            volumes.append(Volume(to_image(values, grid), tuple(own), count, time=time))
        return volumes

    def _read(self, array: Any, frame: int) -> Any:
        """The values (z, y, x) of one frame and channel, in a type that ITK knows."""
        index = {"t": frame, "c": self._channel_of(array)}
        values = np.asarray(array[tuple(index.get(name, slice(None)) for name in self.axes)])
        kept = [name for name in self.axes if name not in index]
        values = values.transpose([kept.index(name) for name in ("z", "y", "x") if name in kept])
        if values.dtype.kind not in "biuf":
            raise InvalidImage(
                "only images with one real value per voxel can be registered",
                where=str(self.path), got=str(values.dtype),
            )  # fmt: skip
        if values.dtype.kind == "b":
            return values.astype(np.uint8)
        if values.dtype.kind == "f" and values.dtype.itemsize not in (4, 8):
            return values.astype(np.float32)
        return values.astype(values.dtype.newbyteorder("="), copy=False)

    def _channel_of(self, array: Any) -> int:
        count = int(array.shape[self.axes.index("c")]) if "c" in self.axes else 1
        if not self.channel and count == 1:
            return 0
        if self.channel in self.channels and self.channels.count(self.channel) == 1:
            return self.channels.index(self.channel)
        if self.channel.isdigit() and int(self.channel) < count:
            return int(self.channel)
        names = (f"{k} '{name}'" for k, name in enumerate(self.channels or [""] * count))
        raise InvalidImage(
            f"no channel is called '{self.channel}'" if self.channel else
            "only images with one value per voxel can be registered",
            where=str(self.path), got=f"{count} channels: {', '.join(names)}",
            remedy=f"Name one after two colons: {split_series(self.path)[0]}{SERIES_MARK}c=0",
        )  # fmt: skip

    def _scaling(self, level: int) -> tuple[dict[str, float], dict[str, float]]:
        """Spacing and place of the first voxel along each axis, in the file's units.

        The transformations of a level come first, then those of all levels.
        """
        scale, shift = np.ones(len(self.axes)), np.zeros(len(self.axes))
        both = (self.about["datasets"][level], self.about)
        for step in [step for one in both for step in one.get("coordinateTransformations", [])]:
            if step["type"] == "scale":
                scale, shift = scale * step["scale"], shift * step["scale"]
            elif step["type"] == "translation":
                shift = shift + step["translation"]
            elif step["type"] != "identity":
                raise UnreadableFile(
                    f"{self.path} is placed in a way that is not known", got=step["type"],
                    wanted="scale and translation",
                )  # fmt: skip
        return dict(zip(self.axes, scale, strict=True)), dict(zip(self.axes, shift, strict=True))

    def _direction(self, space: list[str]) -> tuple[Any, list[Remark]]:
        """Columns: where x, y, z lead to in LPS, and a remark where the file does not say it."""
        given = {name: self._about_axis(name).get("orientation") for name in space}
        if not any(given.values()):
            return np.eye(len(space)), [Remark(RemarkKind.AXES_ASSUMED, self.path)]
        direction = np.zeros((3, 3))
        for column, name in enumerate(space):
            value = given[name] or {}
            axis = _LPS.get(str(value.get("value") if isinstance(value, dict) else value))
            if axis is not None:
                direction[axis[0], column] = axis[1]
        if len(space) != 3 or abs(np.linalg.det(direction)) != 1:
            raise UnreadableFile(
                f"the axes of {self.path} are oriented in a way that is not known", got=str(given),
                wanted=f"three different ones of {', '.join(_LPS)}",
            )  # fmt: skip
        return direction, []

    def _about_axis(self, name: str) -> dict[str, Any]:
        axes = self.about.get("axes") or []
        return next((a for a in axes if isinstance(a, dict) and a["name"] == name), {})

    def _unit(self, name: str) -> str:
        return str(self._about_axis(name).get("unit") or "")

    def _factor(self, name: str, known: dict[str, float]) -> float:
        unit = self._unit(name)
        if unit and unit not in known:
            raise UnreadableFile(
                f"the axis {name} of {self.path} has a unit that is not known", got=unit,
                wanted=", ".join(known),
            )  # fmt: skip
        return known.get(unit, 1.0)

    def _count(self, level: int) -> int:
        shape = self.arrays[level].shape
        return int(np.prod([n for name, n in zip(self.axes, shape, strict=True) if name in "zyx"]))

    def _size(self, level: int) -> str:
        shape = dict(zip(self.axes, self.arrays[level].shape, strict=True))
        return "x".join(str(shape[name]) for name in ("x", "y", "z") if name in shape)


def _load_zarr(path: Path) -> Any:
    try:
        import zarr
    except ImportError as error:
        raise PackageMissing(
            "this image is read with zarr, which is not installed", where=str(path),
            remedy='pip install "zarr>=3" (or neuralreg[exchange]).',
        ) from error  # fmt: skip
    return zarr
