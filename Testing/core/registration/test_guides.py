"""Landmarks that steer: where they lead, what they leave to the images, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from neuralreg.errors import InvalidOption
from neuralreg.geometry.field import DisplacementField
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.linear import LinearTransform
from neuralreg.registration.engine import register
from neuralreg.registration.guides.landmark_checks import check_landmarks
from neuralreg.registration.guides.landmark_cost import LandmarkCost
from neuralreg.registration.guides.landmark_fit import Spread, fit_landmarks, rigid_fit
from neuralreg.registration.guides.landmark_guide import LandmarkGuide
from neuralreg.registration.guides.landmark_start import LandmarkStart
from neuralreg.registration.guides.landmark_targets import LandmarkTargets, invert_at
from neuralreg.registration.options import FieldRefinement, LinearAlignment
from neuralreg.registration.prealign import prealign
from neuralreg.registration.refine import Velocity
from scipy.spatial.transform import Rotation

from Testing.support.phantom import CUBE, SQUARE, landmarks, seen

TURN = Rotation.from_euler("xyz", (150, 20, -10), degrees=True).as_matrix()
FAR = LinearTransform.from_parts(TURN, np.array([40.0, -44.0, 20.0]))
QUICK = FieldRefinement(similarity="mind", steps=4)


def guide(fixed, moving, **settings) -> LandmarkGuide:
    return LandmarkGuide(np.asarray(fixed).tolist(), np.asarray(moving).tolist(), **settings)


def displaced_grid(shift, pad: int = 10) -> Grid:
    grid = CUBE.pad((pad, pad, pad))
    return Grid(grid.size, grid.spacing, tuple(np.add(grid.origin, shift)), grid.direction)


def test_six_pairs_start_a_search_that_fails_without_them():
    fixed, moving = seen(CUBE), seen(displaced_grid((40, -44, 20)), FAR.inverse(), seed=1)
    points, others = landmarks(3, 6, seed=3), landmarks(3, 200, seed=9)
    partners = FAR(points) + np.random.default_rng(0).normal(0, 1, points.shape)
    start = LandmarkStart.of(
        guide(points, partners), fixed.grid, moving.grid, LinearAlignment.RIGID
    )

    def error_mm(**given) -> float:
        linear = prealign(fixed, moving, LinearAlignment.RIGID, **given).linear
        return float(np.linalg.norm(linear(others) - FAR(others), axis=1).mean())

    assert error_mm() > 10
    assert error_mm(landmarks=start) < 0.2  # better than the landmarks were placed


@pytest.mark.parametrize(
    ("points", "spread"),
    [
        ([[1, 2, 3]], Spread.POINT),
        ([[1, 2, 3], [1, 2, 3]], Spread.POINT),
        ([[0, 0, 0], [10, 5, 0], [20, 10, 0]], Spread.LINE),
        ([[0, 0, 0], [10, 0, 0], [0, 10, 0], [10, 10, 0]], Spread.SURFACE),
        ([[0, 0, 0], [10, 0, 0], [0, 10, 0], [0, 0, 10]], Spread.SPACE),
    ],
)
def test_what_pairs_leave_open_is_not_invented(points, spread):
    points = np.asarray(points, float)
    shift = np.array([5.0, -3.0, 2.0])
    fit = fit_landmarks(points, points + shift, tolerance_mm=1.0, affine=True)
    assert fit.spread is spread
    moved = LinearTransform.from_parts(np.eye(3), shift)
    np.testing.assert_allclose(fit.linear.matrix, moved.matrix, atol=1e-9)


@pytest.mark.parametrize("degrees", [0, 40, 180])
def test_points_on_a_line_turn_as_little_as_they_must(degrees):
    line = np.array([[0.0, 0, 0], [10, 0, 0], [25, 0, 0]])
    turn = Rotation.from_euler("z", degrees, degrees=True).as_matrix()
    linear = rigid_fit(line, line @ turn.T)
    np.testing.assert_allclose(linear(line), line @ turn.T, atol=1e-9)
    angle = np.degrees(Rotation.from_matrix(linear.matrix[:3, :3]).magnitude())
    assert angle == pytest.approx(degrees, abs=1e-4)


def test_scale_and_shear_are_taken_where_they_predict_pairs_left_out():
    points = landmarks(3, 12)
    noise = np.random.default_rng(1).normal(0, 0.3, points.shape)
    scaled = LinearTransform.from_parts(1.2 * TURN, np.zeros(3))
    sheared = LinearTransform.from_parts(TURN @ [[1, 0.3, 0], [0, 1, 0.2], [0, 0, 1]], np.zeros(3))
    kinds = [
        fit_landmarks(points, truth(points) + noise, tolerance_mm=1.0, affine=True).kind
        for truth in (FAR, scaled, sheared)
    ]
    assert kinds == ["rigid", "similarity", "affine"]


def test_a_pair_that_contradicts_the_others_is_left_out_and_named():
    points = landmarks(3, 8)
    partners = FAR(points)
    partners[5] += [0, 60, 0]
    names = tuple("ABCDEFGH")
    image = seen(CUBE).grid
    start = LandmarkStart.of(
        guide(points, partners, names=names), image, image, LinearAlignment.RIGID
    )
    np.testing.assert_allclose(start.fit.linear.matrix, FAR.matrix, atol=1e-6)
    (note,) = (n for n in start.doubts(LinearAlignment.RIGID) if "far from" in n)
    assert "F (60 mm)" in note
    assert "E" not in note.split(":")[1].split(";")[0].replace("F", "")


@pytest.mark.parametrize("count", [3, 5, 6, 12])
def test_pairs_of_anatomy_that_bends_contradict_nothing(count):
    points = landmarks(3, count, seed=4)
    bent = FAR(points + 3 * np.sin(points[:, ::-1] / 12))
    fit = fit_landmarks(points, bent, tolerance_mm=1.0, affine=False)
    assert fit.inliers.all()


def test_a_mirror_image_is_refused_and_never_made_by_a_reflection():
    points = landmarks(3, 8)
    with pytest.raises(InvalidOption, match="mirror image"):
        fit_landmarks(points, points * [-1, 1, 1], tolerance_mm=1.0, affine=True)


def test_points_in_ras_are_asked_about():
    grid = Grid((40, 44, 36), (2, 2, 2), (60.0, 80.0, -36.0), CUBE.direction)
    inside = landmarks(3, 5) + grid.center
    assert check_landmarks(guide(inside, inside), grid, grid) == []
    with pytest.raises(InvalidOption, match=r"fixed landmarks.*are they in RAS"):
        check_landmarks(guide(inside * [-1, -1, 1], inside), grid, grid)
    with pytest.raises(InvalidOption, match=r"moving landmarks.*are they in RAS"):
        check_landmarks(guide(inside, inside * [-1, -1, 1]), grid, grid)


def test_half_a_turn_about_the_body_is_doubted_as_a_mix_of_frames():
    points = landmarks(3, 5)
    start = LandmarkStart.of(guide(points, points * [-1, -1, 1]), CUBE, CUBE, LinearAlignment.RIGID)
    assert any("RAS instead of LPS" in note for note in start.doubts(LinearAlignment.RIGID))


def test_points_far_outside_are_refused_and_those_at_the_edge_are_named():
    inside = landmarks(3, 3)
    outside = inside.copy()
    outside[1] = [0, 0, 300]
    with pytest.raises(InvalidOption, match="outside of the moving image: got B"):
        check_landmarks(guide(inside, outside, names=("A", "B", "C")), CUBE, CUBE)
    edge = inside.copy()
    edge[2] = [42, 0, 0]
    (note,) = check_landmarks(guide(edge, inside, names=("A", "B", "C")), CUBE, CUBE)
    assert note == "landmarks a little outside of the fixed image: C"


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"moving": [[0, 0, 0]]}, "2 fixed points, 1 moving"),
        ({"fixed": [], "moving": []}, "at least one"),
        ({"weight": -1.0}, "weight.*-1"),
        ({"weight": float("nan")}, "weight.*nan"),
        ({"tolerance_mm": 0.0}, "tolerance"),
        ({"tolerance_mm": "2 mm"}, "tolerance.*2 mm"),
        ({"fixed": [[0, 0, 0], [0, float("nan"), 0]]}, "finite"),
        ({"fixed": "ab"}, "fixed landmarks"),
        ({"fixed": [[1, 1, 1], [1, 1, 1]]}, "one point of the fixed image.*1 and 2.*9 mm apart"),
        ({"moving": [[1, 1, 1], [1, 1, 1]]}, "one point of the moving image"),
    ],
)
def test_a_guide_that_means_nothing_is_refused(wrong, words):
    right = {"fixed": [[0, 0, 0], [9, 0, 0]], "moving": [[0, 0, 0], [9, 0, 0]]}
    with pytest.raises(InvalidOption, match=words):
        LandmarkGuide(**{**right, **wrong})


def test_a_guide_is_the_same_after_a_record_and_twice_exchanged():
    one = guide([[1, 2, 3]], [[4, 5, 6]], names=("A",), weight=0.5, tolerance_mm=3.0)
    assert LandmarkGuide.from_record(one.as_record()) == one
    assert one.exchange_sides().fixed == one.moving
    assert one.exchange_sides().exchange_sides() == one
    with pytest.raises(InvalidOption, match="'sigma'"):
        LandmarkGuide.from_record({**one.as_record(), "sigma": 1})


def test_files_are_paired_by_name_and_tables_may_be_in_ras(tmp_path):
    (tmp_path / "f.csv").write_text("name,x,y,z\nA,1,2,3\nB,4,5,6\n")
    (tmp_path / "m.csv").write_text("name,x,y,z\nB,40,50,60\nA,10,20,30\n")
    files = tmp_path / "f.csv", tmp_path / "m.csv"
    assert LandmarkGuide.read(*files).moving == ((10, 20, 30), (40, 50, 60))
    assert LandmarkGuide.read(*files, frame="RAS").moving == ((-10, -20, 30), (-40, -50, 60))
    with pytest.raises(InvalidOption, match=r"frame of landmarks.*'IJK'"):
        LandmarkGuide.read(*files, frame="IJK")
    (tmp_path / "m.csv").write_text("name,x,y,z\nB,40,50,60\nC,10,20,30\n")
    with pytest.raises(InvalidOption, match="without a partner: A, C"):
        LandmarkGuide.read(*files)


def test_an_initial_field_is_inverted_at_points(smooth_field):
    turn = Rotation.from_euler("xyz", (70, 10, 30), degrees=True).as_matrix()
    linear = LinearTransform.from_parts(turn, np.array([5.0, 3.0, -4.0]))
    points = landmarks(3, 20)
    field = DisplacementField.from_linear(linear, CUBE)
    bent = DisplacementField(field.vectors + smooth_field(CUBE, 5.0).vectors, CUBE)
    np.testing.assert_allclose(invert_at(bent, bent(points)), points, atol=5e-3)


@pytest.mark.parametrize("grid", [CUBE, SQUARE], ids=["3D", "2D"])
def test_a_bend_takes_pairs_within_their_tolerance_and_leaves_far_places(grid):
    d = grid.dimension
    points = np.zeros((1, d))
    shift = np.array([6.0, -4.0, 3.0])[:d]
    velocity = Velocity(torch.zeros(d, *grid.shape))
    targets = LandmarkTargets(points, points + shift, 1.0, 1.0)
    cost = LandmarkCost(targets, grid, velocity.step)
    before = float(cost(velocity.displacement()))
    cost.bend(velocity)
    moved = DisplacementField.from_voxels(velocity.at_full_size(), grid)
    assert np.linalg.norm(moved(points) - targets.targets) < 1.0
    assert float(cost(velocity.displacement())) < 0.1 * before
    assert cost.nats(velocity) == 0


def test_a_pull_moves_the_neighborhood_and_not_one_control_point():
    velocity = Velocity(torch.zeros(3, *CUBE.shape))
    cost = LandmarkCost(
        LandmarkTargets(np.zeros((1, 3)), np.full((1, 3), 6.0), 1.0, 1.0), CUBE, velocity.step
    )
    displacement = velocity.displacement().requires_grad_()
    cost(displacement).backward()
    size = displacement.grad.norm(dim=0)
    assert int((size > 0.3 * size.max()).sum()) > 100


@pytest.fixture(scope="module")
def contradicting_images():
    """A body and noise: only landmarks know how the one comes onto the other."""
    moving = seen(CUBE, contrast=lambda v: 0 * v, noise=20, seed=5)
    return seen(CUBE), moving


def test_pairs_lead_where_the_images_say_nothing(contradicting_images):
    points, others = landmarks(3, 25, seed=1), landmarks(3, 50, seed=2)
    shift = np.array([7.0, 4.0, -5.0])
    bend = lambda p: p + shift + 4 * np.sin(p / 15)  # noqa: E731
    result = register(
        *contradicting_images,
        "convex",
        refinement=FieldRefinement(steps=4),
        landmarks=guide(points, bend(points), tolerance_mm=1.0),
    )
    assert np.linalg.norm(result.field(others) - bend(others), axis=1).mean() < 2.0
    assert np.linalg.norm(result.field(points) - bend(points), axis=1).mean() < 1.5
    back = result.inverse_field(result.field(others))
    assert np.linalg.norm(back - others, axis=1).max() < 0.3
    assert result.outcome.folding_percent == 0
    assert any("no proof" in warning for warning in result.warnings)


def test_pairs_beyond_their_tolerance_are_named_in_the_result():
    fixed = seen(SQUARE)
    points = landmarks(2, 6)
    partners = points.copy()
    partners[2] += [14, 0]
    result = register(
        fixed, seen(SQUARE, seed=1), "convex", refinement=QUICK,
        landmarks=guide(points, partners, names=tuple("ABCDEF"), tolerance_mm=1.0, weight=0.2),
    )  # fmt: skip
    record = result.provenance["landmarks"]
    assert record["initial_mm"][2] == pytest.approx(14)
    assert record["final_mm"][2] > 1
    (named,) = (w for w in result.warnings if "farther from their partners" in w)
    assert "C (" in named
