"""The parts of the default engine, one by one."""

import numpy as np
import pytest
import torch
from neuralreg.errors import IncompatibleModel
from neuralreg.geometry.sampling import index_grid, sample
from neuralreg.geometry.smoothing import box_mean, box_sum
from neuralreg.measures.correlation_cost import LocalCorrelation
from neuralreg.measures.mind import mind_ssc, stride_of
from neuralreg.networks.convex import ConvexSearch, couple
from neuralreg.progress import silent
from neuralreg.registration.adam import descend
from neuralreg.registration.channels.channel_costs import gain_scatter
from neuralreg.registration.options import PRESETS, FieldRefinement
from neuralreg.registration.refine import Velocity, refine_velocity
from neuralreg.registration.unfold import least_determinant, unfold_velocity
from neuralreg.registration.working_grid import (
    WorkingPair,
    equalize,
    foreground,
    unit_intensities,
    work_grid,
)
from scipy import ndimage

from Testing.support.phantom import CUBE, SQUARE, seen


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def test_windows_made_in_inference_mode_take_gradients_later():
    n = 23  # of no other test, so that its windows are made here
    with torch.inference_mode():
        box_mean(torch.rand(1, 1, n, n, dtype=torch.float64), 1)
        box_sum(torch.rand(n, n), 2)
    image = torch.rand(1, 1, n, n, dtype=torch.float64, requires_grad=True)
    flat = torch.rand(n, n, requires_grad=True)
    (box_mean(image, 1).square().sum() + box_sum(flat, 2).square().sum()).backward()
    assert float(image.grad.abs().sum()) > 0
    assert float(flat.grad.abs().sum()) > 0


@pytest.mark.parametrize("shape", [(9, 10, 11), (14, 15)])
def test_mind_is_the_patch_distance_of_its_definition(shape):
    image = noise(*shape).numpy()
    found = mind_ssc(torch.from_numpy(image)[None, None])[0].numpy()
    d = len(shape)
    steps = [s * np.eye(d, dtype=int)[k] for k in range(d) for s in (1, -1)]
    pairs = [(a, b) for i, a in enumerate(steps) for b in steps[i + 1 :] if a @ b == 0]
    wide = np.pad(image, 2, mode="edge")

    def at(step):
        return wide[
            tuple(slice(2 + 2 * s, 2 + 2 * s + n) for s, n in zip(step, shape, strict=True))
        ]

    ssd = np.stack(
        [ndimage.uniform_filter((at(a) - at(b)) ** 2, 3, mode="nearest") for a, b in pairs]
    )
    ssd -= ssd.min(0)
    variance = ssd.mean(0)
    wanted = np.exp(-ssd / np.clip(variance, 1e-3 * variance.mean(), 1e3 * variance.mean()))
    inner = (slice(None), *(slice(3, -3) for _ in shape))  # borders repeat after the difference
    order = [np.abs(found[inner] - w[inner[1:]]).mean((*range(1, d + 1),)).min() for w in wanted]
    assert max(order) < 1e-5
    assert found.shape == (12 if d == 3 else 4, *shape)


def test_mind_does_not_care_about_contrast():
    image = noise(1, 1, 12, 12, 12)
    assert torch.allclose(mind_ssc(image), mind_ssc(5 - 3 * image), atol=1e-4)


def test_a_box_mean_is_that_of_scipy():
    image = noise(1, 1, 7, 9, 8)
    wanted = ndimage.uniform_filter(image[0, 0].double().numpy(), 5, mode="nearest")
    np.testing.assert_allclose(box_mean(image, 2)[0, 0].numpy(), wanted, atol=1e-6)


def test_a_box_sum_is_its_own_transpose():
    one, two = noise(6, 7, 5).double(), noise(6, 7, 5, seed=1).double()
    left, right = (box_sum(one, 2) * two).sum(), (one * box_sum(two, 2)).sum()
    assert float(left) == pytest.approx(float(right))


def test_the_gradient_of_local_correlation_is_that_of_finite_differences():
    fixed, seen_there = noise(7, 6, 8).double(), (noise(7, 6, 8, seed=2) > 0.2).double()
    warped = noise(7, 6, 8, seed=1).double().requires_grad_()
    assert torch.autograd.gradcheck(LocalCorrelation(fixed, seen_there, 2), (warped,))


