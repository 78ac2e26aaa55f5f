"""Similarities, against MONAI, SciPy, SimpleITK and closed forms."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from monai.losses import GlobalMutualInformationLoss, LocalNormalizedCrossCorrelationLoss
from neuralreg.errors import InvalidOption
from neuralreg.measures.local_correlation import lncc, lncc_gaussian, lncc_unigradicon
from neuralreg.measures.similarity import SIMILARITIES, mind, mutual_information, ncc, ngf, ssd
from scipy import ndimage

SHAPES = {"3D": (13, 12, 14), "2D": (17, 16)}


def textured(shape: tuple[int, ...], seed: int) -> torch.Tensor:
    """Smooth noise in 0..1, (1, 1, z, y, x), double precision."""
    values = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), 1.0)
    values = (values - values.min()) / np.ptp(values)
    return torch.from_numpy(values)[None, None]


@pytest.fixture(params=SHAPES.values(), ids=SHAPES.keys())
def a_pair(request):
    """Two different images of one size."""
    return textured(request.param, 1), textured(request.param, 2)


@pytest.fixture(params=SIMILARITIES.values(), ids=SIMILARITIES.keys())
def a_similarity(request):
    """Each similarity by name."""
    return request.param


def test_equal_images_are_the_most_similar(a_similarity, a_pair):
    fixed, other = a_pair
    assert a_similarity(fixed, fixed) < a_similarity(fixed, other) - 1e-3


def test_a_shift_away_makes_an_image_less_similar_step_by_step(a_similarity, a_pair):
    fixed, _ = a_pair
    last = -1
    values = [float(a_similarity(fixed, fixed.roll(n, last))) for n in (0, 1, 2)]
    assert values == sorted(values)
    assert values[0] < values[1]


def test_voxels_without_weight_do_not_count(a_similarity, a_pair):
    """Not even through the windows of their neighbors."""
    fixed, warped = a_pair
    weight = torch.ones_like(fixed)
    weight[:, :, :, :5] = 0
    spoiled = warped.clone()
    spoiled[:, :, :, :5] = torch.rand_like(spoiled[:, :, :, :5])
    if a_similarity in (ngf, mind):  # whose neighborhoods reach further, as they say
        weight[:, :, :, :9] = 0
    rest = a_similarity(fixed, warped, weight=weight)
    found = a_similarity(fixed, spoiled, weight=weight)
    if a_similarity in (ngf, mind):  # the noise level of the whole image enters as well
        assert float(found) == pytest.approx(float(rest), rel=0.1)
    else:
        assert float(found) == pytest.approx(float(rest), abs=1e-6)
    assert abs(float(a_similarity(fixed, spoiled) - a_similarity(fixed, warped))) > 1e-5


def test_half_the_weight_everywhere_changes_nothing(a_similarity, a_pair):
    fixed, warped = a_pair
    one, half = (a_similarity(fixed, warped, weight=torch.full_like(fixed, w)) for w in (1.0, 0.5))
    assert float(half) == pytest.approx(float(one), abs=1e-6)


def test_gradients_are_those_of_finite_differences(a_similarity, a_pair):
    # Away from the ends of the range, at which mutual information clamps, and with the noise level
    # given, which NGF otherwise takes from the image without a gradient.
    fixed, warped = (0.1 + 0.8 * image for image in a_pair)
    measure = partial(ngf, edge=0.1) if a_similarity is ngf else a_similarity
    warped = warped.clone().requires_grad_()
    measure(fixed, warped).backward()
    way = textured(tuple(fixed.shape[2:]), 3) - 0.5
    step = 1e-5
    with torch.no_grad():
        ahead = measure(fixed, warped + step * way)
        behind = measure(fixed, warped - step * way)
    slope = float((ahead - behind) / (2 * step))
    along = float((warped.grad * way).sum())
    assert along == pytest.approx(slope, rel=1e-3, abs=1e-6)


def test_constant_images_give_numbers_and_gradients(a_similarity):
    fixed = torch.full((1, 1, 12, 12, 12), 0.5)
    warped = fixed.clone().requires_grad_()
    value = a_similarity(fixed, warped)
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(warped.grad).all()


def test_images_stay_as_they_were(a_similarity, a_pair):
    before = [image.clone() for image in a_pair]
    a_similarity(*a_pair, weight=torch.ones_like(a_pair[0]))
    assert all(torch.equal(a, b) for a, b in zip(a_pair, before, strict=True))


def test_squared_differences_and_global_correlation_are_numpys(a_pair):
    f, m = (image.numpy().ravel() for image in a_pair)
    assert float(ssd(*a_pair)) == pytest.approx(((f - m) ** 2).mean())
    assert float(ncc(*a_pair)) == pytest.approx(1 - np.corrcoef(f, m)[0, 1])


@pytest.mark.parametrize("measure", [ncc, lncc, lncc_gaussian, lncc_unigradicon])
def test_correlations_are_blind_to_brightness_and_contrast(measure, a_pair):
    fixed, warped = (100 * image for image in a_pair)
    assert float(measure(fixed, 3 * warped + 20)) == pytest.approx(
        float(measure(fixed, warped)), abs=0.02 if measure is lncc_unigradicon else 1e-5
    )


@pytest.mark.parametrize("size", [3, 5, 9])
def test_box_windows_agree_with_monai_away_from_the_border(a_pair, size):
    """MONAI counts zeros beyond the border: there the definitions differ."""
    fixed, warped = a_pair
    rest = size // 2
    inside = (slice(None), slice(None), *[slice(rest, n - rest) for n in fixed.shape[2:]])
    weight = torch.zeros_like(fixed)
    weight[inside] = 1
    oracle = LocalNormalizedCrossCorrelationLoss(
        fixed.dim() - 2, size, "rectangular", reduction="none", smooth_dr=1e-12
    )
    wanted = 1 + float(oracle(warped, fixed)[inside].mean())
    counted = lncc_map_mean(fixed, warped, inside, size)
    assert counted == pytest.approx(wanted, abs=1e-6)


def lncc_map_mean(fixed, warped, inside, size):
    """Our measure on those windows alone: each is cut out and seen as an image of its own."""
    unfolded = []
    for image in (fixed, warped):
        for axis in range(2, fixed.dim()):
            image = image.unfold(axis, size, 1)
        unfolded.append(image.reshape(-1, 1, *[size] * (fixed.dim() - 2)))
    every = torch.ones_like(unfolded[0])
    # With twice the size, each window of ours sees the whole of its cut-out.
    return float(lncc(*unfolded, size=2 * size - 1, epsilon=1e-14, weight=every))


def test_gaussian_windows_agree_with_scipys_filter_away_from_the_border():
    fixed, warped = (torch.from_numpy(textured((40, 41), s).numpy()) for s in (1, 2))
    sigma = 2.0

    def blur(values):
        return ndimage.gaussian_filter(values, sigma, truncate=3.0, mode="mirror")

    f, m = fixed.numpy()[0, 0], warped.numpy()[0, 0]
    cov = blur(f * m) - blur(f) * blur(m)
    variances = [blur(i * i) - blur(i) ** 2 + 1e-5 for i in (f, m)]
    wanted = 1 - cov**2 / (variances[0] * variances[1])
    found = lncc_gaussian(fixed, warped, sigma=sigma)
    # The border, a sixth of the image on each side, may change the mean a little.
    assert float(found) == pytest.approx(wanted.mean(), abs=0.02)


def test_unigradicons_form_is_its_formula_with_zeros_beyond_the_border(a_pair):
    f, m = (image.numpy()[0, 0] for image in a_pair)

    def blur(values):
        return ndimage.gaussian_filter(values, 5.0, radius=10, mode="constant")

    cov = blur(f * m) - blur(f) * blur(m)
    variances = [np.maximum(blur(i * i) - blur(i) ** 2, 0) + 1e-5 for i in (f, m)]
    wanted = 1 - (cov / np.sqrt(variances[0] * variances[1])).mean()
    assert float(lncc_unigradicon(*a_pair)) == pytest.approx(wanted, abs=1e-9)


def test_windows_without_structure_are_dissimilar():
    flat = torch.full((1, 1, 12, 12), 0.3)
    assert float(lncc(flat, textured((12, 12), 1).float())) == pytest.approx(1, abs=1e-4)


def test_mutual_information_is_monais(a_pair):
    fixed, warped = a_pair
    oracle = GlobalMutualInformationLoss("gaussian", num_bins=23, sigma_ratio=0.5)
    assert float(mutual_information(fixed, warped)) == pytest.approx(
        float(oracle(warped.float(), fixed.float())), abs=1e-4
    )


def test_an_image_tells_of_itself_as_much_as_its_entropy():
    bins = 8
    fixed = (torch.arange(4096).view(1, 1, 16, 16, 16) % bins).double() / (bins - 1)
    found = mutual_information(fixed, 1 - fixed, bins=bins, sigma_ratio=0.05)
    assert float(found) == pytest.approx(-np.log(bins), abs=1e-4)


def test_ngf_sees_parallel_edges_whatever_their_sign():
    x = torch.linspace(0, 1, 12, dtype=torch.float64)
    ramp_x = x.expand(1, 1, 12, 12, 12)
    ramp_y = ramp_x.transpose(-1, -2)
    assert float(ngf(ramp_x, -5 * ramp_x, edge=1e-9)) == pytest.approx(0, abs=1e-6)
    assert float(ngf(ramp_x, ramp_y, edge=1e-9)) == pytest.approx(1, abs=1e-6)
    diagonal = ramp_x + ramp_y
    assert float(ngf(ramp_x, diagonal, edge=1e-9)) == pytest.approx(0.5, abs=1e-6)
    # A gradient as long as the noise counts half in each image.
    assert float(ngf(ramp_x, ramp_x, edge=1 / 11)) == pytest.approx(0.75)


def test_ngf_takes_angles_in_mm():
    x = torch.arange(8.0).expand(1, 1, 8, 8, 8)
    y = x.transpose(-1, -2)
    tilted = x + 2 * y  # in voxels; with y twice as coarse this is the diagonal
    found = ngf(x, tilted, edge=1e-6, spacing_mm=(1, 2, 1))
    assert float(found) == pytest.approx(0.5, abs=1e-5)


def test_ngfs_gradient_is_itks():
    fixed = textured((13, 12, 14), 1).float()
    image = sitk.GetImageFromArray(fixed[0, 0].numpy())
    image.SetSpacing((1.0, 2.0, 3.0))
    gradient = sitk.GetArrayFromImage(sitk.Gradient(image))
    length = np.linalg.norm(gradient, axis=-1)[1:-1, 1:-1, 1:-1]
    weight = torch.zeros_like(fixed)
    weight[:, :, 1:-1, 1:-1, 1:-1] = 1
    wanted = 1 - (length**2 / (length**2 + 0.1**2)) ** 2
    found = ngf(fixed, fixed, edge=0.1, spacing_mm=(1, 2, 3), weight=weight)
    assert float(found) == pytest.approx(wanted.mean(), rel=1e-4)


def test_mind_compares_a_photograph_with_its_negative():
    fixed, other = textured((16, 16, 16), 1).float(), textured((16, 16, 16), 2).float()
    assert float(mind(fixed, 1 - 0.5 * fixed)) < 0.05 * float(mind(fixed, other))


@pytest.mark.parametrize("size", [4, 1])
def test_windows_without_a_middle_are_refused(size, a_pair):
    with pytest.raises(InvalidOption, match="middle"):
        lncc(*a_pair, size=size)


def test_a_gaussian_without_width_is_refused(a_pair):
    with pytest.raises(InvalidOption, match="width"):
        lncc_gaussian(*a_pair, sigma=0.0)


def odd_images(shape: tuple[int, ...]) -> dict[str, torch.Tensor]:
    """Constant, binary, saturated and nearly empty images, (1, 1, z, y, x)."""
    noise = torch.rand((1, 1, *shape), generator=torch.Generator().manual_seed(0))
    one_voxel = torch.zeros_like(noise)
    one_voxel.view(-1)[-1] = 1.0
    return {
        "constant": torch.full_like(noise, 0.5),
        "dark": torch.zeros_like(noise),
        "binary": (noise > 0.5).float(),
        "saturated": (2 * noise).clamp(max=1) * 1.0000001,
        "one voxel": one_voxel,
        "noise": noise,
    }


@pytest.mark.parametrize("shape", [(6, 5, 7), (6, 7), (1, 1, 1), (1, 1)], ids=str)
def test_every_similarity_and_its_gradient_are_finite(a_similarity, shape):
    images = odd_images(shape)
    for fixed in images.values():
        for warped in images.values():
            for weight in (None, images["one voxel"], images["dark"]):
                moving = warped.clone().requires_grad_()
                value = a_similarity(fixed, moving, weight=weight)
                (gradient,) = torch.autograd.grad(value, moving)
                assert value.isfinite()
                assert gradient.isfinite().all()
