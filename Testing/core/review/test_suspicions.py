"""The detectors that look at images and field alone, one by one."""

from __future__ import annotations

import numpy as np
import pytest
from neuralreg.geometry.grid import Grid
from neuralreg.review.residual import agreed, residual
from neuralreg.review.suspicions import roughness
from scipy import ndimage

from Testing.reviewed import places, wavy

GRID = Grid((48, 48, 48), (2.0, 2.0, 2.0), (-47.0, -47.0, -47.0), tuple(np.eye(3).ravel()))
INSIDE = np.ones(GRID.shape, bool)


@pytest.fixture(scope="module")
def a_texture() -> np.ndarray:
    rough = np.random.default_rng(4).normal(size=GRID.shape)
    return ndimage.gaussian_filter(rough, 2.5).astype(np.float32)


def found_in(fixed, warped):
    return residual(fixed, warped, INSIDE, INSIDE, GRID)


def test_equal_images_are_nowhere_apart(a_texture):
    found = found_in(a_texture, a_texture)
    assert found.usable.mean() > 0.9
    assert found.length_mm.max() == 0


@pytest.mark.parametrize("shift", [(2, 0, 0), (0, -1, 0), (1, 0, -1)])
def test_a_known_shift_is_found_in_mm_with_its_direction(a_texture, shift):
    warped = np.roll(a_texture, shift, axis=(0, 1, 2))
    found = found_in(a_texture, warped)
    inner = found.usable[2:-2, 2:-2, 2:-2]
    vectors = found.shift_mm[2:-2, 2:-2, 2:-2][inner]
    assert np.median(vectors, axis=0) == pytest.approx(2.0 * np.array(shift[::-1]))


def test_another_contrast_does_not_look_like_a_shift(a_texture):
    """Bright turned dark, as between modalities: edges stay where they are."""
    found = found_in(a_texture, 1 - 0.7 * a_texture + 0.2 * a_texture**2)
    assert not agreed(found, 2.0, 0.2, 0.5).any()


def test_a_shift_is_found_between_contrasts_as_well(a_texture):
    warped = np.roll(1 - 0.7 * a_texture, (0, 0, 2), axis=(0, 1, 2))
    found = found_in(a_texture, warped)
    strong = agreed(found, 2.0, 0.2, 0.5)
    assert strong.mean() > 0.3
    assert np.median(found.shift_mm[strong][:, 0]) == pytest.approx(4.0)


def test_noise_alone_raises_no_suspicion():
    first, second = (np.random.default_rng(s).normal(size=GRID.shape) for s in (1, 2))
    found = found_in(first.astype(np.float32), second.astype(np.float32))
    assert not agreed(found, 2.0, 0.2, 0.5).any()


def test_a_part_without_structure_is_not_judged(a_texture):
    flat = a_texture.copy()
    flat[:24] = 0
    found = found_in(flat, a_texture)
    assert not found.usable[:3].any()
    assert found.usable[-3:].any()


def test_one_block_alone_is_not_believed(a_texture):
    found = found_in(a_texture, np.roll(a_texture, (2, 0, 0), axis=(0, 1, 2)))
    lonely = np.zeros_like(found.usable)
    lonely[4, 4, 4] = True
    assert not agreed(type(found)(**{**vars(found), "usable": lonely}), 2.0, 0.2, 0.5).any()


def test_centers_of_blocks_lie_where_the_blocks_are(a_texture):
    """A shift of one corner of the image is found in that corner."""
    warped = a_texture.copy()
    warped[24:, 24:, 24:] = np.roll(a_texture, (2, 2, 0), axis=(0, 1, 2))[24:, 24:, 24:]
    found = found_in(a_texture, warped)
    strong = agreed(found, 2.0, 0.2, 0.5)
    assert strong.any()
    assert (found.centers[strong] > -8).all()
    assert np.abs(found.centers[strong].mean(0) - 24).max() < 8


def test_a_smooth_field_is_not_rough_and_a_jump_is():
    smooth = wavy(GRID, 6.0)
    jump = smooth + (places(GRID)[..., 0] > 0)[..., None] * np.float32(6.0)
    inner = (slice(4, -4),) * 3
    assert roughness(smooth)[inner].max() < 0.3
    assert roughness(jump)[inner].max() > 2.0
