"""Labels of both images pull; those of one side do nothing and are named."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from neuralreg.errors import InvalidImage, InvalidOption
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.image import Image
from neuralreg.geometry.linear import LinearTransform
from neuralreg.io.resample import warp_labels
from neuralreg.measures.overlap import dice
from neuralreg.registration.engine import register
from neuralreg.registration.guides.guide_costs import LabelCost
from neuralreg.registration.guides.label_maps import LabelPair
from neuralreg.registration.options import FieldRefinement
from neuralreg.registration.refine import Velocity

from Testing.support.phantom import CUBE, SQUARE, seen

IDENTITY = LinearTransform.identity(3)


def balls(grid: Grid, centers, radius: float = 9.0) -> Image:
    """A label map of balls, 1, 2, 3, ... around centers in LPS mm."""
    index = np.stack(np.meshgrid(*(np.arange(n) for n in grid.size), indexing="ij"), -1)
    points = grid.points_at(index.astype(float))
    labels = np.zeros(points.shape[:-1], np.int16)
    for n, center in enumerate(centers, start=1):
        labels[np.linalg.norm(points - center, axis=-1) < radius] = n
    return Image(torch.from_numpy(labels.T.copy())[None], grid)


def cost_of(fixed: Image, moving: Image) -> float:
    pair = LabelPair.of(fixed, moving, 1.0, [])
    velocity = Velocity(torch.zeros(3, *CUBE.shape))
    maps = pair.on_grid(CUBE, IDENTITY, velocity.points)
    cost = LabelCost(maps, velocity.step, tuple(velocity.points.shape[1:]))
    return float(cost(velocity.displacement()))


def test_the_cost_of_labels_counts_each_alike_and_is_zero_where_they_overlap():
    right, left = [(0, 0, 0), (20, 0, 0)], [(0, 25, 0), (20, 25, 0)]
    both = cost_of(balls(CUBE, right), balls(CUBE, left))
    one = cost_of(balls(CUBE, right), balls(CUBE, [left[0], right[1]]))
    assert cost_of(balls(CUBE, right), balls(CUBE, right)) == 0
    assert one == pytest.approx(both / 2, rel=0.1)
    assert cost_of(balls(CUBE, right, 4), balls(CUBE, left, 4)) > 0.2 * both  # small ones as well


def test_segments_that_overlap_pull_each_by_itself():
    whole, part, moved = ([(0, 0, 0)], [(6, 0, 0)], [(-8, 0, 0)])
    large, small, far = (balls(CUBE, c, r) for c, r in ((whole, 16), (part, 5), (moved, 5)))
    both = [Image(torch.cat([large.data, 2 * s.data]), CUBE) for s in (small, far)]
    assert cost_of(both[0], both[0]) == 0
    alone = cost_of(small, far)  # of two labels each counts half
    assert cost_of(*both) == pytest.approx(alone / 2, rel=0.05)


def test_more_labels_than_channels_still_pull_the_same_ones():
    places = [(x, y, z) for x in (-20, 0, 20) for y in (-20, 0, 20) for z in (-14, 14)]
    many = balls(CUBE, places, radius=6)
    assert cost_of(many, many) == 0
    exchanged = balls(CUBE, places[1:] + places[:1], radius=6)
    moved = balls(CUBE, [(x, y, z + 9) for x, y, z in places], radius=6)
    assert cost_of(many, exchanged) > cost_of(many, moved) > 0


def test_labels_lead_where_the_images_say_nothing():
    grid, d = SQUARE, 2
    fixed_at = np.array([[0.0, 0, 0], [18, -10, 6], [-16, 12, -6]])[:, :d]
    moving_at = fixed_at + np.array([[6.0, 0, 0], [8, 6, 0], [0, 5, 5]])[:, :d]
    labels = balls(grid, fixed_at), balls(grid, moving_at)
    noise = seen(grid, contrast=lambda v: 0 * v, noise=20, seed=5)
    result = register(
        seen(grid), noise, "convex", refinement=FieldRefinement(steps=12),
        labels=labels, label_weight=1.0,
    )  # fmt: skip
    before = dice(labels[0], labels[1])
    after = dice(labels[0], warp_labels(labels[1], result.field, grid))
    assert max(before.values()) < 0.75
    assert min(after.values()) > 0.8
    assert result.outcome.folding_percent == 0
    assert result.provenance["labels"] == (1, 2, 3)
    assert any("no proof of it: 1, 2, 3" in warning for warning in result.warnings)


def test_labels_on_one_side_only_are_named():
    fixed, moving = balls(CUBE, [(0, 0, 0), (20, 0, 0)]), balls(CUBE, [(0, 0, 0)])
    notes: list[str] = []
    pair = LabelPair.of(fixed, moving, 1.0, notes)
    assert pair.labels == (1,)
    assert notes == ["labels on the fixed side only do nothing: 2"]
    other = Image(moving.data * 7, CUBE)
    with pytest.raises(InvalidImage, match=r"no label is on both sides.*labels 1, 2.*7 in the mov"):
        LabelPair.of(fixed, other, 1.0, notes)


@pytest.mark.parametrize("given", [("fixed", 1.0), ("moving", 1.0), ("both", 0.0), ("none", 1.0)])
def test_labels_and_their_weight_belong_together(given):
    image, (which, weight) = seen(CUBE), given
    labels = balls(CUBE, [(0, 0, 0)])
    sides = tuple(labels if which in (side, "both") else None for side in ("fixed", "moving"))
    with pytest.raises(InvalidOption, match="need a label map of both images and a weight"):
        register(image, image, "convex", label_weight=weight, labels=sides)


def test_the_middles_of_labels_are_pairs_for_the_start():
    pair = LabelPair.of(balls(CUBE, [(10, 0, 0)]), balls(CUBE, [(-10, 4, 2)]), 1.0, [])
    centers = pair.centers()
    np.testing.assert_allclose(centers.fixed, [(10, 0, 0)], atol=0.3)
    np.testing.assert_allclose(centers.moving, [(-10, 4, 2)], atol=0.3)
    assert centers.names == ("label 1",)
