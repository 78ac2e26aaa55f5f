"""Losses against MONAI where they are equal, against their formulas where they are not."""

from __future__ import annotations

import monai.losses
import pytest
import torch
from monai.losses.image_dissimilarity import kernel_dict
from neuralreg.composition.transforms import from_displacement
from neuralreg.geometry.normalized import from_voxels, identity_map
from neuralreg.measures import local_correlation as home
from neuralreg.measures.local_correlation import lncc
from neuralreg.training.config.part_registry import DEFORMATION_LOSSES, IMAGE_LOSSES, LABEL_LOSSES
from neuralreg.training.model.methods import Prediction, voxels_of
from torch.nn import functional

torch.manual_seed(0)
SHAPE = (14, 12, 13)
FIXED, WARPED = torch.rand(2, 1, *SHAPE), torch.rand(2, 1, *SHAPE)
F_LABELS, W_LABELS = ((torch.rand(2, 3, *SHAPE) > 0.6).float(), torch.rand(2, 3, *SHAPE))


def image(name, fixed=FIXED, warped=WARPED, **options):
    return float(IMAGE_LOSSES.find(name)(fixed, warped, **options))


def label(name, fixed=F_LABELS, warped=W_LABELS, **options):
    return float(LABEL_LOSSES.find(name)(fixed, warped, **options))


def test_ssd_and_gmi_are_monais():
    assert image("ssd") == pytest.approx(float(functional.mse_loss(WARPED, FIXED)), rel=1e-5)
    wanted = monai.losses.GlobalMutualInformationLoss("gaussian")(WARPED, FIXED)
    assert image("gmi") == pytest.approx(float(wanted), rel=1e-4)
    wanted = monai.losses.GlobalMutualInformationLoss("gaussian", num_bins=10, sigma_ratio=1)
    found = image("gmi", num_bins=10, sigma_ratio=1)
    assert found == pytest.approx(float(wanted(WARPED, FIXED)), rel=2e-3)  # their epsilon


@pytest.mark.parametrize("kernel", ["rectangular", "triangular", "gaussian"])
def test_lncc_has_monais_kernels(kernel):
    """Ours leaves out zeros beyond the border: only windows inside of the image are compared."""
    taps = kernel_dict[kernel](5)
    window = (taps[:, None] * taps[None, :])[None, None] / taps.sum() ** 2
    fixed, warped = torch.rand(1, 1, 5, 5), torch.rand(1, 1, 5, 5)

    def mean(values):
        return float((values * window).sum())

    covariance = mean(fixed * warped) - mean(fixed) * mean(warped)
    spread = [mean(v * v) - mean(v) ** 2 for v in (fixed, warped)]
    wanted = 1 - covariance**2 / (spread[0] * spread[1])

    def of_window(fixed, warped):
        """The score of the window around the middle."""
        taps = home._KERNELS[kernel](5, fixed)
        covariance, f, w = home._moments(fixed, warped, home._blur(taps / taps.sum()))
        return float((1 - covariance**2 / (f * w))[..., 2, 2])

    assert of_window(fixed, warped) == pytest.approx(wanted, rel=1e-3)
    assert image("lncc", kernel_size=5, kernel_type=kernel) < 1


def test_lncc_of_constant_windows_is_1_and_of_equal_images_0():
    flat = torch.full((1, 1, 12, 12), 0.5)
    assert float(lncc(flat, flat)) == pytest.approx(1, abs=1e-4)  # MONAI: 0, DeepReg: -1
    smooth = functional.interpolate(torch.rand(1, 1, 4, 4), (24, 24), mode="bilinear")
    assert float(lncc(smooth, smooth)) < 0.05


def test_gncc_is_the_squared_correlation():
    f, w = (v.flatten(1) - v.flatten(1).mean(1, keepdim=True) for v in (FIXED, WARPED + FIXED))
    squared = ((f * w).sum(1) ** 2 / (f.square().sum(1) * w.square().sum(1))).sqrt().mean() ** 2
    found = image("gncc", FIXED, WARPED + FIXED)
    assert found == pytest.approx(1 - float(squared), rel=1e-3)
    assert image("gncc", FIXED, 1 - FIXED) == pytest.approx(0, abs=1e-5)
    assert image("ncc", FIXED, 1 - FIXED) == pytest.approx(2, abs=1e-5)


