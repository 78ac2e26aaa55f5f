"""The images of a group: what they are called, and which of them cannot belong to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from torch import Tensor

from neuralreg.errors import InvalidImage, InvalidOption
from neuralreg.geometry.image import Image
from neuralreg.io.files import path_from, sha256_of, suffix_of
from neuralreg.io.image_files import read_grid, read_image
from neuralreg.io.tables import Table, read_table
from neuralreg.registration.image_checks import prepare, prepare_mask
from neuralreg.registration.working_grid import foreground, quantiles

_TABLES = (".csv", ".tsv")
_COLUMNS = ("image", "name", "labels", "weight", "mask")
_CHANNEL = "channel_"  # how columns of further images begin; their name follows
_LARGEST_RATIO = 4.0  # of a body's volume to the group's median: people of all ages are within 3


@dataclass(frozen=True)
class Subject:
    """One image of a group.

    Attributes:
        name: unique in the group; results are called by it.
        path: of the image.
        sha256: of the file; subjects are taken in the order of these, so that the order in which
            they were given does not matter.
        labels: a label map of the image, or None.
        weight: in averages.
        position: where it was in the given order, from 0.
        channels: further images of the subject in the same space, by name, on any grids.
        mask: above 0 where the images count, or None.
    """

    name: str
    path: Path
    sha256: str
    labels: Path | None = None
    weight: float = 1.0
    position: int = 0
    channels: tuple[tuple[str, Path], ...] = ()
    mask: Path | None = None

    @property
    def files(self) -> list[Path]:
        """All files that say what the subject looks like."""
        masks = [] if self.mask is None else [self.mask]
        return [self.path, *(path for _, path in self.channels), *masks]

    def read(self) -> Image:
        """The image in single precision, without NaN.

        Raises:
            InvalidImage: it shows nothing, or has colors.
        """
        return prepare(read_image(self.path), f"image of {self.name}")[0]

    def read_channels(self) -> tuple[Image, ...]:
        """The further images, as `read` gives the first one."""
        return tuple(
            prepare(read_image(path), f"channel {name} of {self.name}")[0]
            for name, path in self.channels
        )

    def read_mask(self, image: Image) -> Image | None:
        """Weights of 0 to 1 on the grid of the image; None where all of it counts.

        Raises:
            InvalidImage: the mask is empty, or has no space in common with the image.
        """
        if self.mask is None:
            return None
        return prepare_mask(read_image(self.mask), image, f"mask of {self.name}")[0]


def read_subjects(paths: Sequence[Path], *, twice: bool = False) -> tuple[list[Subject], list[str]]:
    """The subjects of image files, or of one table with a column `image`.

    Args:
        paths: images, or a single .csv or .tsv with the columns image and, if wanted, name,
            labels, weight, mask and, for further images, channel_NAME; paths in it are relative to
            the table.
        twice: whether the same image may occur more than once, as in two identical scans of one
            person.

    Returns:
        The subjects in the order of their hashes, and a sentence for each that was left out
        because it is there twice.

    Raises:
        InvalidOption: fewer than two subjects are left, or a column or weight is wrong.
        InvalidImage: some are 2D and others 3D.
        UnreadableFile: a file is missing or damaged.
    """
    if len(paths) == 1 and suffix_of(paths[0]) in _TABLES:
        given = _subjects_of(read_table(paths[0]))
    else:
        given = [Subject(_stem(path), path, sha256_of(path)) for path in paths]
    given = [replace(one, position=n) for n, one in enumerate(given)]
    notes, kept = list[str](), list[Subject]()
    for subject in given:
        first = next((one for one in kept if one.sha256 == subject.sha256), None)
        if first is None or twice:
            kept.append(subject)
        else:
            notes.append(f"{subject.path} is the same image as {first.path}: it was left out")
    subjects = _with_unique_names(sorted(kept, key=lambda one: (one.sha256, one.position)))
    if len(subjects) < 2:
        raise InvalidOption(
            "a group has at least two different images", got=f"{len(subjects)}", wanted="2 or more"
        )
    dimensions = {subject.path: read_grid(subject.path).dimension for subject in subjects}
    if len(set(dimensions.values())) > 1:
        words = ", ".join(f"{path.name} in {d}D" for path, d in dimensions.items())
        raise InvalidImage("the images of a group have one number of axes", got=words)
    return subjects, notes


def _stem(path: Path) -> str:
    return path.name.removesuffix(suffix_of(path)) if suffix_of(path) else path.name


def _with_unique_names(subjects: list[Subject]) -> list[Subject]:
    names = [subject.name for subject in subjects]
    return [
        one
        if names.count(one.name) == 1
        else replace(one, name=f"{one.path.parent.name}_{one.name}_{one.position + 1}")
        for one in subjects
    ]


def _column(cell: str) -> str:
    """The name of a column; that of a channel keeps its capitals."""
    if cell.lower().startswith(_CHANNEL):
        return _CHANNEL + cell[len(_CHANNEL) :]
    return cell.lower()


def _subjects_of(table: Table) -> list[Subject]:
    header = [_column(cell) for cell in table.rows[0].cells] if table.rows else []
    channels = [name for name in header if name.startswith(_CHANNEL) and name != _CHANNEL]
    unknown = sorted(set(header) - {*_COLUMNS, *channels})
    if "image" not in header or unknown:
        raise InvalidOption(
            "a table of a group names its columns", where=str(table.path),
            got=", ".join(header) or "nothing",
            wanted="image, and if wanted name, labels, weight, mask, channel_NAME",
        )  # fmt: skip
    subjects = []
    for row in table.rows[1:]:
        cells = dict(zip(header, row.cells, strict=False))
        weight = table.number(cells["weight"]) if cells.get("weight") else 1.0
        if weight is None or weight < 0:
            raise InvalidOption(
                "a weight is a number of at least 0", where=row.in_words(table.path),
                got=cells["weight"],
            )  # fmt: skip
        files = {
            column: path_from(table.path.parent, cells[column])
            for column in ("image", "labels", "mask", *channels)
            if cells.get(column)
        }
        if missing := [column for column in ("image", *channels) if column not in files]:
            raise InvalidOption(
                "each subject of a group has all of its images", where=row.in_words(table.path),
                got=f"nothing in the column {missing[0]}",
            )  # fmt: skip
        path = files["image"]
        further = tuple((name.removeprefix(_CHANNEL), files[name]) for name in channels)
        subjects.append(
            Subject(
                cells.get("name") or _stem(path), path, sha256_of(path), files.get("labels"),
                weight, channels=further, mask=files.get("mask"),
            )
        )  # fmt: skip
    return subjects


def select_alike(subjects: Sequence[Subject]) -> tuple[list[Subject], Subject, list[str]]:
    """Those whose bodies have a similar size, the one of middle size, and who was left out.

    Raises:
        InvalidImage: an image shows nothing.
    """
    volumes = []
    for subject in subjects:
        image = subject.read()
        voxel = float(np.prod(image.grid.spacing))
        volumes.append(float(foreground(image).sum()) * voxel)
    median = float(np.median(volumes))
    alike, notes = [], []
    for subject, volume in zip(subjects, volumes, strict=True):
        if 1 / _LARGEST_RATIO < volume / median < _LARGEST_RATIO:
            alike.append((abs(volume - median), subject))
        else:
            notes.append(
                f"{subject.name} shows a body of {volume / median:.2g} times the size of the "
                "others: it was left out"
            )
    if len(alike) < 2:
        raise InvalidImage(
            "the images of a group show bodies of a similar size", got="; ".join(notes)
        )
    middle = min(alike, key=lambda one: (one[0], one[1].sha256))[1]
    return [subject for _, subject in alike], middle, notes


def normalize(image: Image) -> Tensor:
    """Intensities of which all images of a group have the same range: (1, z, y, x), about 0 to 1.

    From the lowest to the 99th percentile of the body; not clipped above, so that vessels keep
    their contrast.
    """
    values = image.data[:1].float()
    low = quantiles(values, 0.01)[0]
    inside = values[0][foreground(image)]
    high = quantiles(inside, 0.99)[0] if len(inside) else float(values.max())
    return (values - low) / max(high - low, 1e-12)
