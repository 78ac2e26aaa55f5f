"""Brain masks by a network: what it is given, and whether it found a brain."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from neuralreg.errors import InvalidImage, InvalidOption, OutOfMemory, WeightsUnavailable
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.image import Image
from neuralreg.registration.brain import labeling
from neuralreg.registration.brain.brain_mask import brain_mask, mask_heads
from neuralreg.registration.brain.extraction import MaskFigures, extract_brain, mask_of_scores

from Testing.support.paths import WEIGHTS

UPRIGHT = tuple(np.eye(3).ravel())
BOX = Grid((150, 140, 130), (1, 1, 1), (-75, -70, -65), UPRIGHT)
GOOD = MaskFigures(1.4, 0.01, 0.999, 3.0)


def distances(grid: Grid, center=(0.0, 0.0, 0.0)):
    index = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), -1)[..., ::-1]
    return np.linalg.norm(grid.points_at(index) - center, axis=-1)


@pytest.fixture(scope="module")
def scores() -> np.ndarray:
    """Scores of a ball of 60 mm, and of a small one beside it."""
    ball, stray = 60 - distances(BOX), 4 - distances(BOX, (60, 55, 50))
    return np.maximum(ball, stray).astype(np.float32)


@pytest.mark.parametrize(
    "direction",
    [UPRIGHT, (-1, 0, 0, 0, -1, 0, 0, 0, 1), (0, 0, 1, 1, 0, 0, 0, 1, 0),
     (0.8, -0.6, 0, 0.6, 0.8, 0, 0, 0, 1)],
)  # fmt: skip
def test_the_mask_is_the_largest_part_on_the_own_grid_of_an_image(scores, direction):
    size, spacing = np.array((60, 64, 40)), np.array((2.5, 2.2, 3.5))
    axes = np.reshape(direction, (3, 3))
    grid = Grid(tuple(size), tuple(spacing), tuple(-axes @ ((size - 1) * spacing / 2)), direction)
    mask, figures = mask_of_scores(scores, BOX, grid)
    truth = distances(grid) < 60
    inside = mask.data[0].numpy() > 0
    assert mask.grid == grid
    assert 2 * (inside & truth).sum() / (inside.sum() + truth.sum()) > 0.995
    assert figures.liters == pytest.approx(4 / 3 * np.pi * 0.6**3, rel=0.01)
    assert 0.999 < figures.connected_share < 1
    assert figures.undecided_share == pytest.approx(3 * 6 / 60, rel=0.05)


def test_a_brain_that_the_image_cuts_off_is_measured_in_its_outermost_slice(scores):
    grid = Grid((75, 70, 20), (2, 2, 2), (-75, -70, -10), UPRIGHT)
    _, figures = mask_of_scores(scores, BOX, grid)
    assert figures.cut_cm2 == pytest.approx(np.pi * (6.0**2 - 1.0**2), rel=0.03)
    assert any("ends within the brain" in text for text in figures.warnings())


def test_a_good_mask_has_nothing_against_it():
    assert GOOD.refusals() == []
    assert GOOD.warnings() == []


@pytest.mark.parametrize(
    ("figures", "words"),
    [
        (MaskFigures(0.27, 0.01, 1.0, 0.0), "0.27 l"),
        (MaskFigures(2.6, 0.01, 1.0, 0.0), "2.6 l"),
        (MaskFigures(1.4, 0.08, 1.0, 0.0), "8.0 % of it undecided"),
        (MaskFigures(1.4, 0.01, 0.8, 0.0), "only 80 % of it in one part"),
    ],
)
def test_what_is_no_brain_is_refused_by_its_figures(figures, words):
    assert any(words in text for text in figures.refusals())


@pytest.mark.parametrize("figures", [MaskFigures(0.9, 0.01, 1, 0), MaskFigures(1.4, 0.03, 1, 0)])
def test_what_is_unusual_is_a_warning_only(figures):
    assert figures.refusals() == []
    assert "look at the mask" in figures.warnings()[0]


def an_image(size, spacing, low=0.0):
    grid = Grid(size, spacing, (0,) * len(size), tuple(np.eye(len(size)).ravel()))
    values = torch.rand(1, *grid.shape, generator=torch.Generator().manual_seed(0))
    return Image(values + low, grid)


@pytest.mark.parametrize(
    ("size", "spacing", "words"),
    [
        ((128, 128), (1, 1), "2D"),
        ((128, 128, 1), (1, 1, 1), "128x128x1"),
        ((40, 40, 20), (5, 5, 8), "8.0 mm"),
        ((64, 64, 64), (0.3, 0.3, 0.3), "19 x 19 x 19 mm"),
    ],
)
def test_what_cannot_be_a_head_is_refused_before_any_network_runs(size, spacing, words):
    with pytest.raises(InvalidImage, match=words):
        extract_brain(an_image(size, spacing))


def test_a_brain_without_skull_needs_no_network():
    grid = Grid((50, 50, 50), (4, 4, 4), (-98, -98, -98), UPRIGHT)
    far = distances(grid) / 67
    values = np.where((far < 1) & (far > 0.1), 40 + 10 * far, 0).astype(np.float32)
    brain = extract_brain(Image(torch.from_numpy(values)[None], grid))
    assert np.array_equal(brain.mask.data[0].numpy() > 0, far < 1)
    assert brain.liters == pytest.approx(4 / 3 * np.pi * 0.67**3, rel=0.02)
    assert "no skull" in brain.warnings[0]


@pytest.fixture(scope="module")
def slab() -> Image:
    """A block of noise as large as a head in two directions."""
    return an_image((26, 26, 4), (4, 4, 4), 5.0)


@pytest.mark.needs_shared(WEIGHTS / "meshnet.mindgrab.bin")
def test_what_the_network_draws_into_no_head_is_refused_with_the_reason(slab):
    reports = []
    with pytest.raises(InvalidImage, match=r"always draws a brain.*got a brain of 0"):
        brain_mask(slab, model="mindgrab", cache=WEIGHTS, progress=lambda *r: reports.append(r))
    assert "layer 25" in {message for _, message in reports}


@pytest.mark.needs_shared(WEIGHTS / "meshnet.mindgrab.bin")
def test_a_head_for_which_the_memory_does_not_suffice_is_refused_before_the_run(monkeypatch):
    monkeypatch.setattr(labeling, "free_memory", lambda: 300_000_000)
    slab = an_image((26, 26, 4), (4, 4, 4), 6.0)  # that was not asked about before
    with pytest.raises(OutOfMemory, match=r"0\.3 GB free, wanted 0\.4 GB"):
        extract_brain(slab, cache=WEIGHTS)


def test_missing_weights_are_named_and_nothing_is_fetched(slab, tmp_path):
    with pytest.raises(WeightsUnavailable, match="models get mindgrab"):
        brain_mask(slab, model="mindgrab", cache=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_model_for_masks_is_named_with_those_that_there_are(slab):
    with pytest.raises(InvalidOption, match=r"'robex'.*auto or mindgrab or template"):
        brain_mask(slab, model="robex")


def test_the_image_that_is_no_head_is_named_by_its_role():
    small = an_image((64, 64, 64), (0.3, 0.3, 0.3))
    with pytest.raises(InvalidImage, match="fixed image"):
        mask_heads((small, small), (None, None), "mindgrab", "cpu", lambda *_: None)
