"""Several images of each side: together they show more than each alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from neuralreg.errors import InvalidImage, InvalidOption
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.image import Image
from neuralreg.registration.engine import register
from neuralreg.registration.options import FieldRefinement
from neuralreg.zoo.registry import load_model

from Testing.support.phantom import CUBE, SQUARE, landmarks, seen

QUICK = {"linear": "none", "refinement": FieldRefinement(steps=12)}
ANGLE = np.radians(20)
TURNED = Grid(
    (70, 80), (1.3, 1.1), (-30.0, -66.0),
    (np.cos(ANGLE), -np.sin(ANGLE), np.sin(ANGLE), np.cos(ANGLE)),
)  # fmt: skip


def bend(points):
    return points + 2.5 * np.sin(points[..., ::-1] / 9)


def side(sign: int, grid: Grid, through=lambda p: p, *, seed: int = 0) -> Image:
    """The body, of which only one half of the plane shows its texture."""
    whole = seen(grid, through, noise=0.0)
    index = np.stack(np.meshgrid(*(np.arange(n) for n in grid.size), indexing="ij"), -1)
    at = through(grid.points_at(index.astype(float)))[..., 0].T
    share = torch.from_numpy(1 / (1 + np.exp(-sign * at / 2))).float()
    noise = torch.randn(grid.shape, generator=torch.Generator().manual_seed(seed))
    return Image(whole.data * share + noise, grid)


def error_mm(result, *, chosen=slice(None)) -> float:
    points = landmarks(2)[chosen]
    return float(np.linalg.norm(result.field(bend(points)) - points, axis=1).mean())


def pair(sign: int, fixed: Grid = SQUARE, moving: Grid = SQUARE) -> tuple[Image, Image]:
    """The fixed image shows at bend(p) what the moving one shows at p."""
    inverse = _inverse_of(bend)
    return side(sign, fixed, inverse, seed=1), side(sign, moving, seed=2)


def _inverse_of(function):
    def inverse(points):
        x = points
        for _ in range(40):
            x = x + points - function(x)
        return x

    return inverse


def test_two_channels_lead_where_each_alone_is_blind():
    left, right = pair(-1), pair(1)
    alone = [error_mm(register(*one, "convex", **QUICK)) for one in (left, right)]
    both = error_mm(register(*left, "convex", **QUICK, channels=[right]))
    assert both < 0.6 * min(alone)


def test_the_images_of_a_channel_lie_on_grids_of_their_own():
    left, right = pair(-1), pair(1, TURNED, SQUARE.with_spacing((1.0, 2.0)))
    result = register(*left, "convex", **QUICK, channels=[right])
    same = register(*left, "convex", **QUICK, channels=[pair(1)])
    assert error_mm(result) < 1.25 * error_mm(same)
    assert any("fixed image of channel 1 covers" in warning for warning in result.warnings)


def test_a_channel_counts_by_its_weight():
    true, wrong = pair(-1), (pair(-1)[0], side(-1, SQUARE, lambda p: bend(bend(p)), seed=5))
    error = {
        weight: error_mm(
            register(*true, "convex", **QUICK, channels=[wrong], channel_weights=(weight,))
        )
        for weight in (1e-6, 1e3)
    }
    assert error[1e-6] == pytest.approx(error_mm(register(*true, "convex", **QUICK)), abs=0.05)
    assert error[1e3] > error[1e-6] + 1


def test_one_image_twice_is_searched_as_once():
    fixed, moving = (torch.rand(1, 20, 24, 22, generator=torch.Generator().manual_seed(n))
                     for n in (1, 2))  # fmt: skip
    model = load_model("convex", device="cpu")
    once = model.predict(fixed, moving)
    twice = model.search(torch.cat([fixed] * 2), torch.cat([moving] * 2), (0.3, 0.7))
    torch.testing.assert_close(twice, once, atol=1e-4, rtol=0)


def test_the_similarity_of_a_result_is_the_weighted_mean_of_its_channels():
    one, two = pair(-1), pair(1)
    none = {"linear": "none", "refinement": FieldRefinement(steps=0), "model": "convex"}
    result = register(*one, **none, channels=[two], channel_weights=(3.0,))
    each = [register(*images, **none).outcome.similarity_initial for images in (one, two)]
    assert result.outcome.similarity_initial == pytest.approx((each[0] + 3 * each[1]) / 4, rel=0.01)


def test_channels_of_one_modality_follow_correlation_and_others_descriptors():
    fixed, moving = pair(0)
    inverted = Image((moving.data - 45).square(), SQUARE)
    result = register(fixed, moving, "convex", linear="none", channels=[(fixed, inverted)])
    assert result.provenance["refined"]["channels"] == ("lncc", "mind")


def colors(values: Image, seed: int) -> Image:
    """A picture of one brightness whose red and green show the values."""
    shown = values.data[0].clamp(0, 100)
    blue = 10 * torch.rand(shown.shape, generator=torch.Generator().manual_seed(seed))
    channels = (shown, (13000 - 299 * shown - 114 * blue) / 587, blue)
    return Image((2 * torch.stack(channels)).round().clamp(0, 255).to(torch.uint8), values.grid)


def test_colors_lead_where_their_luminance_shows_nothing():
    fixed, moving = (colors(image, n) for n, image in enumerate(pair(0)))
    gray = register(fixed, moving, "convex", **QUICK)
    three = register(fixed, moving, "convex", **QUICK, colors="rgb")
    assert error_mm(three) < 0.5 * error_mm(gray)
    assert any("the fixed image has colors: their luminance" in w for w in gray.warnings)
    assert not any("luminance" in w for w in three.warnings)
    with pytest.raises(InvalidOption, match="a moving image in gray"):
        register(fixed, pair(0)[1], "convex", colors="rgb")


FAR = Grid(SQUARE.size, SQUARE.spacing, (900.0, 0.0), SQUARE.direction)


@pytest.mark.parametrize(
    ("channel", "message"),
    [
        ((seen(CUBE), seen(SQUARE)), "fixed image of channel 1 has the dimension.*3D.*2D"),
        ((seen(SQUARE), Image(torch.ones(1, *SQUARE.shape), SQUARE)), "moving.* is constant"),
        ((seen(FAR), seen(SQUARE)), "fixed image of channel 1 is outside of its image"),
    ],
)
def test_what_is_no_channel_of_the_images_is_named(channel, message):
    with pytest.raises(InvalidImage, match=message):
        register(seen(SQUARE), seen(SQUARE), "convex", channels=[channel])


def test_channels_and_weights_belong_together():
    image = seen(SQUARE)
    with pytest.raises(InvalidOption, match="2 weights and 1 channels"):
        register(image, image, "convex", channels=[(image, image)], channel_weights=(1.0, 2.0))
    with pytest.raises(InvalidOption, match="a fixed and a moving side"):
        register(image, image, "convex", channels=[(image, image, 0.5)])


def test_an_image_that_has_nothing_in_common_with_its_side_is_doubted():
    fixed, moving = seen(SQUARE), seen(SQUARE)
    noise = Image(torch.rand(1, *SQUARE.shape, generator=torch.Generator().manual_seed(3)), SQUARE)
    result = register(fixed, moving, "convex", **QUICK, channels=[(fixed, noise), (fixed, moving)])
    doubts = [warning for warning in result.warnings if "nothing in common" in warning]
    assert len(doubts) == 1
    assert doubts[0].startswith("the moving image of channel 1")
