"""Parts of a network that are trained one after the other: freeze and grow."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from itertools import accumulate

from torch import nn

from neuralreg.errors import InvalidOption
from neuralreg.networks.network import RegistrationModule
from neuralreg.training.config import schema


class Stages:
    """Which part of a model is trained in which epoch; after the last stage, all of it.

    What holds follows from the epoch alone, so that a resumed training needs no memory of it.

    Raises:
        InvalidOption: a pattern that fits no parameter, or levels that no network has.
    """

    def __init__(self, model: nn.Module, stages: Sequence[schema.Stage]) -> None:
        self.model, self.stages = model, stages
        self.ends = list(accumulate(stage.epochs for stage in stages))
        names = [name for name, _ in model.named_parameters()]
        for number, stage in enumerate(stages):
            for pattern in stage.freeze:
                if not any(fnmatchcase(name, pattern) for name in names):
                    raise InvalidOption(
                        "a stage freezes parameters that the model does not have",
                        where=f"training.stages.{number}.freeze",
                        got=f"'{pattern}'",
                        wanted=f"a pattern for names such as {names[0]} or {names[-1]}",
                    )
            if stage.levels is not None and not self._growing():
                raise InvalidOption(
                    "no backbone of this model grows by levels",
                    where=f"training.stages.{number}.levels",
                    wanted="lapirn, or a network of your own with `levels`",
                )

    def _growing(self) -> list[RegistrationModule]:
        parts = self.model.modules()
        return [part for part in parts if isinstance(part, RegistrationModule) and part.levels]

    def enter(self, epoch: int) -> bool:
        """Prepare the model for an epoch, from 0; whether another stage begins with it."""
        now = sum(end <= epoch for end in self.ends)
        stage = self.stages[now] if now < len(self.stages) else None
        for name, parameter in self.model.named_parameters():
            frozen = stage is not None and any(fnmatchcase(name, p) for p in stage.freeze)
            parameter.requires_grad_(not frozen)
        for network in self._growing():
            network.use_levels(stage.levels if stage else None)
        return epoch in self.ends

    def is_last(self, epoch: int) -> bool:
        """Whether no other stage follows."""
        return not self.ends or epoch >= self.ends[-1]
