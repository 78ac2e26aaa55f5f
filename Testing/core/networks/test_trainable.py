"""DIRNet and AVSM learn to register small pairs, in 2D and 3D."""

import pytest
import torch
from neuralreg.geometry.normalized import from_voxels, identity_map, warp
from neuralreg.networks import avsm, dirnet, lku_net
from scipy.interpolate import BSpline


def blobs(shape, shift, scale=1.0):
    """An ellipsoid and a smaller one beside it, in normalized coordinates x y z."""
    places = identity_map(shape, torch.zeros(1)) * scale
    d = len(shape)
    total = torch.zeros(1, 1, *shape)
    for center, size, value in ((0.0, 0.45, 0.7), (0.3, 0.15, 0.3)):
        at = torch.tensor([center, -center, center][:d]).view(1, -1, *[1] * d)
        away = places - at - torch.tensor(shift[:d]).view(1, -1, *[1] * d)
        total += value * torch.sigmoid((size - away.norm(dim=1, keepdim=True)) * 25)
    return total


def trained(network, fixed, moving, steps, displacement, rate=3e-3):
    optimizer = torch.optim.Adam(network.parameters(), rate)
    for _ in range(steps):
        optimizer.zero_grad()
        (warp(moving, displacement(network)) - fixed).square().mean().backward()
        optimizer.step()
    with torch.inference_mode():
        after = (warp(moving, displacement(network)) - fixed).square().mean()
    return float(after / (moving - fixed).square().mean())


@pytest.mark.parametrize("shape", [(48, 40), (24, 24, 32)])
def test_dirnet_learns_a_shift(shape):
    torch.manual_seed(0)
    fixed, moving = blobs(shape, (0, 0, 0)), blobs(shape, (0.15, -0.1, 0.1))
    network = dirnet.build(len(shape), width=8, halvings=3)
    assert network(fixed, moving).abs().max() == 0
    left = trained(network, fixed, moving, 60, lambda n: from_voxels(n(fixed, moving)), 1e-2)
    assert left < 0.1


@pytest.mark.parametrize("shape", [(48, 40), (16, 24, 24)])
def test_avsm_learns_a_shift_and_a_scale(shape):
    torch.manual_seed(0)
    fixed, moving = blobs(shape, (0, 0, 0)), blobs(shape, (0.12, -0.1, 0.1), scale=1.2)
    network = avsm.build(len(shape), sigmas=(1.0, 2.0, 4.0), features=((8, 16, 16), (16, 16, 8)))
    left = trained(network, fixed, moving, 40, lambda n: n(fixed, moving))
    assert left < 0.1


def test_the_affine_steps_of_avsm_are_one_affine_map():
    torch.manual_seed(0)
    network = avsm.build(2, affine_steps=3)
    torch.nn.init.normal_(network.affine.answer.weight, 0, 0.01)
    fixed, moving = blobs((32, 48), (0, 0)), blobs((32, 48), (0.2, 0.1))
    field = network.affine_displacement(fixed, moving)[0].detach()
    assert field.abs().max() > 1e-3
    for axis in (1, 2):
        assert field.diff(n=2, dim=axis).abs().max() < 1e-5


def test_an_untrained_avsm_hardly_moves_anything():
    fixed, moving = blobs((32, 48), (0, 0)), blobs((32, 48), (0.2, 0.1))
    assert avsm.build(2)(fixed, moving).abs().max() < 0.01


def test_the_spline_of_dirnet_is_scipys_away_from_the_ends():
    control = torch.randn(1, 1, 9, 1, dtype=torch.float64)
    at = (torch.arange(36) + 0.5) / 4 - 0.5  # in control points
    inner = (at > 1.5) & (at < 6.5)
    basis = BSpline(torch.arange(-2, 11).numpy(), control[0, 0, :, 0].numpy(), 3)
    expected = torch.from_numpy(basis(at[inner].numpy()))
    assert torch.allclose(dirnet.interpolate_spline(control, (36, 1))[0, 0, inner, 0], expected)


def test_a_spline_through_equal_points_is_flat():
    flat = dirnet.interpolate_spline(torch.full((1, 2, 5, 4), 0.7), (33, 30))
    assert torch.allclose(flat, torch.tensor(0.7), atol=1e-6)


@pytest.mark.parametrize("dimension", [2, 3])
def test_parallel_kernels_are_those_of_the_paper_and_merge_into_one(dimension):
    """LKU-Net's block is PReLU(conv3(x) + conv5(x) + conv1(x) + x), also for what is trained."""
    torch.manual_seed(0)
    block = lku_net.LargeKernel(3, 5, dimension, parallel=True)
    values = torch.randn(2, 3, *[9] * dimension)
    parts = dict(block.named_children())
    convolved = {2: torch.nn.functional.conv2d, 3: torch.nn.functional.conv3d}[dimension]
    wanted = values.clone()
    for name, size in (("regular", 3), ("large", 5), ("one", 1)):
        layer = parts[f"layer_{name}Kernel"][0]
        wanted = wanted + convolved(values, layer.weight, layer.bias, padding=size // 2)
    wanted = block.layer_nonlinearity(wanted)
    found = block(values)
    assert torch.allclose(found, wanted, atol=1e-5)
    kernels = [p for name, p in block.named_parameters() if name.endswith("weight")]
    for one, other in zip(
        torch.autograd.grad(found.square().sum(), kernels),
        torch.autograd.grad(wanted.square().sum(), kernels),
        strict=True,
    ):
        assert torch.allclose(one, other, rtol=1e-3, atol=1e-2)
    merged = lku_net.LargeKernel(3, 5, dimension)
    merged.load_state_dict(merged.merge(block.state_dict()))
    assert torch.allclose(merged(values), found, atol=1e-5)


def test_a_network_trained_with_parallel_kernels_loads_into_the_merged_one():
    torch.manual_seed(0)
    trained = lku_net.build(2, dimension=2, parallel=True)
    merged = lku_net.build(2, dimension=2)
    merged.load_state_dict(trained.state_dict())
    pair = blobs((32, 48), (0, 0)), blobs((32, 48), (0.1, 0.1))
    assert sum(p.numel() for p in merged.parameters()) < sum(
        p.numel() for p in trained.parameters()
    )
    with torch.no_grad():
        assert torch.allclose(merged(*pair), trained(*pair), atol=1e-6)
