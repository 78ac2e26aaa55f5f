"""Two sides of a border slide along each other: a jump along it, none across it, no folds."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from neuralreg.errors import InvalidImage, InvalidOption
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.image import Image
from neuralreg.io.itk import to_itk
from neuralreg.registration.engine import register
from neuralreg.registration.options import FieldRefinement

from Testing.support.phantom import CUBE, SQUARE, seen
from Testing.support.sliding_bodies import SlidingBodies

SPACING = 2.0
BODIES = SlidingBodies(Grid((80, 80), (SPACING,) * 2, (-79.0,) * 2, (1.0, 0.0, 0.0, 1.0)))
QUICK = {"model": "convex", "linear": "none"}


@pytest.fixture(scope="module")
def results():
    fixed, moving = BODIES.images()
    smooth = register(fixed, moving, **QUICK)
    return smooth, register(fixed, moving, **QUICK, sliding=BODIES.mask())


def centers(within_mm: float):
    """Centers of voxels beside the border."""
    points = BODIES.points(within_mm + SPACING)
    points = BODIES.grid.points_at(np.round(BODIES.grid.indices_at(points)))
    return points[np.abs(BODIES.depth(points)) < within_mm]


def error(moved, truth) -> float:
    return float(np.linalg.norm(moved - truth, axis=-1).mean())


def test_the_error_beside_the_border_is_less_than_a_third_of_that_of_a_smooth_field(results):
    smooth, slid = results
    points = centers(8.0)
    truth = BODIES.moved(points)
    assert error(smooth.field(points), truth) > 2
    assert error(slid.field(points), truth) < error(smooth.field(points), truth) / 4


def test_both_sides_meet_at_the_border_that_the_moving_image_shows(results):
    # the moving border: where the smooth bend takes lines beside the fixed one, slid or not
    along = np.linspace(-50, 50, 200)
    for side in (1, -1):
        x = np.full_like(along, BODIES.radius_mm - side * 0.5 * SPACING)
        arrivals = results[1].field(np.stack([x, along], 1))
        line = BODIES.bend(
            np.stack([np.full(2000, BODIES.radius_mm), np.linspace(-75, 75, 2000)], 1)
        )
        gap = np.linalg.norm(arrivals[:, None] - line[None], axis=-1).min(1)
        assert np.quantile(gap, 0.95) < 1.2 * SPACING


def test_each_side_has_an_inverse_and_no_folds(results):
    slid = results[1]
    beside = slid.provenance["sliding"]["layer_mm"] + SPACING
    points = BODIES.points(16.0)
    points = points[np.abs(BODIES.depth(points)) > beside]
    back = slid.inverse_field(slid.field(points))
    assert np.linalg.norm(back - points, axis=1).max() < 0.15
    image = to_itk(slid.field).Downcast().GetDisplacementField()
    least = sitk.GetArrayFromImage(sitk.DisplacementFieldJacobianDeterminant(image))
    grid = slid.field.grid
    index = np.stack(np.meshgrid(*map(np.arange, grid.size), indexing="ij"), -1).astype(float)
    depth = np.abs(BODIES.depth(grid.points_at(index))).T
    assert least[depth > beside].min() > 0
    assert slid.outcome.folding_percent == 0


def test_the_record_says_how_far_both_sides_slide(results):
    smooth, slid = results
    assert smooth.provenance["sliding"] is None
    record = slid.provenance["sliding"]
    assert record["kept"]
    assert 12 < record["slide_mean_mm"] < 16
    assert record["gap_mean_mm"] < 0.2 * SPACING
    assert record["information"][1] > record["information"][0]


def test_images_that_do_not_slide_are_not_torn():
    fixed, _ = BODIES.images()
    result = register(fixed, fixed, **QUICK, sliding=BODIES.mask())
    assert np.linalg.norm(result.field.vectors.numpy(), axis=0).max() < 0.5


def test_sliding_is_left_and_named_where_the_images_agree_less():
    still = SlidingBodies(BODIES.grid, slide_mm=0.0, bend_mm=6.0)
    fixed, moving = still.images()
    noise = torch.rand(1, *BODIES.grid.shape, generator=torch.Generator().manual_seed(1))
    result = register(fixed, moving, **QUICK, sliding=Image((noise > 0.5).byte(), BODIES.grid))
    kept = result.provenance["sliding"]["kept"]
    assert kept != any("the smooth deformation was kept" in w for w in result.warnings)
    points = still.points(40.0)
    assert error(result.field(points), still.moved(points)) < 1.0


def test_a_few_steps_leave_the_sliding_to_the_layers():
    fixed, moving = BODIES.images()
    few = FieldRefinement(similarity="lncc", steps=4)
    result = register(fixed, moving, **QUICK, refinement=few, sliding=BODIES.mask())
    assert result.provenance["sliding"]["slide_mean_mm"] > 8


@pytest.mark.parametrize(
    ("given", "kind", "message"),
    [
        ({"sliding": Image(torch.zeros(1, *SQUARE.shape), SQUARE)}, InvalidImage, "got 0 % of"),
        ({"sliding": Image(torch.ones(1, *SQUARE.shape), SQUARE)}, InvalidImage, "1e.02 %|100 %"),
        ({"sliding": seen(CUBE)}, InvalidImage, "mask of what may slide has the dimension"),
        ({"sliding": seen(SQUARE), "rigid": Image((seen(SQUARE).data > 40).byte(), SQUARE)},
         InvalidOption, "do not go together"),
    ],
)  # fmt: skip
def test_masks_that_cannot_slide_are_refused(given, kind, message):
    with pytest.raises(kind, match=message):
        register(seen(SQUARE), seen(SQUARE), **QUICK, **given)
