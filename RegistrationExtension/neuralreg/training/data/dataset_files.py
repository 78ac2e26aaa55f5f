"""The images of a dataset: where they lie, what they are called, and how they are read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from neuralreg.errors import InvalidImage, InvalidOption, UnreadableFile
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.image import Image
from neuralreg.training.config.schema import Split

_GROUP_KEY = re.compile(r"^group-(\d+)-(\d+)$")
_UNIT = 1e-4  # how far above 1 a soft label may be rounded


@dataclass(frozen=True, order=True)
class Place:
    """Where one array lies: a file, and in an HDF5 file a key."""

    path: str
    key: str = ""

    def __str__(self) -> str:
        return f"{self.path}:{self.key}" if self.key else self.path


@dataclass(frozen=True)
class Case:
    """One image with its label maps.

    Attributes:
        name: of the file.
        image: where it is.
        labels: where the label map is.
        mask: where the mask is.
        group: of grouped data.
        role: of paired data.
    """

    name: str
    image: Place
    labels: Place | None = None
    group: str = ""
    role: str = field(default="", compare=False)
    mask: Place | None = None


def find_cases(split: Split, kind: str) -> list[Case]:
    """The cases of a split, sorted; folders are searched in the order given.

    Args:
        split: folders and format.
        kind: "paired" uses moving_images, fixed_images, moving_labels, fixed_labels (and masks);
            all others images, labels and masks, where folders inside of images are groups. HDF5
            files have these names and end in .h5; the keys of groups are "group-1-2".

    Raises:
        UnreadableFile: a missing folder.
        InvalidOption: images and labels do not match.
    """
    sides = ("moving", "fixed") if kind == "paired" else ("",)
    cases: list[Case] = []
    for number, folder in enumerate(split.dir):
        if not folder.is_dir():
            raise UnreadableFile(f"{folder} is no folder", wanted="what `dir` names")
        for side in sides:
            cases += _cases_in(folder, side, split, f"{number}/" if len(split.dir) > 1 else "")
    if not cases:
        raise InvalidOption("there are no images", where=", ".join(map(str, split.dir)))
    return cases


def _cases_in(folder: Path, side: str, split: Split, prefix: str) -> list[Case]:
    head = f"{side}_" if side else ""
    files_of = _h5_places if split.format == "h5" else _file_places
    images = files_of(folder, f"{head}images")
    labels = files_of(folder, f"{head}labels") if split.labeled else {}
    masks = files_of(folder, f"{head}masks") if split.masked else {}
    words = {"labels": "labeled", "masks": "masked"}
    for used, files, name in ((split.labeled, labels, "labels"), (split.masked, masks, "masks")):
        if used and images.keys() != files.keys():
            odd = sorted(images.keys() ^ files.keys())
            raise InvalidOption(
                f"each image has {name} of the same name",
                where=f"{folder}, {head}images and {head}{name}",
                got=f"only one of both for {', '.join(odd[:8])}",
                remedy=f"Add what is missing, or set `{words[name]}: false`.",
            )
    return [
        Case(
            prefix + name,
            location,
            labels.get(name),
            prefix + _group(name, split.format),
            side,
            masks.get(name),
        )
        for name, location in images.items()
    ]


def _file_places(folder: Path, name: str) -> dict[str, Place]:
    from neuralreg.io.itk_images import WRITABLE  # loads ITK, which the panels do not

    top = folder / name
    if not top.is_dir():
        raise UnreadableFile(f"{folder} has no folder '{name}'", wanted=f"{top}")
    files = sorted(p for p in top.rglob("*") if p.is_file() and p.name.endswith(WRITABLE))
    return {_stem(p.relative_to(top), WRITABLE): Place(str(p)) for p in files}


def _stem(path: Path, suffixes: tuple[str, ...]) -> str:
    suffix = next(s for s in suffixes if path.name.endswith(s))
    return path.as_posix().removesuffix(suffix)


def _h5_places(folder: Path, name: str) -> dict[str, Place]:
    import h5py

    path = folder / f"{name}.h5"
    if not path.is_file():
        raise UnreadableFile(f"{folder} has no file '{name}.h5'")
    try:
        with h5py.File(path) as file:
            return {key: Place(str(path), key) for key in sorted(file, key=_natural)}
    except OSError as error:
        raise UnreadableFile(f"{path} cannot be read as HDF5", got=str(error)) from error


def _natural(key: str) -> tuple[object, ...]:
    match = _GROUP_KEY.match(key)
    return (0, int(match[1]), int(match[2])) if match else (1, key)


def _group(name: str, format: str) -> str:
    if format == "h5":
        match = _GROUP_KEY.match(name)
        return match[1] if match else ""
    return name.rpartition("/")[0]


def read_case_image(location: Place, dimension: int) -> Image:
    """The image at a location, in single precision: (1, z, y, x).

    Args:
        location: a file. Arrays of an HDF5 file have axes x y z, as DeepReg writes them, and
            samples of 1 mm unless they carry the attributes spacing, origin and direction (x y z,
            LPS).
        dimension: 2 or 3.

    Raises:
        UnreadableFile: it cannot be read.
        InvalidImage: it is no such image. Both name the location.
    """
    if location.key:
        image = _h5_image(location, dimension)
    else:
        from neuralreg.io.image_files import read_image

        image = read_image(location.path).float()
    if image.channels != 1 or image.grid.dimension != dimension:
        raise InvalidImage(
            "an image has as many axes as the network and one channel",
            where=str(location),
            got=f"{image.grid.dimension} axes, {image.channels} channels",
            wanted=f"{dimension} axes, as dataset.size says",
        )
    return image


def read_case_labels(location: Place, dimension: int) -> Image:
    """The label map at a place: integers (1, z, y, x), or soft labels 0..1 (k, z, y, x).

    A file with one axis more than its image, the last one in a file, holds one label per channel.
    """
    image = _h5_image(location, dimension) if location.key else _labels_file(location)
    values = image.data
    integers = bool((values == values.round()).all())
    if image.channels == 1 and integers:
        return Image(values.round().to(torch.int32), image.grid)
    if float(values.min()) < 0 or float(values.max()) > 1 + _UNIT:
        raise InvalidImage(
            "label maps hold whole numbers in one channel, or values in 0..1, one channel each",
            where=str(location),
            got=f"values {float(values.min()):g} to {float(values.max()):g}",
        )
    return Image(values.float(), image.grid)


def _labels_file(location: Place) -> Image:
    from neuralreg.io.image_files import read_image
    from neuralreg.io.itk import image_from_itk
    from neuralreg.io.itk_images import open_image, read_itk_image

    if open_image(Path(location.path)).GetDimension() < 4:
        return read_image(location.path).float()
    import SimpleITK as sitk

    volume = read_itk_image(Path(location.path))
    count = volume.GetSize()[3]
    size = [*volume.GetSize()[:3], 0]
    parts = [image_from_itk(sitk.Extract(volume, size, [0, 0, 0, n])).float() for n in range(count)]
    return Image(torch.cat([part.data for part in parts]), parts[0].grid)


def _h5_image(location: Place, d: int) -> Image:
    import h5py

    with h5py.File(location.path) as file:
        array = np.asarray(file[location.key], np.float32)
        about = dict(file[location.key].attrs)
    if not np.isfinite(array).all():
        raise InvalidImage("values are finite", where=str(location), got="NaN or infinite values")
    if array.ndim not in (d, d + 1):
        raise InvalidImage(
            "an array has as many axes as the network, and one more for labels in channels",
            where=str(location),
            got=f"shape {array.shape}",
            wanted=f"{d} or {d + 1} axes",
        )
    channels = array[None] if array.ndim == d else np.moveaxis(array, -1, 0)
    data = torch.from_numpy(np.ascontiguousarray(channels.transpose(0, *range(d, 0, -1))))
    grid = Grid(
        tuple(array.shape[:d]),
        tuple(about.get("spacing", (1.0,) * d)),
        tuple(about.get("origin", (0.0,) * d)),
        tuple(np.ravel(about.get("direction", np.eye(d))).tolist()),
    )
    return Image(data, grid)


def label_values(cases: Sequence[Case], dimension: int) -> tuple[int, ...]:
    """All values that the label maps of some cases hold, without 0; channels count from 1."""
    values: set[int] = set()
    for case in cases:
        if case.labels is not None:
            image = read_case_labels(case.labels, dimension)
            if image.data.is_floating_point():
                values |= set(range(1, image.channels + 1))
            else:
                values |= set(torch.unique(image.data).tolist())
    return tuple(sorted(values - {0}))


def label_channels(labels: Image, values: Sequence[int]) -> Image:
    """One channel in 0..1 for each of some label values."""
    if labels.data.is_floating_point():
        missing = [v for v in values if not 1 <= v <= labels.channels]
        if missing:
            raise InvalidOption(
                "there is no channel for a label", got=f"{missing}", wanted=f"1..{labels.channels}"
            )
        return Image(labels.data[[v - 1 for v in values]], labels.grid)
    return Image(torch.cat([(labels.data == v).float() for v in values]), labels.grid)