@pytest.mark.parametrize("name", ["ssd", "ncc", "lncc", "lncc_icon", "mind", "ngf", "gncc"])
def test_image_losses_know_what_does_not_count(name):
    weight = torch.zeros(2, 1, *SHAPE)
    weight[..., 3:-3, 3:-3, 3:-3] = 1
    spoiled = torch.where(weight > 0, WARPED, 5 * torch.rand_like(WARPED))
    options = {"kernel_size": 3} if name == "lncc" else {}
    plain = image(name, weight=weight, **options)
    with_noise = image(name, FIXED, spoiled, weight=weight, **options)
    if name in ("ssd", "ncc", "gncc", "lncc", "lncc_icon"):
        assert with_noise == pytest.approx(plain, rel=1e-3)
    assert plain != pytest.approx(image(name, **options), rel=1e-6)


def test_dice_and_jaccard_are_monais_without_a_background():
    common = {"reduction": "mean", "smooth_nr": 1e-5, "smooth_dr": 1e-5}
    wanted = monai.losses.DiceLoss(**common)(W_LABELS, F_LABELS)
    assert label("dice") == pytest.approx(float(wanted), rel=1e-5)
    wanted = monai.losses.DiceLoss(jaccard=True, **common)(W_LABELS, F_LABELS)
    assert label("jaccard") == pytest.approx(float(wanted), abs=2e-5)


@pytest.mark.parametrize("b", [0.1, 0.5, 0.9])
def test_a_background_weight_counts_what_is_not_there(b):
    """w_fg f w + w_bg (1 - f)(1 - w) over its sums, written out."""
    f, w = F_LABELS.flatten(2), W_LABELS.flatten(2)
    a = 1 - b
    above = (a * f * w + b * (1 - f) * (1 - w)).sum(2)
    sums = (a * (f + w) + b * ((1 - f) + (1 - w))).sum(2)
    assert label("dice", background_weight=b) == pytest.approx(
        float((1 - 2 * above / sums).mean()), rel=1e-4
    )
    either = (a * (f + w - f * w) + b * (1 - f * w)).sum(2)
    assert label("jaccard", background_weight=b) == pytest.approx(
        float((1 - above / either).mean()), rel=1e-4
    )


def test_binary_labels_are_cut_in_half():
    cut = (W_LABELS >= 0.5).float()
    assert label("dice", binary=True) == pytest.approx(label("dice", warped=cut), rel=1e-6)


def test_cross_entropy_with_half_of_the_background_is_torchs():
    wanted = functional.binary_cross_entropy(W_LABELS.clamp(1e-5, 1 - 1e-5), F_LABELS) / 2
    assert label("cross-entropy", background_weight=0.5) == pytest.approx(float(wanted), rel=1e-3)
    here = -(F_LABELS * (W_LABELS + 1e-5).log()).mean()
    assert label("cross-entropy") == pytest.approx(float(here), rel=1e-5)


def test_mean_squared_and_generalized_dice_are_what_they_say():
    assert label("mean-squared") == pytest.approx(
        float(functional.mse_loss(W_LABELS, F_LABELS)), rel=1e-5
    )
    wanted = monai.losses.GeneralizedDiceLoss()(W_LABELS, F_LABELS)
    assert label("generalized_dice") == pytest.approx(float(wanted), rel=1e-5)


@pytest.mark.parametrize("kernel", ["gaussian", "cauchy"])
def test_several_scales_are_the_mean_over_smoothed_labels(kernel):
    def smoothed(values, sigma):
        tail = sigma * (3 if kernel == "gaussian" else 5)
        x = torch.arange(-tail, tail + 1).float()
        taps = torch.exp(-0.5 * (x / sigma) ** 2) if kernel == "gaussian" else 1 / (
            (x / sigma) ** 2 + 1
        )  # fmt: skip
        taps = taps / taps.sum()
        flat = values.flatten(0, 1)[:, None]
        for axis in range(3):
            shape = [1, 1, 1, 1, 1]
            shape[2 + axis] = len(taps)
            pad = [0, 0, 0]
            pad[axis] = tail
            flat = functional.conv3d(flat, taps.view(shape), padding=pad)
        return flat.view(values.shape)

    scales = [0, 1, 2]
    parts = [label("dice")]
    parts += [label("dice", smoothed(F_LABELS, s), smoothed(W_LABELS, s)) for s in scales[1:]]
    found = label("dice", scales=scales, kernel=kernel)
    assert found == pytest.approx(sum(parts) / 3, rel=2e-3)
    assert label("dice", scales=0, kernel=kernel) == pytest.approx(parts[0], rel=1e-6)


