"""Overlap of label maps, against SimpleITK."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from neuralreg.errors import InvalidImage
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.image import Image
from neuralreg.measures.overlap import dice

GRID = Grid((6, 5, 4), (1, 1, 1), (0, 0, 0), np.eye(3).ravel())


def random_labels(seed: int, high: int = 4) -> Image:
    generator = torch.Generator().manual_seed(seed)
    return Image(torch.randint(0, high, (1, *GRID.shape), generator=generator).short(), GRID)


def test_dice_is_itks_for_each_label():
    first, second = random_labels(1), random_labels(2)
    oracle = sitk.LabelOverlapMeasuresImageFilter()
    oracle.Execute(*(sitk.GetImageFromArray(i.data[0].numpy()) for i in (first, second)))
    found = dice(first, second)
    assert set(found) == {1, 2, 3}
    for label, value in found.items():
        assert value == pytest.approx(oracle.GetDiceCoefficient(label))


def test_a_label_in_one_map_only_scores_zero_and_one_in_both_alike_scores_one():
    first, second = torch.zeros(1, *GRID.shape), torch.zeros(1, *GRID.shape)
    first[..., 0], second[..., 0], second[..., 1], first[..., 2] = 5, 5, 7, -2
    assert dice(Image(first, GRID), Image(second, GRID)) == {-2: 0.0, 5: 1.0, 7: 0.0}


def test_the_background_can_be_another_label():
    found = dice(random_labels(1), random_labels(2), background=3)
    assert set(found) == {0, 1, 2}


def test_large_label_values_cost_no_memory():
    data = torch.zeros(1, *GRID.shape, dtype=torch.int64)
    data[..., 0] = 2**40
    assert dice(Image(data, GRID), Image(data, GRID)) == {2**40: 1.0}


def test_label_maps_on_different_grids_are_refused():
    moved = Grid(GRID.size, GRID.spacing, (1, 0, 0), GRID.direction)
    with pytest.raises(InvalidImage, match="one grid"):
        dice(random_labels(1), Image(random_labels(1).data, moved))


def test_maps_of_nothing_but_background_have_no_overlaps():
    nothing = Image(torch.zeros(1, *GRID.shape), GRID)
    assert dice(nothing, nothing) == {}
