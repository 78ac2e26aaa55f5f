"""A result is corrected where a person says so, in both directions, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from neuralreg.errors import InvalidOption, InvalidTransform
from neuralreg.geometry.field import DisplacementField
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.image import Image
from neuralreg.geometry.inverse import invert
from neuralreg.measures.jacobian import jacobian_determinant
from neuralreg.registration.corrections.correction import Correction, in_words
from neuralreg.registration.corrections.local_repair import apply_corrections, usual_radius_mm
from neuralreg.registration.guides.landmark_guide import LandmarkGuide

HEAD = Grid((48, 48, 48), (3.0, 3.0, 3.0), (-70.5, -70.5, -70.5), tuple(np.eye(3).ravel()))
CENTER = np.array([15.0, -10.0, 5.0])
SHIFT = np.array([5.0, -5.0, 3.9])  # 8 mm
CORNERS = np.array([[9, 9, 9], [-9, -9, 9], [9, -9, -9], [-9, 9, -9]])
RADIUS = 20.0
SAMPLED_MM = 0.3  # by which samples of 3 mm miss a smooth field between them


def ball(count: int, radius: float, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    points = random.normal(size=(count, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    return CENTER + points * radius * random.uniform(0, 1, (count, 1)) ** (1 / 3)


@pytest.fixture(scope="module")
def directions():
    """Both directions of a smooth transform."""
    knots = torch.randn(3, 6, 6, 6, generator=torch.Generator().manual_seed(0)) * 3
    field = DisplacementField(knots, HEAD.resize([6, 6, 6])).resample(HEAD)
    return field, invert(field, tolerance_mm=0.02)


def correction(field, points, shift=SHIFT, radius_mm=RADIUS, names=()) -> Correction:
    """One after which the points go where others, `shift` away, went before."""
    points = np.atleast_2d(points)
    partners = field(points + shift)
    return Correction(LandmarkGuide(points.tolist(), partners.tolist(), names), radius_mm)


@pytest.mark.parametrize(
    ("points", "largest_mm"),
    [([CENTER], 1.5), ([CENTER + [8, 0, 0], CENTER - [8, 0, 0]], 1.0), (CENTER + CORNERS, 0.7)],
    ids=["1 pair", "2 pairs", "4 pairs"],
)
def test_an_organ_that_lies_8_mm_off_comes_back(directions, points, largest_mm):
    field, inverse = directions
    done = apply_corrections(field, inverse, [correction(field, points)])
    organ = ball(500, 16)
    error = np.linalg.norm(done.field(organ) - field(organ + SHIFT), axis=1)
    assert error.mean() < largest_mm
    assert max(done.after_mm) < SAMPLED_MM < 7 < min(done.before_mm)
    assert done.largest_change_mm == pytest.approx(8, abs=1.5)


def test_nothing_changes_beyond_two_radii_in_either_direction(directions):
    field, inverse = directions
    done = apply_corrections(field, inverse, [correction(field, CENTER)])
    points = np.random.default_rng(1).uniform(-68, 68, (4000, 3))
    far = points[np.linalg.norm(points - CENTER, axis=1) > 2 * RADIUS]
    assert np.abs(done.field(far) - field(far)).max() < 0.05
    moved = field(far)
    inside = np.abs(moved).max(1) < 68
    assert np.abs(done.inverse(moved[inside]) - inverse(moved[inside])).max() < 0.05
    untouched = (done.field.vectors == field.vectors).all(0).float().mean()
    assert untouched > 0.5  # bit by bit


def test_both_directions_stay_inverse_and_nothing_folds(directions):
    field, inverse = directions
    done = apply_corrections(field, inverse, [correction(field, CENTER + CORNERS)])
    points = ball(1000, 45)
    usual = np.linalg.norm(inverse(field(points)) - points, axis=1).max()
    error = np.linalg.norm(done.inverse(done.field(points)) - points, axis=1).max()
    assert error < usual + 0.1
    assert float(jacobian_determinant(done.field).min()) > 0


def test_the_inputs_stay_as_they_were(directions):
    field, inverse = directions
    before = field.vectors.clone(), inverse.vectors.clone()
    apply_corrections(field, inverse, [correction(field, CENTER)])
    assert torch.equal(field.vectors, before[0])
    assert torch.equal(inverse.vectors, before[1])


def test_several_corrections_add_up_in_any_order(directions):
    field, inverse = directions
    near = correction(field, CENTER)
    beside = correction(field, CENTER + [12, 0, 0], shift=np.array([0, 4.0, 0]))
    far = correction(field, [-40, 30, -20], shift=np.array([0, 0, 6.0]), radius_mm=15)
    one = apply_corrections(field, inverse, [near, beside, far])
    other = apply_corrections(field, inverse, [far, beside, near])
    assert max(one.after_mm) < SAMPLED_MM
    assert torch.allclose(one.field.vectors, other.field.vectors, atol=0.02)
    alone = apply_corrections(field, inverse, [far])
    at = np.array([[-40, 30, -20], [-35, 28, -24.0]])
    np.testing.assert_allclose(one.field(at), alone.field(at), atol=0.02)


def test_a_locked_part_stays_as_it_is(directions):
    field, inverse = directions
    points = HEAD.points_at(np.argwhere(np.ones(HEAD.shape))[:, ::-1].astype(float))
    locked = points[:, 0] > CENTER[0] + 14
    mask = Image(torch.from_numpy(locked.reshape(HEAD.shape)).float()[None], HEAD)
    done = apply_corrections(field, inverse, [correction(field, CENTER)], mask)
    kept = torch.from_numpy(locked.reshape(HEAD.shape))
    assert torch.equal(done.field.vectors[:, kept], field.vectors[:, kept])
    assert max(done.after_mm) < SAMPLED_MM
    inside = correction(field, CENTER + [30, 0, 0], names=("A",))
    with pytest.raises(InvalidOption, match=r"locked.*got A"):
        apply_corrections(field, inverse, [inside], mask)
    empty = Image(torch.zeros(1, *HEAD.shape), HEAD)
    with pytest.raises(InvalidOption, match="lock holds nothing"):
        apply_corrections(field, inverse, [correction(field, CENTER)], empty)


@pytest.mark.parametrize(
    ("radius_mm", "words"), [(5.0, "smaller than the field resolves"), (10.0, "at least 13.3 mm")]
)
def test_a_radius_that_is_too_small_is_refused_with_the_least_one(directions, radius_mm, words):
    field, inverse = directions
    asked = correction(field, CENTER, shift=np.array([20.0, 0, 0]), radius_mm=radius_mm)
    with pytest.raises(InvalidOption, match=words):
        apply_corrections(field, inverse, [asked])


def test_pairs_that_contradict_each_other_are_refused(directions):
    field, inverse = directions
    one = correction(field, CENTER, names=("A",))
    two = correction(field, CENTER + [0.01, 0, 0], shift=-SHIFT, names=("B",))
    with pytest.raises((InvalidOption, InvalidTransform), match=r"contradict|fold"):
        apply_corrections(field, inverse, [one, two])


def test_the_radius_follows_the_shift_and_the_field_unless_given(directions):
    field, _ = directions
    asked = correction(field, CENTER)
    assert usual_radius_mm(field, asked.landmarks) == pytest.approx(20, abs=0.5)
    small = correction(field, CENTER, shift=SHIFT / 8)
    assert usual_radius_mm(field, small.landmarks) == pytest.approx(18)


def test_a_record_keeps_a_correction_and_words_say_by_whom(directions):
    field, _ = directions
    pair = correction(field, CENTER, names=("tip",)).landmarks
    one = Correction(pair, 20.0, by="Ada", time="2026-01-01T00:00:00+00:00")
    assert Correction.from_record(one.as_record()) == one
    assert "by hand by Ada at 1 point: tip" in in_words([one])
    with pytest.raises(InvalidOption, match="no record"):
        Correction.from_record({"fixed": []})
    with pytest.raises(InvalidOption, match="radius"):
        Correction(pair, -1.0)
