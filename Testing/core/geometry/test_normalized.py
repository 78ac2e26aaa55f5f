"""Displacements on the samples of their own array, against closed forms and other programs."""

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from neuralreg.geometry import normalized
from neuralreg.geometry.velocity import exponentiate_voxels
from scipy import ndimage
from torch.nn import functional

SHAPES = [(9, 12), (7, 9, 12)]


def smooth(shape, channels, scale=0.2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    small = torch.randn(1, channels, *[4] * len(shape), generator=generator) * scale
    return normalized.resize(small, shape, aligned=True)


def samples(field):
    """Displacement in samples, components as the axes of the array: (d, z, y, x)."""
    return normalized.to_voxels(field)[0].flip(0).double().numpy()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("outside", "theirs"), [("border", "nearest"), ("zeros", "constant")])
def test_warping_reads_where_scipy_reads(shape, outside, theirs):
    image, field = smooth(shape, 1, 1.0, seed=1), smooth(shape, len(shape))
    places = np.indices(shape) + samples(field)
    expected = ndimage.map_coordinates(image[0, 0].double().numpy(), places, order=1, mode=theirs)
    got = normalized.warp(image, field, outside=outside)[0, 0].numpy()
    # Between the outer sample and one beyond it, zeros fade in here and cut in scipy.
    last = np.array(shape).reshape(-1, *[1] * len(shape)) - 1
    inside = ((places >= 0) & (places <= last)).all(0)
    where = inside if outside == "zeros" else np.ones_like(inside)
    assert where.mean() > 0.5
    assert np.abs(got - expected)[where].max() < 1e-5


@pytest.mark.parametrize("shape", SHAPES)
def test_composing_goes_one_way_and_then_the_other(shape):
    first, then = smooth(shape, len(shape), 0.1), smooth(shape, len(shape), 0.1, seed=2)
    places = np.indices(shape) + samples(first)
    there = [ndimage.map_coordinates(c, places, order=1, mode="nearest") for c in samples(then)]
    got = samples(normalized.compose(first, then))
    assert np.abs(got - (places - np.indices(shape) + there)).max() < 1e-5


def test_the_flow_of_a_linear_velocity_is_the_exponential_of_its_matrix():
    matrix = torch.tensor([[0.0, -0.3], [0.3, 0.0]])
    start = normalized.identity_map((65, 65), torch.zeros(1))
    velocity = torch.einsum("ij,njyx->niyx", matrix, start)
    expected = torch.einsum("ij,njyx->niyx", torch.linalg.matrix_exp(matrix), start) - start
    got = normalized.exponential(velocity)
    inner = (slice(None), slice(None), slice(16, 49), slice(16, 49))
    assert (got - expected)[inner].abs().max() < 1e-3


def test_the_flow_is_that_of_the_geometry():
    velocity = smooth((10, 12, 14), 3)
    expected = exponentiate_voxels(normalized.to_voxels(velocity)[0], 7)
    assert torch.allclose(
        normalized.to_voxels(normalized.exponential(velocity))[0], expected, atol=1e-4
    )


def test_the_negated_velocity_goes_back():
    velocity = smooth((16, 16, 16), 3, 0.05)
    around = normalized.compose(normalized.exponential(velocity), normalized.exponential(-velocity))
    inner = (slice(None), slice(None), *[slice(4, 12)] * 3)
    assert around[inner].abs().mean() < 0.05 * velocity.abs().mean()


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_reading_does_not_depend_on_the_number_of_threads(threads):
    image, field = smooth((6, 9, 12), 2), smooth((6, 9, 12), 3)
    alone = normalized.warp(image, field)
    torch.set_num_threads(threads)
    try:
        assert torch.equal(normalized.warp(image, field), alone)
    finally:
        torch.set_num_threads(1)


def test_gradients_flow_through_images_and_displacements():
    image = smooth((5, 6, 7), 1).double().requires_grad_()
    field = smooth((5, 6, 7), 3, 0.05).double().requires_grad_()
    assert torch.autograd.gradcheck(normalized.warp, (image, field), atol=1e-4)


def test_doubling_is_what_an_itk_resampler_does_with_half_the_spacing():
    image = smooth((6, 8), 1)
    source = sitk.GetImageFromArray(image[0, 0].numpy())
    target = sitk.Image(16, 12, sitk.sitkFloat32)
    target.SetSpacing((0.5, 0.5))
    target.SetOrigin((-0.25, -0.25))
    expected = sitk.GetArrayFromImage(sitk.Resample(source, target, sitk.Transform()))
    got = normalized.upsample(image)[0, 0].numpy()
    assert np.abs(got - expected)[1:-1, 1:-1].max() < 1e-6


def test_voxels_are_half_of_the_last_index():
    field = torch.ones(1, 3, 5, 7, 9)
    assert normalized.to_voxels(field)[0, :, 0, 0, 0].tolist() == [4, 3, 2]
    assert torch.allclose(normalized.from_voxels(normalized.to_voxels(field)), field)


def test_resizing_that_is_aligned_keeps_the_outer_samples():
    image = smooth((6, 8), 1)
    big = normalized.resize(image, (11, 15), aligned=True)
    assert torch.allclose(big[..., ::2, ::2], image, atol=1e-6)
    same = functional.interpolate(image, (11, 15), mode="bilinear", align_corners=False)
    assert torch.equal(normalized.resize(image, (11, 15), aligned=False), same)