def prediction_of(displacement):
    """What a model would say whose displacement (voxels x y z) this is."""
    forward = from_displacement(from_voxels(displacement))
    backward = from_displacement(from_voxels(-displacement))
    return Prediction(forward, lambda: backward, tuple(displacement.shape[2:]), displacement)


def deformation(name, displacement, **options):
    return float(DEFORMATION_LOSSES.find(name)(prediction_of(displacement), **options))


NOISE = torch.randn(2, 3, *SHAPE)


def test_gradient_is_monais_and_l1_its_absolute_values():
    wanted = monai.losses.DiffusionLoss()(NOISE)
    assert deformation("gradient", NOISE) == pytest.approx(float(wanted), rel=1e-4)
    inner = (slice(None), slice(None), *[slice(1, -1)] * 3)
    total = 0.0
    for axis in (2, 3, 4):
        change = (NOISE.roll(-1, axis) - NOISE.roll(1, axis)) / 2
        total += float(change[inner].abs().mean())
    assert deformation("gradient", NOISE, l1=True) == pytest.approx(total, rel=1e-4)


def test_bending_is_monais_and_far_from_deepregs_on_noise():
    wanted = monai.losses.BendingEnergyLoss()(NOISE)
    assert deformation("bending", NOISE) == pytest.approx(float(wanted), rel=1e-4)

    def derivative(values, axis):
        inner = [slice(None), slice(None), *[slice(1, -1)] * 3]
        ahead, behind = inner.copy(), inner.copy()
        ahead[axis], behind[axis] = slice(2, None), slice(None, -2)
        return (values[tuple(ahead)] - values[tuple(behind)]) / 2

    deepregs = sum(
        float((derivative(derivative(NOISE, a), b) ** 2).mean())
        for a in (2, 3, 4)
        for b in (2, 3, 4)
    )
    assert 6 < float(wanted) / deepregs < 10
    x = (identity_map(SHAPE) + 1) * 6
    smooth = torch.sin(x / 4)
    wide = sum(
        float((derivative(derivative(smooth, a), b) ** 2).mean())
        for a in (2, 3, 4)
        for b in (2, 3, 4)
    )
    assert deformation("bending", smooth) == pytest.approx(wide, rel=0.2)


def test_an_affine_motion_costs_no_bending_and_a_shift_nothing():
    shift = torch.ones(1, 3, *SHAPE)
    linear = (identity_map(SHAPE) + 1) * 1.5
    for name in ("bending", "gradient", "jacobian"):
        assert deformation(name, shift) == pytest.approx(0, abs=1e-9)
    assert deformation("bending", linear) == pytest.approx(0, abs=1e-9)
    assert deformation("gradient", linear) > 0.01


def test_folds_cost_and_stretching_does_not():
    x = (identity_map(SHAPE) + 1) / 2
    turned = torch.zeros(1, 3, *SHAPE)
    turned[:, 0] = -2 * x[:, 0] * (SHAPE[2] - 1)  # x becomes -x: determinant -1 everywhere
    assert deformation("jacobian", turned) == pytest.approx(1, rel=1e-3)
    assert deformation("jacobian", turned * -1) == 0


def test_a_way_back_that_fits_costs_nothing():
    shift = torch.full((1, 3, *SHAPE), 1.5)
    for name in ("icon", "gradicon"):
        assert deformation(name, shift) == pytest.approx(0, abs=1e-6)
        assert deformation(name, NOISE[:1]) > 1e-3
    assert torch.allclose(voxels_of(prediction_of(shift).coordinates), shift, atol=1e-4)


def test_losses_take_two_dimensions_too():
    f, w = torch.rand(1, 1, 20, 22), torch.rand(1, 1, 20, 22)
    for name in IMAGE_LOSSES.names():
        if name not in ("own_root", "huber"):
            assert IMAGE_LOSSES.find(name)(f, w).dim() == 0
    for name in LABEL_LOSSES.names():
        assert LABEL_LOSSES.find(name)(f, w).dim() == 0
    for name in DEFORMATION_LOSSES.names():
        loss = DEFORMATION_LOSSES.find(name)(prediction_of(torch.randn(1, 2, 20, 22)))
        assert loss.dim() == 0
