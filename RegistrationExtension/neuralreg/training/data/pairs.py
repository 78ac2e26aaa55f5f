"""Pairs of images as tensors: loaded once, resampled, changed at random, put into batches."""

from __future__ import annotations

import logging
import random
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils import data as torch_data

from neuralreg.errors import InvalidOption, OutOfMemory, RegistrationError, convert_memory_errors
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.image import Image
from neuralreg.training.config import schema
from neuralreg.training.config.part_registry import AUGMENTATIONS, DATASETS
from neuralreg.training.data.case_cache import CaseLoader, make_cache
from neuralreg.training.data.dataset_files import Case, find_cases, label_values, list_left_out
from neuralreg.training.data.network_grid import Placement, resample_to_network

logger = logging.getLogger(__name__)

Batch = dict[str, Tensor]

_GROUPED = ("intra_group_prob", "intra_group_option", "sample_image_in_group")
_SEEDS = 1 << 31
_MOST_NAMED = 8  # files that were left out, remarks on images


@dataclass(frozen=True)
class Item:
    """One pair of an epoch.

    Attributes:
        fixed: number of its case.
        moving: number of its case.
        label: the channel that is used; None for all.
        seed: of its random changes.
    """

    fixed: int
    moving: int
    label: int | None
    seed: int


class PairData(torch_data.Dataset[Batch]):
    """The pairs of one split.

    An item gives "fixed" and "moving" (1, z, y, x) in 0..1, and with labels "fixed_labels" and
    "moving_labels" (k, z, y, x) in 0..1, with masks "fixed_mask" and "moving_mask" (1, z, y, x),
    1 where images count. Everything random comes from the item's seed, so that neither the number
    of processes nor a restart changes a pair.

    Args:
        config: of the dataset.
        split: "train", "valid" or "test".
        training: whether pairs are shuffled, changed at random and cut into patches.
        one_label: whether each pair has one label only, as conditional networks need it.
        seed: of the order and of all changes.
        cache_folder: for a cache on disk.

    Raises:
        InvalidOption: the split has no images or no labels, or a cache on disk has no folder.
    """

    def __init__(
        self,
        config: schema.Dataset,
        split: str,
        *,
        training: bool = False,
        one_label: bool = False,
        seed: int = 0,
        cache_folder: Path | None = None,
    ) -> None:
        where: schema.Split | None = getattr(config, split)
        if where is None:
            raise InvalidOption(f"the dataset has no {split} images", wanted=f"dataset.{split}.dir")
        self.config, self.split, self.training, self.seed = config, split, training, seed
        self.labeled, self.one_label = where.labeled, one_label
        parts = [""] + ["_labels"] * where.labeled + ["_mask"] * where.masked
        self.cases = find_cases(where, config.type)
        _report_left_out(where, config.type)
        try:
            self.pairing = DATASETS.find(config.type)(self.cases, training, **options_of(config))
        except InvalidOption as error:
            raise error.at(f"dataset.{split}") from error
        self.labels = self._labels() if self.labeled else ()
        self._number = {case: n for n, case in enumerate(self.cases)}
        self._loaded = make_cache(self.cases, CaseLoader(config, self.labels), config, cache_folder)
        self._changes = _Changes(config, parts) if training else None

    def _labels(self) -> tuple[int, ...]:
        values = self.config.labels or label_values(self.cases, len(self.config.size))
        if not values:
            raise InvalidOption("the label maps hold no label", where=f"dataset.{self.split}")
        return tuple(values)

    def items(self, epoch: int) -> list[Item]:
        """The pairs of an epoch; the same for each epoch outside of training."""
        generator = random.Random(f"{self.seed} {self.split} {epoch if self.training else 0}")
        pairs = [(self._number[f], self._number[m]) for f, m in self.pairing.pairs(generator)]
        each = self.labeled and self.one_label and not self._samples_labels
        channels: Sequence[int | None] = range(len(self.labels)) if each else (None,)
        return [
            Item(f, m, channel, generator.randrange(_SEEDS))
            for f, m in pairs
            for channel in channels
        ]

    @property
    def _samples_labels(self) -> bool:
        return self.training and self.config.sample_label == "sample"

    def __getitem__(self, item: Item) -> Batch:
        fixed, moving = self._loaded[item.fixed], self._loaded[item.moving]
        pair = _place_pair(fixed, moving, self.config)
        if self.labeled:
            keep = self._channel(pair, item)
            if keep is not None:
                pair |= {k: pair[k][keep : keep + 1] for k in ("fixed_labels", "moving_labels")}
        if self._changes is not None:
            pair = self._changes(pair, item.seed)
        return pair

    def _channel(self, pair: Batch, item: Item) -> int | None:
        """The label that is used: one that both images show, where there is one."""
        if item.label is not None or not self._samples_labels:
            return item.label
        present = [
            n
            for n, (f, m) in enumerate(
                zip(pair["fixed_labels"], pair["moving_labels"], strict=True)
            )
            if bool(f.any()) and bool(m.any())
        ]
        return random.Random(item.seed).choice(present or range(len(pair["fixed_labels"])))

    def report_remarks(self, share: tuple[int, int] = (0, 1)) -> None:
        """Warn of what the reader of files repaired, assumed or doubts; all images are read once.

        Args:
            share: (number, count) of the processes that train together; each reads its part.

        Raises:
            UnreadableFile, InvalidImage: a case cannot be used.
        """
        remarks = self._loaded.remarks(slice(share[0], None, share[1]))
        for remark in remarks[:_MOST_NAMED]:
            logger.warning("%s", remark)
        if len(remarks) > _MOST_NAMED:
            more = len(remarks) - _MOST_NAMED
            logger.warning("%d more remarks: neuralreg train … --check lists all", more)

    def case(self, number: int) -> Case:
        """The case that an item's number stands for."""
        return self.cases[number]


