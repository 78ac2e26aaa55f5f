"""Which pairs an epoch has."""

from __future__ import annotations

import random

import pytest
from neuralreg.errors import InvalidOption
from neuralreg.training.data.dataset_files import Case, Place
from neuralreg.training.data.pairing import (
    EveryPair,
    GroupedDataset,
    PairedDataset,
    UnpairedDataset,
)


def cases(count: int, groups: int = 1, role: str = "") -> list[Case]:
    return [
        Case(f"{n:02d}", Place(f"{role}{n}"), None, str(n % groups), role) for n in range(count)
    ]


def epoch(pairing, seed: int = 0):
    return pairing.pairs(random.Random(seed))


def test_paired_images_meet_their_namesakes_once():
    both = cases(5, role="fixed") + cases(5, role="moving")
    pairs = epoch(PairedDataset(both, True))
    assert sorted(f.name for f, _ in pairs) == [f"{n:02d}" for n in range(5)]
    assert all(f.name == m.name and f.role == "fixed" and m.role == "moving" for f, m in pairs)
    assert epoch(PairedDataset(both, True), 1) != pairs
    assert epoch(PairedDataset(both, False), 1) == epoch(PairedDataset(both, False), 2)


def test_a_lonely_paired_image_is_named():
    with pytest.raises(InvalidOption, match="only one of both for 04"):
        PairedDataset(cases(5, role="fixed") + cases(4, role="moving"), True)


@pytest.mark.parametrize(("count", "pairs"), [(6, 3), (7, 3)])
def test_unpaired_images_are_used_once_at_most(count, pairs):
    found = epoch(UnpairedDataset(cases(count), True))
    used = [case for pair in found for case in pair]
    assert len(found) == pairs
    assert len(set(used)) == 2 * pairs


def test_every_pair_comes_in_both_orders():
    assert len(set(epoch(EveryPair(cases(4), True)))) == 12


@pytest.mark.parametrize("order", ["forward", "backward", "unconstrained"])
def test_pairs_within_groups_keep_their_order(order):
    pairing = GroupedDataset(cases(12, 3), True, intra_group_option=order)
    pairs = [pair for seed in range(20) for pair in epoch(pairing, seed)]
    assert all(f.group == m.group and f != m for f, m in pairs)
    assert len(epoch(pairing)) == 3
    earlier = [m.name < f.name for f, m in pairs]
    assert {"forward": all(earlier), "backward": not any(earlier)}.get(order, 0 < sum(earlier) < 60)


def test_a_share_of_pairs_lies_within_groups():
    pairing = GroupedDataset(cases(40, 10), True, intra_group_prob=0.3)
    pairs = [pair for seed in range(50) for pair in epoch(pairing, seed)]
    within = sum(f.group == m.group for f, m in pairs) / len(pairs)
    assert within == pytest.approx(0.3, abs=0.06)  # 500 draws: three standard deviations


@pytest.mark.parametrize(
    ("share", "order", "count"),
    [(1, "forward", 9), (1, "backward", 9), (1, "unconstrained", 18), (0, "unconstrained", 54)],
)
def test_all_pairs_of_groups_are_iterated(share, order, count):
    """Three groups of three: n (n - 1) / 2 or n (n - 1) within each, 9 * 6 between."""
    pairing = GroupedDataset(
        cases(9, 3), False, intra_group_prob=share, intra_group_option=order,
        sample_image_in_group=False,
    )  # fmt: skip
    pairs = epoch(pairing)
    assert len(set(pairs)) == len(pairs) == count
    assert all((f.group == m.group) == bool(share) for f, m in pairs)
    if order != "unconstrained":
        assert all((m.name < f.name) == (order == "forward") for f, m in pairs)


@pytest.mark.parametrize(
    ("groups", "options", "said"),
    [
        (1, {"intra_group_prob": 0.5}, "two groups"),
        (9, {}, "two images in each"),
        (3, {"intra_group_prob": 0.5, "sample_image_in_group": False}, "0 or 1"),
    ],
)
def test_groups_that_give_no_pairs_are_refused(groups, options, said):
    with pytest.raises(InvalidOption, match=said):
        GroupedDataset(cases(9, groups), True, **options)
