"""Which images of a dataset make pairs in an epoch.

A pairing is a class that takes the cases, `training` and options, and whose `pairs(random)` gives
the pairs of one epoch; `random` is a generator of that epoch, so nothing else decides the order.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from itertools import permutations, product
from typing import Literal, Protocol

from neuralreg.errors import InvalidOption
from neuralreg.training.config.part_registry import register_dataset
from neuralreg.training.data.dataset_files import Case

Pair = tuple[Case, Case]  # fixed, moving


class Pairing(Protocol):
    """What the loop asks of a type of dataset."""

    def pairs(self, random: random.Random) -> list[Pair]:
        """The pairs of one epoch, (fixed, moving), in their order."""
        ...


@register_dataset("paired")
class PairedDataset:
    """Each moving image with the fixed image of its name, once in an epoch.

    Raises:
        InvalidOption: one of both is missing.
    """

    def __init__(self, cases: Sequence[Case], training: bool) -> None:
        sides = {role: {c.name: c for c in cases if c.role == role} for role in ("fixed", "moving")}
        odd = sorted(sides["fixed"].keys() ^ sides["moving"].keys())
        if odd:
            raise InvalidOption(
                "each moving image has a fixed image of the same name",
                got=f"only one of both for {', '.join(odd[:8])}",
            )
        self._pairs = [(fixed, sides["moving"][name]) for name, fixed in sides["fixed"].items()]
        self.training = training

    def pairs(self, random: random.Random) -> list[Pair]:
        """All pairs; shuffled in training."""
        return random.sample(self._pairs, len(self._pairs)) if self.training else self._pairs


@register_dataset("unpaired")
class UnpairedDataset:
    """Any two images, each image in one pair of an epoch: half as many pairs as images.

    Raises:
        InvalidOption: there are less than two.
    """

    def __init__(self, cases: Sequence[Case], training: bool) -> None:
        if len(cases) < 2:
            raise InvalidOption("pairs need two images", got=f"{len(cases)}")
        self.cases = cases

    def pairs(self, random: random.Random) -> list[Pair]:
        """Pairs without replacement; with an odd number of images one is left out."""
        mixed = random.sample(list(self.cases), len(self.cases))
        return list(zip(mixed[::2], mixed[1::2], strict=False))


@register_dataset("every_pair")
class EveryPair:
    """Each image with each other one, in both orders."""

    def __init__(self, cases: Sequence[Case], training: bool) -> None:
        self._pairs = list(permutations(cases, 2))
        self.training = training

    def pairs(self, random: random.Random) -> list[Pair]:
        """All pairs; shuffled in training."""
        return random.sample(self._pairs, len(self._pairs)) if self.training else self._pairs


@register_dataset("grouped")
class GroupedDataset:
    """Images in groups, such as the times of one patient.

    With sample_image_in_group an epoch has one pair per group: with probability intra_group_prob
    both from that group, else the fixed image from another one. Without it an epoch has all pairs:
    within groups (intra_group_prob 1) or between them (0).

    Args:
        cases: of the split.
        training: whether pairs are shuffled.
        intra_group_prob: probability that both images are of one group.
        intra_group_option: whether the moving image comes "forward" (earlier than the fixed one),
            "backward" (later), or "unconstrained".
        sample_image_in_group: one pair per group instead of all pairs.

    Raises:
        InvalidOption: too few groups or images, or a mixture with sample_image_in_group off.
    """

    def __init__(
        self,
        cases: Sequence[Case],
        training: bool,
        *,
        intra_group_prob: float = 1.0,
        intra_group_option: Literal["forward", "backward", "unconstrained"] = "unconstrained",
        sample_image_in_group: bool = True,
    ) -> None:
        by_name: dict[str, list[Case]] = defaultdict(list)
        for case in cases:
            by_name[case.group].append(case)
        self.groups = list(by_name.values())
        self.within, self.order = intra_group_prob, intra_group_option
        self.sampled, self.training = sample_image_in_group, training
        self._require()

    def _require(self) -> None:
        if self.within < 1 and len(self.groups) < 2:
            raise InvalidOption("pairs between groups need two groups", got=f"{len(self.groups)}")
        small = [g[0].group for g in self.groups if len(g) < 2]
        if self.within > 0 and small:
            raise InvalidOption(
                "pairs within groups need two images in each",
                got=f"one in {', '.join(small[:8])}",
                remedy="Move them, or use intra_group_prob 0.",
            )
        if not self.sampled and self.within not in (0, 1):
            raise InvalidOption(
                "all pairs are either within groups or between them",
                got=f"intra_group_prob {self.within:g}",
                wanted="0 or 1 where sample_image_in_group is false",
            )

    def pairs(self, random: random.Random) -> list[Pair]:
        """The pairs of an epoch."""
        if not self.sampled:
            pairs = self._all_within() if self.within else self._all_between()
            return random.sample(pairs, len(pairs)) if self.training else pairs
        indices = random.sample(range(len(self.groups)), len(self.groups))
        return [self._draw_pair(group_index, random) for group_index in indices]

    def _draw_pair(self, group_index: int, random: random.Random) -> Pair:
        if random.random() < self.within:
            group = self.groups[group_index]
            one, other = random.sample(range(len(group)), 2)
            return self._order_pair(group, one, other)
        other = random.choice([n for n in range(len(self.groups)) if n != group_index])
        return random.choice(self.groups[other]), random.choice(self.groups[group_index])

    def _order_pair(self, group: list[Case], fixed: int, moving: int) -> Pair:
        early, late = min(fixed, moving), max(fixed, moving)
        if self.order == "forward":
            fixed, moving = late, early
        elif self.order == "backward":
            fixed, moving = early, late
        return group[fixed], group[moving]

    def _all_within(self) -> list[Pair]:
        indices = ((g, f, m) for g in self.groups for f, m in permutations(range(len(g)), 2))
        return [
            (g[f], g[m])
            for g, f, m in indices
            if self.order == "unconstrained" or (m < f) == (self.order == "forward")
        ]

    def _all_between(self) -> list[Pair]:
        return [
            pair
            for moving, fixed in permutations(self.groups, 2)
            for pair in product(fixed, moving)
        ]