class Batches:
    """The batches of an epoch, for a loop: `batches(epoch, start)` continues after `start` of them.

    Args:
        pairs: of the split.
        batch_size: pairs per batch and process.
        workers: processes that load.
        share: (number, count) of the processes that train together; each gets its part of a batch.
    """

    def __init__(
        self, pairs: PairData, batch_size: int, *, workers: int = 0, share: tuple[int, int] = (0, 1)
    ) -> None:
        self.pairs, self.size, self.workers, self.share = pairs, batch_size, workers, share
        # No way back from the sampler to here: a cycle would be cleared in any order, and processes
        # whose queues are gone take five seconds to end.
        self._sampler = _Later()
        self._loader: torch_data.DataLoader[Batch] = torch_data.DataLoader(
            _Reporting(pairs),
            batch_sampler=self._sampler,
            collate_fn=_collate,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=torch.cuda.is_available(),
            prefetch_factor=4 if workers else None,
            worker_init_fn=_leave_ctrl_c_to_the_loop,
            generator=torch.Generator(),  # else each start would draw from the network's numbers
        )

    def count(self, epoch: int = 0) -> int:
        """Batches in an epoch."""
        return len(self._plan_batches(epoch))

    def __call__(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch after `start`.

        Raises:
            UnreadableFile, InvalidImage: an image cannot be used, whoever read it.
            OutOfMemory: the system ended a process that loads.
        """
        self._sampler.order = self._plan_batches(epoch)[start:]
        with convert_loader_errors():
            for batch in self._loader:
                if isinstance(batch, RegistrationError):
                    raise batch
                yield batch

    def describe(self, epoch: int, batch: int) -> str:
        """The pairs of a batch by name."""
        cases = self.pairs.cases
        items = self._plan_batches(epoch)[batch]
        return "; ".join(f"{cases[i.fixed].image} and {cases[i.moving].image}" for i in items)

    def _plan_batches(self, epoch: int) -> list[list[Item]]:
        number, count = self.share
        items = self.pairs.items(epoch)
        full = self.size * count
        groups = [items[n : n + full] for n in range(0, len(items), full)]
        if self.pairs.training and len(groups) > 1 and len(groups[-1]) < full:
            groups.pop()  # a last, smaller batch would weigh its pairs more
        return [part for group in groups if (part := group[number::count])]


@contextmanager
def convert_loader_errors() -> Iterator[None]:
    """Turn the end of a process that loads, which torch reports at any moment, into a sentence.

    Raises:
        OutOfMemory: in place of the error of torch.
    """
    try:
        yield
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise OutOfMemory(
            "the system ended a process that loads images",
            got=str(error).splitlines()[0],
            remedy="Use fewer dataset.workers, or give the program more (shared) memory; then "
            "continue with --resume.",
        ) from error


class _Reporting(torch_data.Dataset[Any]):
    """Pairs, or the error that says why there is none.

    The error is an item: what a process that loads raises, torch would turn into its traceback.
    """

    def __init__(self, pairs: PairData) -> None:
        self.pairs = pairs

    def __getitem__(self, item: Item) -> Batch | RegistrationError:
        try:
            with convert_memory_errors("while images are read"):
                return self.pairs[item]
        except RegistrationError as error:
            return error


def _collate(items: list[Batch | RegistrationError]) -> Any:
    error = next((item for item in items if isinstance(item, RegistrationError)), None)
    return error if error is not None else torch_data.default_collate(items)


def _report_left_out(split: schema.Split, kind: str) -> None:
    left_out = list_left_out(split, kind)
    for one in left_out[:_MOST_NAMED]:
        logger.warning("%s is left out: %s", one.path, one.why)
    if len(left_out) > _MOST_NAMED:
        logger.warning("%d more are left out", len(left_out) - _MOST_NAMED)


def _leave_ctrl_c_to_the_loop(worker: int) -> None:
    """A terminal's Ctrl-C reaches all processes; those that load must live until the step ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class _Later:
    """A sampler whose order of batches is set when an epoch begins."""

    def __init__(self) -> None:
        self.order: list[list[Item]] = []

    def __iter__(self) -> Iterator[list[Item]]:
        return iter(self.order)

    def __len__(self) -> int:
        return len(self.order)


def _place_pair(fixed: Mapping[str, Image], moving: Mapping[str, Image], config: Any) -> Batch:
    where = Placement.of(fixed["image"].grid, moving["image"].grid, config.size, config.space)
    pair = {}
    for side, images, grid in (("fixed", fixed, where.fixed), ("moving", moving, where.moving)):
        pair[side] = resample_to_network(images["image"], grid)
        for part in images.keys() - {"image"}:
            pair[f"{side}_{part}"] = resample_to_network(images[part], grid)
    return pair


def options_of(config: schema.Dataset) -> dict[str, Any]:
    """What the pairing of a dataset gets."""
    grouped = {k: getattr(config, k) for k in _GROUPED} if config.type == "grouped" else {}
    return grouped | config.options


class _Changes:
    """Augmentation and patches, made from a seed."""

    def __init__(self, config: schema.Dataset, parts: list[str]) -> None:
        d = len(config.size)
        self.steps = [
            AUGMENTATIONS.build(one.name, one.options, keys=keys, dimension=d)
            for one in config.augmentation
            for keys in _keys(one, parts)
        ]
        if config.patch is not None:
            self.steps.append(_Patches(config.patch, parts))

    def __call__(self, pair: Batch, seed: int) -> Batch:
        if not self.steps:
            return pair
        seeds = np.random.SeedSequence(seed).generate_state(len(self.steps))
        values: Any = pair
        for step, own in zip(self.steps, seeds, strict=True):
            step.set_random_state(seed=int(own))
            values = step(values)
        return {
            key: torch.as_tensor(v).as_subclass(Tensor).contiguous() for key, v in values.items()
        }


def _plain(values: Any) -> Tensor:
    """A tensor without what MONAI attaches to it."""
    return torch.as_tensor(values).as_subclass(Tensor).contiguous()


def _keys(one: schema.Augmentation, parts: list[str]) -> list[list[str]]:
    sides = ["fixed", "moving"] if one.of == "both" else [one.of]
    keys = [[f"{side}{part}" for part in parts] for side in sides]
    return [[key for group in keys for key in group]] if one.together else keys


class _Patches:
    """Cuts one place out of all images of a pair."""

    def __init__(self, patch: schema.Patch, parts: list[str]) -> None:
        from monai.transforms import RandCropByPosNegLabeld

        keys = [f"{side}{part}" for side in ("fixed", "moving") for part in parts]
        self.crop = RandCropByPosNegLabeld(
            keys,
            label_key="body",
            spatial_size=patch.size[::-1],
            pos=patch.foreground,
            neg=1 - patch.foreground,
            num_samples=1,
        )

    def set_random_state(self, seed: int) -> None:
        """As MONAI's transforms have it."""
        self.crop.set_random_state(seed=seed)

    def __call__(self, pair: Mapping[str, Any]) -> dict[str, Any]:
        (cropped,) = self.crop({**pair, "body": _body(pair)})
        return {key: cropped[key] for key in pair}


def _body(pair: Mapping[str, Any]) -> Tensor:
    """Where a patch is worth its place: a label of the fixed image, else its foreground."""
    from neuralreg.registration.working_grid import foreground

    labels = pair.get("fixed_labels")
    if labels is not None and bool((labels > 0.5).any()):
        return _plain(labels).amax(0, keepdim=True) > 0.5
    values = _plain(pair["fixed"])
    d = values.dim() - 1
    size = tuple(values.shape[:0:-1])
    grid = Grid(size, (1.0,) * d, (0.0,) * d, tuple(np.eye(d).ravel().tolist()))
    return foreground(Image(values, grid))[None]
