"""The images of a dataset: where they lie, what they are called, and how they are read."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from neuralreg.errors import InvalidImage, InvalidOption, UnreadableFile, UnwritableOutput
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.image import Image
from neuralreg.training.config.schema import Dataset, Split
from neuralreg.training.data import hdf5
from neuralreg.training.data.image_folder import LeftOut, Place, scan_folder

_GROUP_KEY = re.compile(r"^group-(\d+)-(\d+)$")
_READ = ("images", "labels", "masks")  # how the names of folders end whose files are read
_UNIT = 1e-4  # how far above 1 a soft label may be rounded


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


def describe_shared(cases: Mapping[str, Sequence[Case]]) -> list[str]:
    """A sentence for each two splits that have images in common: such figures flatter a model.

    Args:
        cases: by split. Links lead to what they stand for; copies are not known as such.
    """
    images = {
        split: {(str(Path(one.image.path).resolve()), one.image.key): one for one in held}
        for split, held in cases.items()
    }
    sentences = []
    for one, two in combinations(images, 2):
        if shared := [images[one][key] for key in images[one] if key in images[two]]:
            sentences.append(
                f"{one} and {two} have {len(shared)} images in common, such as {shared[0].image}: "
                f"figures of {two} say nothing about other images"
            )
    return sentences


def find_cases(split: Split, kind: str) -> list[Case]:
    """The cases of a split; folders are searched in the order given.

    Numbers in names count as numbers, in files as in HDF5: visit2 comes before visit10.

    Args:
        split: folders and format.
        kind: "paired" uses moving_images, fixed_images, moving_labels, fixed_labels (and masks);
            all others images, labels and masks, where folders inside of images are groups. HDF5
            files have these names and end in .h5; the keys of groups are "group-1-2".

    Raises:
        UnreadableFile: a missing folder.
        InvalidOption: images and labels do not match, or two images have one name.
    """
    cases: list[Case] = []
    _require_different(split.dir)
    for number, folder in enumerate(split.dir):
        if not folder.is_dir():
            raise UnreadableFile(f"{folder} is no folder", wanted="what `dir` names")
        for side in _sides(kind):
            cases += _cases_in(folder, side, split, f"{number}/" if len(split.dir) > 1 else "")
    if not cases:
        raise InvalidOption(
            "there are no images",
            where=", ".join(map(str, split.dir)),
            got="; ".join(f"{one.path}: {one.why}" for one in list_left_out(split, kind)[:4]),
        )
    if kind == "grouped" and split.format == "h5":
        _require_group_keys(cases)
    return cases


def list_left_out(split: Split, kind: str) -> list[LeftOut]:
    """What lies among the images, labels and masks of a split and is none of them.

    Args:
        split: as for `find_cases`.
        kind: as for `find_cases`.
    """
    if split.format == "h5":
        return []
    parts = ["images", *["labels"] * split.labeled, *["masks"] * split.masked]
    tops = [
        folder / (f"{side}_{part}" if side else part)
        for folder in split.dir
        for side in _sides(kind)
        for part in parts
    ]
    return [one for top in tops if top.is_dir() for one in scan_folder(top)[1]]


def require_outside(folder: Path, dataset: Dataset) -> None:
    """Check that what is written to a folder is never read as an image of the data set.

    Raises:
        UnwritableOutput: the folder is one of images, label maps or masks, or lies in one.
    """
    splits = (dataset.train, dataset.valid, dataset.test)
    tops = [top for split in splits if split for top in split.dir if top.is_dir()]
    read = {path.resolve() for top in tops for path in top.iterdir() if path.name.endswith(_READ)}
    if read & {folder.resolve(), *folder.resolve().parents}:
        raise UnwritableOutput(
            f"{folder} lies among the images of the data set",
            remedy="Choose a folder outside of it.",
        )


def describe_cases(cases: Sequence[Case]) -> str:
    """Their number, and a hash of their names and sizes, wherever they lie."""
    facts = [
        (case.name, case.role, part.key, [file.stat().st_size for file in part.files()])
        for case in cases
        for part in (case.image, case.labels, case.mask)
        if part is not None
    ]
    digest = hashlib.sha256(repr(facts).encode()).hexdigest()[:12]
    return f"{len(cases)} images ({digest})"


def _sides(kind: str) -> tuple[str, ...]:
    return ("moving", "fixed") if kind == "paired" else ("",)


def _require_different(folders: Sequence[Path]) -> None:
    resolved = [folder.resolve() for folder in folders]
    twice = [str(f) for n, f in enumerate(folders) if resolved[n] in resolved[:n]]
    if twice:
        raise InvalidOption("a folder of images is given twice", got=", ".join(twice))


def _require_group_keys(cases: Sequence[Case]) -> None:
    odd = [case.image.key for case in cases if not _GROUP_KEY.match(case.image.key)]
    if odd:
        raise InvalidOption(
            "the keys of grouped images do not name their groups",
            where=cases[0].image.path,
            got=", ".join(odd[:8]),
            wanted="group-1-2: group 1, image 2",
        )


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
    top = folder / name
    if not top.is_dir():
        raise UnreadableFile(f"{folder} has no folder '{name}'", wanted=f"{top}")
    return scan_folder(top)[0]


def _h5_places(folder: Path, name: str) -> dict[str, Place]:
    path = folder / f"{name}.h5"
    return {key: Place(str(path), key) for key in hdf5.keys_of(path)}


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
        values, grid = hdf5.read_array(location, dimension)
        image = Image(torch.from_numpy(values.astype(np.float32)), grid)
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
    odd = int((~torch.isfinite(image.data)).sum())
    if odd:
        raise InvalidImage(
            "images to train on have finite values only",
            where=str(location),
            got=f"NaN or infinite values in {odd} of {image.data.numel()} voxels",
            remedy="Replace them, for example by the value of the background.",
        )
    return image


def read_case_labels(location: Place, dimension: int) -> Image:
    """The label map at a place: exact integers (1, z, y, x), or soft labels 0..1 (k, z, y, x).

    A file with one axis more than its image, the last one in a file, holds one label per channel.

    Args:
        location: as for `read_case_image`.
        dimension: of the images, 2 or 3.

    Raises:
        UnreadableFile: it cannot be read.
        InvalidImage: it holds neither labels nor shares of the images' dimension.
    """
    values, grid = (hdf5.read_array if location.key else _read_labels)(location, dimension)
    if not np.isfinite(values).all():
        raise InvalidImage("labels are finite", where=str(location), got="NaN or infinite values")
    if len(values) == 1 and (values.dtype.kind != "f" or (np.rint(values) == values).all()):
        return Image(torch.from_numpy(_as_integers(values, location)), grid)
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > 1 + _UNIT:
        raise InvalidImage(
            "label maps hold whole numbers in one channel, or values in 0..1, one channel each",
            where=str(location),
            got=f"values {low:g} to {high:g}",
        )
    return Image(torch.from_numpy(values.astype(np.float32)), grid)


def _as_integers(values: NDArray[Any], location: Place) -> NDArray[Any]:
    """Labels in 32 bits, or 64 where one of them needs it."""
    most = max(abs(float(values.max(initial=0))), abs(float(values.min(initial=0))))
    if most >= 2.0**63:
        raise InvalidImage(
            "labels are whole numbers of up to 63 bits", where=str(location), got=f"{most:.9g}"
        )
    return values.astype(np.int32 if most <= np.iinfo(np.int32).max else np.int64)


def _read_labels(location: Place, d: int) -> tuple[NDArray[Any], Grid]:
    """The values (k, z, y, x) of a file: frames of a volume, or slices where images are planes."""
    import SimpleITK as sitk

    from neuralreg.io.image_files import image_of_volume
    from neuralreg.io.itk_images import open_frames

    path = Path(location.path)
    volumes = open_frames(path)[0]
    values = np.stack([sitk.GetArrayFromImage(volume.image) for volume in volumes])
    grid = image_of_volume(path, volumes[0]).grid
    if grid.dimension == d:
        return values, grid
    if grid.dimension != d + 1 or len(values) > 1:
        raise InvalidImage(
            "a label map has the axes of its image, or one more for labels in channels",
            where=str(location),
            got=f"{grid.dimension} axes",
            wanted=f"{d} or {d + 1} axes",
        )
    cosines = np.reshape(grid.direction, (d + 1, d + 1))[:d, :d]
    plane = Grid(grid.size[:d], grid.spacing[:d], grid.origin[:d], tuple(cosines.ravel().tolist()))
    return values[0], plane


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
    wide = labels.data.long()
    return Image(torch.cat([(wide == v).float() for v in values]), labels.grid)
