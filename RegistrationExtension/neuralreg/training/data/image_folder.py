"""Which files in a folder are images, what they are called, and which were left out and why."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from neuralreg.errors import InvalidOption, UnreadableFile
from neuralreg.io.files import MAC_FILES, VALUES

_PAIRS = {**VALUES, ".head": (".brik", ".brik.gz"), ".par": (".rec",)}


@dataclass(frozen=True, order=True)
class Place:
    """Where one array lies: a file, and in an HDF5 file a key."""

    path: str
    key: str = ""

    def __str__(self) -> str:
        return f"{self.path}:{self.key}" if self.key else self.path

    def files(self) -> list[Path]:
        """The file, and for a header that of its values where it is beside it."""
        path = Path(self.path)
        return [path, *_values_of(path)]


@dataclass(frozen=True)
class LeftOut:
    """A file or folder among the images that is none of them.

    Attributes:
        path: of it.
        why: in a few words.
    """

    path: str
    why: str


def natural_order(name: str) -> tuple[object, ...]:
    """A key for sorting in which numbers in names count as numbers: visit2 before visit10."""
    parts = (re.split(r"(\d+)", part) for part in name.split("/"))
    levels = [tuple(int(p) if n % 2 else p for n, p in enumerate(level)) for level in parts]
    return (levels, name)


def scan_folder(top: Path) -> tuple[dict[str, Place], list[LeftOut]]:
    """The images in a folder and its folders, by name without ending in natural order.

    Links are followed; hidden files and folders are no images.

    Args:
        top: the folder.

    Returns:
        The images, and what else lies there.

    Raises:
        UnreadableFile: a folder that cannot be opened.
        InvalidOption: two images of one name.
    """
    images: dict[str, Place] = {}
    left_out: list[LeftOut] = []
    for path in _walk(top, (), left_out):
        suffix = _suffix_of(path)
        why = _why_no_image(path, suffix)
        if why:
            left_out.append(LeftOut(str(path), why))
        elif not _is_values(path):
            name = path.relative_to(top).as_posix()
            _add(images, name[: len(name) - len(suffix)], path)
    ordered = sorted(images, key=natural_order)
    return {name: images[name] for name in ordered}, left_out


def _add(images: dict[str, Place], name: str, path: Path) -> None:
    if name in images:
        raise InvalidOption(
            "two images have one name",
            where=str(path.parent),
            got=f"{Path(images[name].path).name} and {path.name}",
            remedy="Keep one of both, or rename one together with its labels.",
        )
    images[name] = Place(str(path))


def _walk(folder: Path, above: tuple[str, ...], left_out: list[LeftOut]) -> Iterator[Path]:
    """All files below a folder; folders that contain themselves by a link are entered once."""
    try:
        entries = sorted(folder.iterdir(), key=lambda path: path.name)
    except OSError as error:
        raise UnreadableFile(
            f"{folder} cannot be opened", got=error.strerror or "", remedy="Check its permissions."
        ) from error
    inside = (*above, os.path.realpath(folder))
    for path in entries:
        if not path.is_dir():
            yield path
        elif path.name.startswith("."):
            left_out.append(LeftOut(str(path), "a hidden folder"))
        elif os.path.realpath(path) in inside:
            left_out.append(LeftOut(str(path), "a link to a folder that it is in"))
        else:
            yield from _walk(path, inside, left_out)


@cache
def image_suffixes() -> tuple[str, ...]:
    """Endings of the files that a data set may consist of, in lower case, longer ones first."""
    from neuralreg.io.formats import (  # loads ITK, which the panels do not
        neuroimaging,
        nifti_header,
    )
    from neuralreg.io.itk_images import WRITABLE

    every = {*WRITABLE, *nifti_header.SUFFIXES, *nifti_header.PAIR_SUFFIXES, *neuroimaging.SUFFIXES}
    return tuple(sorted(every, key=lambda suffix: (-len(suffix), suffix)))


def _suffix_of(path: Path) -> str:
    name = path.name.lower()
    return next((s for s in image_suffixes() if name.endswith(s) and name != s), "")


def _why_no_image(path: Path, suffix: str) -> str:
    if path.name.startswith(MAC_FILES):
        return "a resource fork of macOS"
    if path.name.startswith("."):
        return "a hidden file"
    if not suffix and not _is_values(path):
        return "its ending is none of a volume's format"
    return ""


def _is_values(path: Path) -> bool:
    """Whether a file holds the values of a header beside it."""
    name = path.name.lower()
    for header, values in _PAIRS.items():
        ending = next((end for end in values[::-1] if name.endswith(end)), None)
        if ending and _beside(path, path.name[: -len(ending)] + header):
            return True
    return False


def _values_of(path: Path) -> list[Path]:
    for header, values in _PAIRS.items():
        if path.name.lower().endswith(header):
            stem = path.name[: -len(header)]
            return [file for end in values if (file := _beside(path, stem + end))]
    return []


def _beside(path: Path, name: str) -> Path | None:
    """The file of a name beside another one, whatever the case of its ending."""
    if (exact := path.with_name(name)).is_file():
        return exact
    stem, wanted = name.partition(".")[0], name.lower()
    others = path.parent.glob(f"{_literal(stem)}.*")
    return next((other for other in others if other.name.lower() == wanted), None)


def _literal(text: str) -> str:
    """A pattern for a name that may contain the signs of patterns."""
    return re.sub(r"([*?[])", r"[\1]", text)
