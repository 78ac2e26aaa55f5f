"""Broken or mismatched files of a dataset, found before training begins."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch.random import fork_rng

from neuralreg.devices import own_modes
from neuralreg.errors import RegistrationError
from neuralreg.training.config import schema
from neuralreg.training.config.part_registry import DATASETS
from neuralreg.training.data.dataset_files import (
    Case,
    describe_shared,
    find_cases,
    list_left_out,
    read_case_image,
    read_case_labels,
)
from neuralreg.training.data.image_folder import LeftOut
from neuralreg.training.data.pairs import options_of
from neuralreg.training.model.methods import build_model
from neuralreg.training.model.size_check import require_sizes, smallest_batch

_FAR = 0.5  # of the larger field of view: labels whose center is further off are another image's


@dataclass(frozen=True)
class DatasetReport:
    """What `check_dataset` finds.

    Attributes:
        images: number of images by split.
        pairs: number of pairs in an epoch by split.
        problems: file or split, and what is wrong.
        left_out: files among the images that are none, and why.
        remarks: what the reader of files repaired, assumed or doubts, in words.
    """

    images: dict[str, int]
    pairs: dict[str, int]
    problems: tuple[tuple[str, str], ...]
    left_out: tuple[LeftOut, ...] = ()
    remarks: tuple[str, ...] = ()

    def as_record(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "images": self.images,
            "pairs_per_epoch": self.pairs,
            "problems": [{"where": where, "what": what} for where, what in self.problems],
            "left_out": [asdict(one) for one in self.left_out],
            "remarks": list(self.remarks),
        }

    def in_words(self) -> str:
        """For a person."""
        lines = [
            f"{split}: {count} images, {self.pairs.get(split, 0)} pairs in an epoch"
            for split, count in self.images.items()
        ]
        lines += [f"left out: {one.path}: {one.why}" for one in self.left_out]
        lines += [f"remark: {remark}" for remark in self.remarks]
        lines += [f"{where}: {what}" for where, what in self.problems]
        return "\n".join([*lines, f"{len(self.problems)} problems"])


@own_modes()
def check_dataset(config: schema.Configuration) -> DatasetReport:
    """Read each file of each split once: is it there, whole, of the right kind, and not empty?"""
    pairs, problems, left_out, remarks = {}, [], list[LeftOut](), list[str]()
    of_splits: dict[str, list[Case]] = {}
    for split in ("train", "valid", "test"):
        where: schema.Split | None = getattr(config.dataset, split)
        if where is None:
            continue
        try:
            cases = find_cases(where, config.dataset.type)
            left_out += list_left_out(where, config.dataset.type)
        except RegistrationError as error:
            problems.append((f"dataset.{split}", str(error)))
            continue
        of_splits[split] = cases
        for case in cases:
            problems += list(_problems_of(case, config.dataset, remarks))
        try:
            pairs[split] = _pairs(cases, config.dataset, split)
        except RegistrationError as error:
            problems.append((f"dataset.{split}", str(error)))
    if config.model.method != "features" and pairs.get("train"):
        problems += list(_problems_of_sizes(config, pairs["train"]))
    images = {split: len(cases) for split, cases in of_splits.items()}
    remarks += describe_shared(of_splits)
    return DatasetReport(images, pairs, tuple(problems), tuple(left_out), tuple(remarks))


def _problems_of_sizes(config: schema.Configuration, pairs: int) -> Iterator[tuple[str, str]]:
    try:
        with fork_rng(devices=[]):
            model = build_model(config.model, config.dataset.network_shape)
            require_sizes(model, config.dataset, smallest_batch(pairs, config.training.batch_size))
    except RegistrationError as error:
        yield error.where or "model", str(error)


def _pairs(cases: list[Case], dataset: schema.Dataset, split: str) -> int:
    pairing = DATASETS.find(dataset.type)(cases, split == "train", **options_of(dataset))
    return len(pairing.pairs(random.Random(0)))


def _problems_of(
    case: Case, dataset: schema.Dataset, remarks: list[str]
) -> Iterator[tuple[str, str]]:
    """What is wrong with a case; what its reader remarks is appended."""
    d = len(dataset.size)
    try:
        image = read_case_image(case.image, d)
    except RegistrationError as error:
        yield str(case.image), str(error)
        return
    remarks.extend(map(str, image.remarks))
    if float(image.data.min()) == float(image.data.max()):
        yield str(case.image), f"the value {float(image.data.min()):g} everywhere"
    yield from _problems_of_mask(case, d)
    if case.labels is None:
        return
    try:
        labels = read_case_labels(case.labels, d)
    except RegistrationError as error:
        yield str(case.labels), str(error)
        return
    away = abs(labels.grid.center - image.grid.center) / image.grid.extent_mm
    if away.max() > _FAR:
        yield (
            str(case.labels),
            f"is not on its image, {case.image}: their centers are far apart",
        )
    if not bool(labels.data.any()):
        yield str(case.labels), "holds no label"
    yield from _find_missing_labels(case, labels.data, dataset)


def _problems_of_mask(case: Case, dimension: int) -> Iterator[tuple[str, str]]:
    if case.mask is None:
        return
    try:
        mask = read_case_labels(case.mask, dimension)
    except RegistrationError as error:
        yield str(case.mask), str(error)
        return
    if not bool(mask.data.any()):
        yield str(case.mask), "excludes the whole image"


def _find_missing_labels(
    case: Case, values: torch.Tensor, dataset: schema.Dataset
) -> Iterator[tuple[str, str]]:
    if dataset.labels is None or values.is_floating_point():
        return
    absent = sorted(set(dataset.labels) - set(torch.unique(values).tolist()))
    if absent:
        yield str(case.labels), f"has no label {', '.join(map(str, absent))}"
