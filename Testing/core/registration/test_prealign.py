"""The linear stage finds known transforms from hard starts."""

import numpy as np
import pytest
import torch
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.image import Image
from neuralreg.geometry.linear import LinearTransform
from neuralreg.registration.linear_search import LinearCandidates, mutual_information
from neuralreg.registration.options import LinearAlignment
from neuralreg.registration.prealign import prealign, right_turns
from scipy.spatial.transform import Rotation

from Testing.support.phantom import CUBE, SQUARE, landmarks, seen


def turn(degrees: tuple[float, float, float]) -> np.ndarray:
    return Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()


def error_mm(found: LinearTransform, truth: LinearTransform) -> float:
    points = landmarks(found.dimension)
    return float(np.linalg.norm(found(points) - truth(points), axis=1).mean())


def pair(truth: LinearTransform, grid: Grid = CUBE, moving_grid: Grid | None = None, **how):
    """A fixed and a moving image such that `truth` leads from the first to the second."""
    back = truth.inverse()
    return seen(grid), seen(moving_grid or grid, back, seed=1, **how)


def test_a_rigid_motion_is_found():
    truth = LinearTransform.from_parts(turn((8, -12, 10)), np.array([9.0, -7.0, 5.0]))
    found = prealign(*pair(truth), LinearAlignment.RIGID)
    assert error_mm(found.linear, truth) < 1.0
    assert found.linear.determinant == pytest.approx(1, abs=1e-4)


def test_an_affine_is_found_with_inverted_contrast():
    stretch = np.array([[1.1, 0.05, 0], [0.05, 0.93, 0], [0, 0, 1.04]])
    truth = LinearTransform.from_parts(turn((4, 5, -6)) @ stretch, np.array([3.0, 4.0, -5.0]))
    found = prealign(*pair(truth, contrast=lambda v: 80 * np.exp(-3 * v)), LinearAlignment.AFFINE)
    assert error_mm(found.linear, truth) < 1.5
    assert found.linear.determinant > 0


def test_images_that_do_not_overlap_are_brought_together():
    truth = LinearTransform.from_parts(np.eye(3), np.array([600.0, -400.0, 300.0]))
    far = Grid(
        CUBE.size, CUBE.spacing, tuple(np.add(CUBE.origin, [600, -400, 300])), CUBE.direction
    )
    found = prealign(*pair(truth, moving_grid=far))
    assert found.information[0] < 0.01 < found.information[1]
    assert error_mm(found.linear, truth) < 1.0


def test_a_patient_turned_by_90_degrees_is_turned_back():
    truth = LinearTransform.from_parts(turn((90, 0, 0)), np.zeros(3))
    cube = CUBE.pad((0, 0, 6))
    found = prealign(*pair(truth, grid=cube), LinearAlignment.RIGID)
    assert found.start.startswith("turned")
    assert error_mm(found.linear, truth) < 1.5


def test_identical_images_stay_where_they_are():
    image = seen(CUBE)
    found = prealign(image, image)
    assert error_mm(found.linear, LinearTransform.identity(3)) < 0.05


def test_half_a_field_of_view_does_not_pull_the_images_apart():
    truth = LinearTransform.from_parts(turn((3, -4, 5)), np.array([4.0, 3.0, -2.0]))
    half = Grid((40, 44, 18), CUBE.spacing, (-40.0, -44.0, -36.0), CUBE.direction)
    found = prealign(*pair(truth, moving_grid=half), LinearAlignment.RIGID)
    assert error_mm(found.linear, truth) < 2.0


def test_two_dimensions_take_the_same_path():
    c, s = np.cos(0.25), np.sin(0.25)
    truth = LinearTransform.from_parts(np.array([[c, -s], [s, c]]), np.array([6.0, -4.0]))
    found = prealign(*pair(truth, grid=SQUARE), LinearAlignment.RIGID)
    assert error_mm(found.linear, truth) < 1.0


def test_a_mask_keeps_a_bright_intruder_from_deciding():
    truth = LinearTransform.from_parts(np.eye(3), np.array([6.0, 0.0, 0.0]))
    fixed, moving = pair(truth)
    intruder = moving.data.clone()
    intruder[:, :6] = 300  # a plate that is in one image only
    mask = torch.ones_like(intruder)
    mask[:, :8] = 0
    moving = Image(intruder, moving.grid)
    found = prealign(fixed, moving, LinearAlignment.RIGID, moving_mask=Image(mask, moving.grid))
    assert error_mm(found.linear, truth) < 1.5


@pytest.mark.parametrize(
    ("how", "moves"), [(LinearAlignment.NONE, False), (LinearAlignment.CENTER, True)]
)
def test_the_stage_goes_no_further_than_it_may(how, moves):
    truth = LinearTransform.from_parts(turn((0, 0, 15)), np.array([12.0, 0.0, 0.0]))
    found = prealign(*pair(truth), how)
    assert found.kind is how
    np.testing.assert_allclose(found.linear.matrix[:3, :3], np.eye(3), atol=1e-6)
    assert bool(np.abs(found.linear.matrix[:3, 3]).max() > 1) is moves


def test_no_parameters_give_a_reflection():
    generator = torch.Generator().manual_seed(0)
    for d in (2, 3):
        theta = torch.randn(50, LinearCandidates.size(d), generator=generator)
        guess = LinearCandidates(torch.eye(d).expand(50, d, d), theta, 30.0)
        assert (torch.linalg.det(guess.matrices()) > 0).all()


def test_there_are_23_right_turns_in_3d_and_3_in_2d():
    assert [len(right_turns(d)) for d in (3, 2)] == [23, 3]
    assert all(np.linalg.det(m) == pytest.approx(1) for m in right_turns(3))


def test_the_gradient_of_mutual_information_is_that_of_finite_differences():
    generator = torch.Generator().manual_seed(0)
    one, two = torch.rand(2, 1, 400, generator=generator)
    weight = torch.rand(1, 400, generator=generator)
    two.requires_grad_()
    mutual_information(one, two, weight).sum().backward()
    chosen = torch.randint(400, (20,), generator=generator).unique()
    step = 2e-3
    for i in chosen.tolist():
        near = [two.detach().clone() for _ in range(2)]
        near[0][0, i] += step
        near[1][0, i] -= step
        if (near[0] * 31).floor()[0, i] != (near[1] * 31).floor()[0, i]:
            continue  # a bin's edge lies between: the value has a kink there
        up, down = (mutual_information(one, v, weight).double() for v in near)
        assert float(up - down) / (2 * step) == pytest.approx(
            float(two.grad[0, i]), rel=0.05, abs=3e-4
        )


def test_mutual_information_of_a_permuted_copy_is_its_entropy():
    values = torch.arange(32).repeat(50)[None] / 31  # each value in the middle of one bin
    information = mutual_information(values, 1 - values, torch.ones_like(values))
    assert float(information) == pytest.approx(np.log(32), rel=1e-3)
