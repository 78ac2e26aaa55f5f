"""The detectors that look at images and field alone, one by one."""

from __future__ import annotations

import numpy as np
import pytest
from neuralreg.geometry.grid import Grid
from neuralreg.review.findings.detectors import roughness, tolerance_mm
from neuralreg.review.findings.local_misalignment import levels, residual, suspicious_blocks
from scipy import ndimage

from Testing.support.reviewed import places, wavy

GRID = Grid((48, 48, 48), (2.0, 2.0, 2.0), (-47.0, -47.0, -47.0), tuple(np.eye(3).ravel()))
INSIDE = np.ones(GRID.shape, bool)


@pytest.fixture(scope="module")
def a_texture() -> np.ndarray:
    rough = np.random.default_rng(4).normal(size=GRID.shape)
    return ndimage.gaussian_filter(rough, 2.5).astype(np.float32)


def found_in(fixed, warped, seen=INSIDE):
    return residual(fixed, warped, seen, INSIDE, GRID, tolerance_mm=2.0)


def test_equal_images_are_nowhere_apart(a_texture):
    found = found_in(a_texture, a_texture)
    assert found.usable[1:-1, 1:-1, 1:-1].all()  # at the border there is nothing to search
    assert found.gain.max() < 0
    assert found.unexplained == pytest.approx(0.0, abs=0.01)
    assert not suspicious_blocks(found).any()


@pytest.mark.parametrize("shift", [(2, 0, 0), (0, -2, 0), (2, -2, 1)])
def test_a_known_shift_is_found_in_mm_with_its_direction(a_texture, shift):
    warped = np.roll(a_texture, shift, axis=(0, 1, 2))
    found = found_in(a_texture, warped)
    assert suspicious_blocks(found).any()
    inner = found.usable[2:-2, 2:-2, 2:-2]
    vectors = found.shift_mm[2:-2, 2:-2, 2:-2][inner]
    assert np.median(vectors, axis=0) == pytest.approx(2.0 * np.array(shift[::-1]))


@pytest.mark.parametrize("shift", [(1, 0, 0), (0, 0, -1)])
def test_a_shift_by_the_tolerance_means_nothing(a_texture, shift):
    found = found_in(a_texture, np.roll(a_texture, shift, axis=(0, 1, 2)))
    assert not suspicious_blocks(found).any()


def test_another_contrast_does_not_look_like_a_shift(a_texture):
    """Bright turned dark, as between modalities: edges stay where they are."""
    found = found_in(a_texture, 1 - 0.7 * a_texture + 0.2 * a_texture**2)
    assert not suspicious_blocks(found).any()


def test_a_shift_is_found_between_contrasts_as_well(a_texture):
    warped = np.roll(1 - 0.7 * a_texture, (0, 0, 2), axis=(0, 1, 2))
    found = found_in(a_texture, warped)
    assert suspicious_blocks(found).any()
    assert np.median(found.shift_mm[suspicious_blocks(found)][:, 0]) == pytest.approx(4.0)


@pytest.mark.parametrize("seeds", [(1, 2), (3, 4), (5, 6)])
def test_noise_alone_raises_no_suspicion(seeds):
    first, second = (np.random.default_rng(s).normal(size=GRID.shape) for s in seeds)
    found = found_in(first.astype(np.float32), second.astype(np.float32))
    assert not suspicious_blocks(found).any()


def test_noise_on_images_that_fit_asks_for_more(a_texture):
    noise = np.random.default_rng(0).normal(0, 0.6 * a_texture.std(), GRID.shape)
    clean, noisy = found_in(a_texture, a_texture), found_in(a_texture, a_texture + noise)
    assert noisy.unexplained > clean.unexplained + 0.03
    assert not suspicious_blocks(noisy).any()


def test_a_few_huge_values_hide_nothing(a_texture):
    warped = np.roll(a_texture, (0, 2, 0), axis=(0, 1, 2))
    warped[5, 5, 5:8] = 2e9
    assert suspicious_blocks(found_in(a_texture, warped)).mean() > 0.05


def test_what_the_moving_image_does_not_show_makes_no_edges(a_texture):
    """Beyond its border there is darkness, which is no tissue."""
    warped, seen = a_texture.copy(), INSIDE.copy()
    warped[..., 24:], seen[..., 24:] = a_texture.min() - 3, False
    found = found_in(a_texture, warped, seen)
    assert found.usable.any()
    assert not suspicious_blocks(found).any()


def test_thick_slices_do_not_make_everything_tolerable():
    size, turn = (256, 256, 40), tuple(np.eye(3).ravel())
    assert tolerance_mm(Grid(size, (2.0, 2.0, 2.5), (0.0,) * 3, turn)) == 2.5
    thick = Grid(size, (0.5, 0.5, 6.0), (0.0,) * 3, turn)
    assert tolerance_mm(thick) == pytest.approx(2 * (0.5 * 0.5 * 6.0) ** (1 / 3))
    assert [level.spacing[2] for level in levels(thick, tolerance_mm(thick))] == [6.0] * 2
    assert tolerance_mm(Grid((9, 9), (0.1, 0.1), (0.0, 0.0), (1, 0, 0, 1))) == pytest.approx(0.1)


def test_a_part_without_structure_is_not_judged(a_texture):
    flat = a_texture.copy()
    flat[:24] = 0
    found = found_in(flat, a_texture)
    assert not found.usable[:3].any()
    assert found.usable[-3:].any()


def test_one_block_alone_is_not_believed(a_texture):
    """A spot that moved by itself, smaller than a block: its neighbors say otherwise."""
    warped = a_texture.copy()
    spot = (slice(22, 26),) * 3
    warped[spot] = np.roll(a_texture, (2, 0, 0), axis=(0, 1, 2))[spot]
    assert not suspicious_blocks(found_in(a_texture, warped)).any()


def test_centers_of_blocks_lie_where_the_blocks_are(a_texture):
    """A shift of one corner of the image is found in that corner."""
    warped = a_texture.copy()
    warped[24:, 24:, 24:] = np.roll(a_texture, (2, 2, 0), axis=(0, 1, 2))[24:, 24:, 24:]
    found = found_in(a_texture, warped)
    strong = suspicious_blocks(found)
    assert strong.any()
    assert (found.centers[strong] > -8).all()
    assert np.abs(found.centers[strong].mean(0) - 24).max() < 8


def test_a_smooth_field_is_not_rough_and_a_jump_is():
    smooth = wavy(GRID, 6.0)
    jump = smooth + (places(GRID)[..., 0] > 0)[..., None] * np.float32(6.0)
    inner = (slice(4, -4),) * 3
    assert roughness(smooth)[inner].max() < 0.3
    assert roughness(jump)[inner].max() > 2.0