def test_local_correlation_is_one_for_a_brighter_copy_and_minus_one_for_its_negative():
    image = noise(12, 12, 12)
    windows = LocalCorrelation(image, torch.ones_like(image), 2)
    assert float(windows(0.2 + 0.7 * image)) == pytest.approx(-1, abs=0.01)
    assert float(windows(1 - image)) == pytest.approx(1, abs=0.01)


def test_descent_reaches_the_bottom_of_a_bowl():
    found = descend(torch.tensor([3.0, -4.0]), lambda p: (p**2).sum(), steps=80, rate=0.3)
    assert found.abs().max() < 0.15


def test_a_floor_leaves_parameters_with_negligible_gradients_alone():
    def loss(p):
        return (p[0] - 1) ** 2 + 1e-6 * p[1]

    start = torch.zeros(2)
    assert abs(descend(start, loss, steps=20, rate=0.1)[1]) > 0.5
    assert abs(descend(start, loss, steps=20, rate=0.1, floor=1.0)[1]) < 1e-3


def test_coupling_takes_the_cheapest_label_where_all_agree():
    costs = torch.ones(5 * 5, 6, 6)
    costs[3 * 5 + 1] = 0  # label (1, -1)
    field = couple(costs, (2, 2))
    assert torch.equal(field, torch.tensor([1.0, -1.0]).view(2, 1, 1).expand(2, 6, 6))


@pytest.mark.parametrize(("grid", "shift"), [(CUBE, (6.0, -4.0, 2.0)), (SQUARE, (6.0, -4.5))])
def test_the_search_finds_a_shift_in_voxels_x_y_z(grid, shift):
    fixed, moving = (unit_intensities(seen(grid, f)) for f in (lambda p: p, lambda p: p - shift))
    found = ConvexSearch()(fixed[None], moving[None])[0]
    body = unit_intensities(seen(grid))[0] > 0.4
    mean = found[:, body].mean(1) * torch.tensor(grid.spacing)
    assert (mean - torch.tensor(shift)).abs().max() < 0.3 * 4 * min(grid.spacing)  # of a cell


def halved(image):
    """MIND-SSC for each two voxels along each axis, the last one of an odd axis alone."""
    d = image.dim() - 2
    pool = (torch.nn.functional.avg_pool2d, torch.nn.functional.avg_pool3d)[d - 2]
    return pool(mind_ssc(image), 2, ceil_mode=True, count_include_pad=False)


@pytest.mark.parametrize("shape", [(1, 20, 17, 23), (1, 21, 30)])
def test_descriptions_may_be_one_for_two_voxels(shape):
    one, two = noise(*shape), noise(*shape, seed=1)
    assert stride_of(halved(one[None]), shape[1:]) == (2,) * (len(shape) - 1)
    one, two = one[None], two[None]
    whole, half = (ConvexSearch(describe)(one, two) for describe in (mind_ssc, halved))
    assert torch.allclose(whole, half, atol=1e-4)
    with pytest.raises(IncompatibleModel, match="cell 6, wanted a multiple of 4 voxels"):
        ConvexSearch(halved, cell=6)(one, two)


def a_pair(grid, through, **how) -> WorkingPair:
    fixed, moving = (
        unit_intensities(seen(grid, f, **h)) for f, h in ((lambda p: p, {}), (through, how))
    )
    everywhere = torch.ones_like(fixed[0])
    return WorkingPair(fixed, moving, everywhere, everywhere > 0, grid)


def test_refinement_improves_a_field_and_never_folds_it():
    grid = SQUARE
    pair = a_pair(grid, lambda p: p + 2.5 * np.sin(p[..., ::-1] / 9))
    velocity = Velocity(torch.zeros(2, *grid.shape))
    done = refine_velocity(pair, velocity, FieldRefinement(), silent)
    assert done.kept == "lncc"
    assert done.information[-1] > 1.2 * done.information[0]
    displacement, _ = unfold_velocity(velocity)
    assert float(least_determinant(displacement).min()) > 0
    warped = sample(
        pair.moving, index_grid(grid.shape, like=displacement) + displacement.movedim(0, -1)
    )
    left = (warped - pair.fixed).abs().mean() / (pair.moving - pair.fixed).abs().mean()
    assert left < 0.4


