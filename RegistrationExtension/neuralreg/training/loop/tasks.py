"""What a run trains: a registration network on pairs of images, or one that describes images."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from neuralreg.errors import InvalidOption
from neuralreg.training.config import schema
from neuralreg.training.data.dataset_files import describe_cases, describe_shared
from neuralreg.training.data.pairs import Batches, PairData
from neuralreg.training.descriptors.features import (
    build_descriptor_step,
    export_descriptor,
    synthetic_batches,
)
from neuralreg.training.loop.distributed import Team
from neuralreg.training.loop.schedule import Stages
from neuralreg.training.loop.training_loop import Batches as AnyBatches
from neuralreg.training.loop.training_loop import Metrics, Validate
from neuralreg.training.loop.validation import Validation
from neuralreg.training.losses.training_step import TrainingStep
from neuralreg.training.model.export import export
from neuralreg.training.model.fine_tuning import begin
from neuralreg.training.model.methods import build_model
from neuralreg.training.model.size_check import require_sizes, smallest_batch
from neuralreg.training.pictures import Picture, pair_picture

logger = logging.getLogger(__name__)

_VALIDATION_SHARE = 10  # one batch of shapes to validate for so many to train
_VALIDATION_SEED = 1 << 20  # added to that of the training


class Task(ABC):
    """What a run trains; the run provides optimizer, loop, logs and checkpoints.

    Attributes:
        step: gives the losses of a batch, see `TrainingLoop`.
        network: whose parameters are trained, within `step`.
        batches: of the training.
        validate: metrics by name; None without validation data.
        stages: which part is trained when; None where all always is.
        picture: draws a validation example; None where there is none.
    """

    step: nn.Module
    network: nn.Module
    batches: AnyBatches
    validate: Validate | None = None
    stages: Stages | None = None
    picture: Callable[[], Picture] | None = None

    def begin(self) -> None:
        """What a new run begins with, such as the weights that its configuration names."""
        return

    def describe_batch(self, epoch: int, batch: int) -> str:
        """Names what a batch is made of."""
        return f"batch {batch + 1}"

    def describe_images(self) -> dict[str, str]:
        """What the images of each split are, so that a resumed run can tell others."""
        return {}

    @abstractmethod
    def export(self, folder: Path, measured: dict[str, str], steps: int) -> Path | None:
        """Write the network as it is now as a model.

        Args:
            folder: of the run.
            measured: for the card.
            steps: of the training so far.

        Returns:
            Its card; None where the zoo has no use for it.
        """


class RegistrationTask(Task):
    """A model that registers pairs of images, or labels of them."""

    step: TrainingStep

    def __init__(self, config: schema.Configuration, folder: Path, team: Team) -> None:
        training = config.training
        self.config, self.device = config, team.device
        self.network = build_model(config.model, config.dataset.network_shape).to(team.device)
        self.step = step = TrainingStep(self.network, config.loss)
        self.stages = Stages(self.network, training.stages) if training.stages else None
        pairs = split_pairs(config, "train", folder, training=True)
        count = len(pairs.items(0))
        logger.info("%d pairs", count)
        batch = smallest_batch(count, training.batch_size)
        require_sizes(self.network, config.dataset, batch)
        self._splits = {"train": pairs}
        self.batches: Batches = Batches(
            pairs,
            training.batch_size,
            workers=config.dataset.workers,
            share=team.share,
        )
        if config.dataset.valid is not None:
            valid = split_pairs(config, "valid", folder)
            self._require_labels(valid)
            self._examples = Batches(valid, training.batch_size)
            self._splits["valid"] = valid
            self.validate = Validation(step, self._examples, team.device)
            self.picture = self._draw
        self._require_labels(pairs)
        self._require_figure(training.best)

    def _require_labels(self, *splits: PairData) -> None:
        """Raise InvalidOption when a label loss has a split without labels."""
        for pairs in splits:
            if self.step.label and not pairs.labeled:
                raise InvalidOption(
                    "a label loss needs labels",
                    where=f"dataset.{pairs.split}",
                    got="images without",
                    remedy="Set `labeled: true` for the split, or remove the label losses.",
                )

    def _require_figure(self, best: str) -> None:
        """Raise InvalidOption when no validation will have the figure that chooses the weights."""
        validation = self.validate
        names = validation.names if isinstance(validation, Validation) else self.step.names
        if best not in names:
            raise InvalidOption(
                "validation has no such metric" if validation else "there is no validation for it",
                where="training.best",
                got=f"'{best}'",
                wanted=", ".join(sorted(names)),
                remedy="dice needs dataset.valid with `labeled: true`.",
            )

    def begin(self) -> None:
        """Read all images once, and fill the network with the weights it begins with, if any.

        What is wrong with an image is said before the first step, wherever the cache is.

        Raises:
            UnreadableFile, InvalidImage: a case cannot be used.
        """
        if self.batches.share[0] == 0:
            for sentence in describe_shared({s: p.cases for s, p in self._splits.items()}):
                logger.warning("%s", sentence)
        for pairs in self._splits.values():
            pairs.report_remarks(self.batches.share)
        begin(self.network, self.config.model)

    def describe_batch(self, epoch: int, batch: int) -> str:
        """Names the images of a batch."""
        return self.batches.describe(epoch, batch)

    def describe_images(self) -> dict[str, str]:
        """The number of images of each split, and a hash of their names and sizes."""
        return {split: describe_cases(pairs.cases) for split, pairs in self._splits.items()}

    def export(self, folder: Path, measured: dict[str, str], steps: int) -> Path | None:
        """Write the network with its card; a conditional one has none."""
        return export(folder, self.config, self.network, measured)

    def _draw(self) -> Picture:
        return pair_picture(self.network, next(iter(self._examples(0))), self.device)


class DescriptorTask(Task):
    """A network that describes images for the search, from shapes made as they are needed."""

    def __init__(self, config: schema.Configuration, team: Team) -> None:
        self.config = config
        step = build_descriptor_step(config).to(team.device)
        self.step, self.network = step, step.network
        self.batches = synthetic_batches(config, team.device)
        self._examples = synthetic_batches(
            config,
            team.device,
            pairs=max(1, config.dataset.pairs // _VALIDATION_SHARE),
            seed=config.training.seed + _VALIDATION_SEED,
        )
        self.validate = self._mean_losses

    def export(self, folder: Path, measured: dict[str, str], steps: int) -> Path | None:
        """Write the network with its card."""
        return export_descriptor(folder, self.config, self.network, measured, steps)

    def _mean_losses(self) -> Metrics:
        """Mean losses over shapes that are never trained on, the same in each epoch."""
        sums: Metrics = {}
        with torch.no_grad():
            for batch in self._examples(0):
                for name, value in self.step(batch).items():
                    sums[name] = sums.get(name, 0.0) + float(value)
        return {name: total / self._examples.count() for name, total in sums.items()}


def build_task(config: schema.Configuration, folder: Path, team: Team) -> Task:
    """What a configuration trains.

    Raises:
        InvalidOption: a backbone, loss or option that does not exist or does not suit.
    """
    if config.model.method == "features":
        return DescriptorTask(config, team)
    return RegistrationTask(config, folder, team)


def split_pairs(
    config: schema.Configuration, split: str, folder: Path, *, training: bool = False
) -> PairData:
    """The pairs of a split; `folder` is that of the run, where a cache on disk goes."""
    return PairData(
        config.dataset,
        split,
        training=training,
        one_label=config.model.method == "conditional",
        seed=config.training.seed,
        cache_folder=folder / "cache",
    )
