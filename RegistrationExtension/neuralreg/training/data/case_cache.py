"""Cases of a data set as they are loaded, and where they are kept between epochs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch

from neuralreg.errors import InvalidOption
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.image import Image
from neuralreg.registration.preprocess import scale_intensities
from neuralreg.training.config import schema
from neuralreg.training.data.dataset_files import (
    Case,
    label_channels,
    read_case_image,
    read_case_labels,
)
from neuralreg.training.data.network_grid import network_grid_of, resample_to_network
from neuralreg.training.tensor_files import save_tensors

Source = TypeVar("Source")
Result = TypeVar("Result")
_FORMAT = 2  # of the files of a cache


class Cache(Protocol):
    """Loaded cases by number."""

    def __getitem__(self, number: int) -> dict[str, Image]:
        """The images of a case by part."""
        ...

    def remarks(self, share: slice) -> list[str]:
        """What the reader of files says of some cases' images; reads those that are not kept.

        Args:
            share: which cases.

        Raises:
            UnreadableFile, InvalidImage: a case cannot be used.
        """
        ...


class CaseLoader:
    """From a case to its images on the grid that a network sees; what the cache keeps.

    The image has the remarks of its reader.

    Args:
        config: of the dataset.
        labels: values that become channels.
    """

    def __init__(self, config: schema.Dataset, labels: tuple[int, ...]) -> None:
        self.config, self.labels = config, labels

    def __call__(self, case: Case) -> dict[str, Image]:
        """The images of a case by part: image, labels, mask."""
        d = len(self.config.size)
        image = read_case_image(case.image, d)
        parts = {"image": Image(scale_intensities(image, self.config.intensity), image.grid)}
        if case.labels is not None:
            raw = read_case_labels(case.labels, d)
            parts["labels"] = label_channels(raw, self.labels)
        if case.mask is not None:
            inside = read_case_labels(case.mask, d)
            parts["mask"] = Image(inside.above_zero().float(), inside.grid)
        if self.config.space == "own":
            grid = network_grid_of(image, parts["image"].data, self.config)
            parts = {
                name: Image(resample_to_network(part, grid).contiguous(), grid)
                for name, part in parts.items()
            }
        return parts | {"image": replace(parts["image"], remarks=image.remarks)}


def make_cache(
    cases: list[Case], loader: CaseLoader, config: schema.Dataset, folder: Path | None
) -> Cache:
    """Loaded cases by number, kept as the configuration says.

    Args:
        cases: of a split.
        loader: from a case to its tensors.
        config: of the dataset.
        folder: for a cache on disk.

    Raises:
        InvalidOption: a cache on disk has no folder.
        UnreadableFile, InvalidImage: a case cannot be used; where all are kept in memory.
    """
    if config.cache == "none":
        return _Fresh(cases, loader)
    if config.cache == "disk":
        if folder is None:
            raise InvalidOption("a cache on disk needs a folder")
        return _DiskCache(cases, loader, folder)
    return _InMemory(cases, loader)


def _for_each(cases: Iterable[Source], work: Callable[[Source], Result]) -> list[Result]:
    with ThreadPoolExecutor() as pool:  # reading and unpacking wait for the disk more than for us
        return list(pool.map(work, cases))


class _InMemory:
    """Cases that are all loaded at the beginning."""

    def __init__(self, cases: list[Case], loader: CaseLoader) -> None:
        self.loaded = _for_each(cases, loader)

    def __getitem__(self, number: int) -> dict[str, Image]:
        return self.loaded[number]

    def remarks(self, share: slice) -> list[str]:
        return [str(remark) for parts in self.loaded[share] for remark in parts["image"].remarks]


class _Fresh:
    """Cases that are loaded each time."""

    def __init__(self, cases: list[Case], loader: CaseLoader) -> None:
        self.cases, self.loader = cases, loader

    def __getitem__(self, number: int) -> dict[str, Image]:
        return self.loader(self.cases[number])

    def remarks(self, share: slice) -> list[str]:
        each = _for_each(self.cases[share], lambda case: self.loader(case)["image"].remarks)
        return [str(remark) for remarks in each for remark in remarks]


class _DiskCache:
    """Loaded cases as files, made at the first use; the key holds all that decides the content.

    Not MONAI's PersistentDataset: it turns the error that names a damaged image into a RuntimeError
    that names a transform, and its key misses a changed file.
    """

    def __init__(self, cases: list[Case], loader: CaseLoader, folder: Path) -> None:
        self.cases, self.loader, self.folder = cases, loader, folder
        folder.mkdir(parents=True, exist_ok=True)

    def __getitem__(self, number: int) -> dict[str, Image]:
        record = self._load(self.cases[number])["parts"]
        return {name: Image(values, Grid(*grid)) for name, (values, grid) in record.items()}

    def remarks(self, share: slice) -> list[str]:
        each = _for_each(
            self.cases[share], lambda case: list(self._load(case, mmap=True)["remarks"])
        )
        return [remark for remarks in each for remark in remarks]

    def _load(self, case: Case, *, mmap: bool = False) -> dict[str, Any]:
        path = self.folder / f"{self._key(case)}.pt"
        if not path.is_file():
            parts = self.loader(case)
            record = {k: (v.data, list(v.grid.to_record().values())) for k, v in parts.items()}
            remarks = list(map(str, parts["image"].remarks))
            save_tensors({"parts": record, "remarks": remarks}, path)
        loaded: dict[str, Any] = torch.load(path, weights_only=True, mmap=mmap)
        return loaded

    def _key(self, case: Case) -> str:
        files = [p for p in (case.image, case.labels, case.mask) if p is not None]
        stamps = [(str(p), f.stat().st_mtime_ns) for p in files for f in p.files()]
        c = self.loader.config
        text = repr((_FORMAT, stamps, c.size, c.space, c.intensity, c.input, self.loader.labels))
        return hashlib.sha256(text.encode()).hexdigest()[:24]