def test_a_guess_that_misleads_is_left_for_the_linear_alignment():
    pair = a_pair(SQUARE, lambda p: p + 2.5 * np.sin(p[..., ::-1] / 9))
    right = Velocity(torch.zeros(2, *SQUARE.shape))
    expected = refine_velocity(pair, right, FieldRefinement(), silent)
    x = torch.arange(SQUARE.shape[1]).expand(SQUARE.shape)
    wrong = Velocity(12 * torch.stack((torch.sin(x / 5), torch.cos(x / 4))))
    done = refine_velocity(pair, wrong, FieldRefinement(), silent)
    assert (expected.start, done.start) == ("guess", "linear")
    assert done.information == expected.information
    assert torch.equal(wrong.points, right.points)


def test_identical_images_keep_the_linear_alignment():
    pair = a_pair(SQUARE, lambda p: p)
    velocity = Velocity(torch.zeros(2, *SQUARE.shape))
    refine_velocity(pair, velocity, FieldRefinement(), silent)
    assert velocity.at_full_size().abs().max() < 0.1


def test_gain_scatter_tells_one_modality_from_two():
    image = unit_intensities(seen(CUBE, noise=0))[0]
    seen_all = torch.ones_like(image)
    assert gain_scatter(image, 0.8 * image + 0.1, seen_all) < 0.1
    assert gain_scatter(image, torch.sin(3 * image), seen_all) > 0.4
    assert gain_scatter(image, torch.zeros_like(image), seen_all) == float("inf")


def test_folds_are_removed_where_they_are_and_nowhere_else():
    rough = torch.zeros(2, 60, 60)
    rough[:, 18:26, 18:26] = 60 * (noise(2, 8, 8) - 0.5)
    velocity = Velocity(rough)
    far = velocity.at_full_size()[:, :, 45:]
    assert float(least_determinant(velocity.at_full_size()).min()) <= 0
    mended, touched = unfold_velocity(velocity)
    assert float(least_determinant(mended).min()) > 0
    assert 0 < touched < 0.5
    assert torch.allclose(mended[:, :, 45:], far, atol=1e-3)


def test_the_least_determinant_sees_a_checkerboard_that_central_differences_miss():
    wave = torch.zeros(2, 12, 12)
    wave[0, :, ::2] = 0.8
    assert float(least_determinant(wave).min()) < 0.3
    assert float(least_determinant(torch.zeros(3, 4, 5, 6)).min()) == 1


def test_the_exponential_of_a_constant_velocity_is_its_shift():
    velocity = Velocity(torch.full((3, 12, 12, 12), 1.5))
    assert torch.allclose(velocity.at_full_size(), torch.full((3, 12, 12, 12), 1.5), atol=1e-5)
    assert torch.allclose(velocity.at_full_size(-1), torch.full((3, 12, 12, 12), -1.5), atol=1e-5)


def test_the_work_grid_has_cubes_of_the_same_field_of_view():
    thick = CUBE.resize((80, 88, 12))
    grid = work_grid(thick, 40_000)
    np.testing.assert_allclose(grid.extent_mm, thick.extent_mm)
    assert max(grid.spacing) / min(grid.spacing) < 1.05
    assert 30_000 < grid.count < 45_000


def test_a_single_slice_stays_a_single_slice():
    assert work_grid(CUBE.resize((40, 44, 1)), 10_000).size[2] == 1


def test_the_foreground_is_the_body():
    image = seen(CUBE, noise=1)
    body = foreground(image)
    truth = image.data[0] > 25
    overlap = 2 * (body & truth).sum() / (body.sum() + truth.sum())
    assert overlap > 0.85


def test_spreading_keeps_the_order_of_intensities():
    unit = noise(1, 8, 8, 8)
    spread_out = equalize(unit, torch.ones(8, 8, 8, dtype=torch.bool))
    assert torch.equal(unit.flatten().argsort(), spread_out.flatten().argsort())


def test_every_preset_has_a_reason():
    assert {"generic", "brain MR", "abdomen CT", "lung CT", "cardiac"} <= set(PRESETS)
    assert all(len(preset.reason) > 20 for preset in PRESETS.values())
