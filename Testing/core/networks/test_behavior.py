"""What each architecture does besides giving the right numbers."""

import pytest
import torch
from neuralreg.errors import IncompatibleModel, InvalidImage, InvalidOption
from neuralreg.geometry.normalized import compose, from_voxels, warp
from neuralreg.networks import (
    conditional_lapirn,
    deepreg,
    dirac,
    gradicon,
    lapirn,
    lku_net,
    symnet,
    voxelmorph,
)

from Testing.support.authors_networks import NETWORKS
from Testing.support.seeded import seeded_pair, seeded_weights

SEVERAL = sorted(set(NETWORKS) - {"anatomix", "gradicon", "transmorph"})


def seeded(network, gentle=None):
    network.load_state_dict(seeded_weights(network.state_dict(), gentle or {}))
    return network.eval()


@pytest.mark.parametrize("name", SEVERAL)
def test_inputs_and_parameters_stay_as_they_were(name):
    network = seeded(NETWORKS[name].ours(), NETWORKS[name].gentle)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    pair = seeded_pair(NETWORKS[name].small)
    copies = [image.clone() for image in pair]
    with torch.inference_mode():
        network(*pair)
    assert all(torch.equal(a, b) for a, b in zip(pair, copies, strict=True))
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())


@pytest.mark.parametrize("name", SEVERAL)
def test_it_can_be_trained_and_answers_the_same_meanwhile(name):
    """In-place steps must not spoil what the gradients need."""
    network = seeded(NETWORKS[name].ours(), NETWORKS[name].gentle)
    pair = seeded_pair(NETWORKS[name].small)
    with torch.inference_mode():
        expected = network(*pair)
    answer = network(*pair)
    answer.square().mean().backward()
    assert torch.allclose(answer, expected, atol=1e-4)
    slopes = [p.grad.abs().max() for k, p in network.named_parameters() if not k.startswith("dc10")]
    assert all(torch.isfinite(s) for s in slopes)
    assert sum(bool(s > 0) for s in slopes) > 0.9 * len(slopes)


@pytest.mark.parametrize("name", SEVERAL)
def test_a_batch_is_answered_as_its_members(name):
    network = seeded(NETWORKS[name].ours(), NETWORKS[name].gentle)
    fixed, moving = seeded_pair(NETWORKS[name].small)
    with torch.inference_mode():
        together = network(torch.cat((fixed, moving)), torch.cat((moving, fixed)))
        apart = torch.cat((network(fixed, moving), network(moving, fixed)))
    assert torch.allclose(together, apart, atol=2e-4)


def test_gradicon_trains_with_batch_statistics():
    unet = gradicon.TallUNet().train()
    torch.nn.init.normal_(unet.lastConv.weight)
    pair = [image[..., :40] for image in seeded_pair((32, 40, 48))]
    unet(*pair).square().mean().backward()
    assert all(bool(torch.isfinite(p.grad).all()) for p in unet.parameters())
    assert unet.batchNorms[0].num_batches_tracked == 1


def test_gradicon_in_inference_is_its_own_batch_normalization():
    """The folded scale and shift against torch's layer."""
    unet = seeded(gradicon.TallUNet(), {"lastConv": 10.0})
    pair = seeded_pair((33, 40, 38))
    with torch.inference_mode():
        folded = unet(*pair)
        unet.train()
        for norm in unet.batchNorms:  # in training mode the layer would take its input's statistics
            norm.forward = lambda x, n=norm: torch.nn.functional.batch_norm(
                x, n.running_mean, n.running_var, n.weight, n.bias, eps=n.eps
            )
        assert torch.allclose(unet(*pair), folded, atol=1e-5)
        assert folded.abs().max() > 0.05


SHORT = {"lapirn_diff": 2 / 63, "symnet": 1, "voxelmorph": 1, "lku_net": 2 / 63, "gradicon": 1 / 74}


@pytest.mark.parametrize("name", SHORT)
def test_positions_keep_their_digits_under_autocast(name):
    """Where places themselves were in bfloat16, they would be off by half a voxel and more."""
    network = seeded(NETWORKS[name].ours(), NETWORKS[name].gentle)
    pair = seeded_pair(NETWORKS[name].small)
    with torch.inference_mode():
        exact = network(*pair)
        with torch.autocast("cpu", torch.bfloat16):
            quick = network(*pair)
    assert quick.dtype == torch.float32
    difference = (quick - exact).abs() / SHORT[name]  # voxels
    assert 0 < difference.mean() < 0.1


@pytest.mark.parametrize(
    ("make", "shape", "normalized"),
    [
        (lambda: seeded(lapirn.build(diffeomorphic=True), {"output_lvl1.2": 0.1}), (32, 40, 48), 1),
        (lambda: seeded(symnet.build(), {"dc9": 0.1, "dc10": 0.1}), (32, 48, 48), 0),
        (lambda: seeded(voxelmorph.build(), {"flow": 15}), (32, 32, 48), 0),
        (lambda: seeded(voxelmorph.build(2), {"flow": 9}), (48, 64), 0),
        (lambda: seeded(lku_net.build(), {"dc9": 0.3}), (32, 32, 48), 1),
    ],
)
def test_both_directions_of_a_diffeomorphic_network_undo_each_other(make, shape, normalized):
    network = make()
    pair = seeded_pair(shape)
    with torch.inference_mode():
        there, back = network.both(*pair)
        assert torch.allclose(there, network(*pair), atol=1e-4)
    if isinstance(network, (voxelmorph.VoxelMorph, lku_net.LKUNet)):
        there, back = there.flip(1), back.flip(1)
    if not normalized:
        there, back = from_voxels(there), from_voxels(back)
    around = compose(there, back)
    inner = (slice(None), slice(None), *[slice(n // 4, -n // 4) for n in shape])
    assert around[inner].abs().mean() < 0.15 * there[inner].abs().mean()


def test_two_runs_are_made_where_there_is_no_velocity():
    network = seeded(lapirn.build(), NETWORKS["lapirn_disp"].gentle)
    fixed, moving = seeded_pair((16, 24, 32))
    with torch.inference_mode():
        there, back = network.both(fixed, moving)
        assert torch.equal(back, network(moving, fixed))
        assert torch.equal(there, network(fixed, moving))


@pytest.mark.parametrize("build", [lapirn.build, symnet.build, lku_net.build])
def test_networks_of_volumes_are_there_for_slices_too(build):
    network = seeded(build(4, dimension=2), {"output_lvl1.2": 0.3, "dc": 0.5})
    there, back = network.both(*seeded_pair((48, 64)))
    assert there.shape == back.shape == (1, 2, 48, 64)
    assert there.abs().max() > 0


def test_smoothness_changes_the_answer_of_a_conditional_network():
    network = seeded(conditional_lapirn.build(), NETWORKS["conditional_lapirn"].gentle)
    pair = seeded_pair((16, 24, 32))
    with torch.inference_mode():
        standard, stiff = network(*pair), network(*pair, smoothness=0.9)
        assert torch.equal(standard, network(*pair, smoothness=0.1))
    assert (standard - stiff).abs().max() > 1e-3


def test_absent_tissue_is_where_the_way_back_misses():
    """Both fields agree but in a block, of which the moving image knows nothing."""
    fixed_to_moving = torch.zeros(1, 3, 32, 32, 32)
    fixed_to_moving[:, 0] = 0.1
    moving_to_fixed = -fixed_to_moving
    moving_to_fixed[:, 1, 10:20, 10:20, 10:20] = 0.3
    foreground = torch.ones(1, 1, 32, 32, 32, dtype=torch.bool)
    foreground[..., 28:] = False
    found = dirac.absent(fixed_to_moving, moving_to_fixed, foreground)
    shifted = 0.1 * 31 / 2  # samples along x by which the fixed image sees the block earlier
    block = slice(round(12 - shifted), round(18 - shifted))
    assert found[0, 0, 12:18, 12:18, block].all()
    assert found.float().mean() < 0.1  # the block is 0.03, and the means widen it
    assert not (found & ~foreground).any()


def test_gradicon_refuses_an_image_that_cannot_be_halved_that_often():
    small = torch.zeros(1, 1, 64, 80, 80)
    with pytest.raises(InvalidImage, match="at least 65"):
        gradicon.build()(small, small)


def test_half_resolution_without_integration_is_refused():
    with pytest.raises(InvalidOption, match="int_steps 0"):
        voxelmorph.build(half_res=True, int_steps=0)


def test_an_untrained_voxelmorph_moves_nothing_noticeably():
    pair = seeded_pair((32, 48))
    assert voxelmorph.build(2)(*pair).abs().max() < 0.01


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("kind", ["local", "unet", "global"])
def test_the_networks_of_deepreg_answer_in_voxels_of_the_image(kind, dimension):
    pytest.importorskip("monai")
    shape = (32, 48, 32)[:dimension]
    arguments = {
        "local": {"extract_levels": [0, 1, 2]},
        "unet": {"depth": 2},
        "global": {"depth": 2, "image_size": list(shape)},
    }[kind]
    network = deepreg.build(kind, dimension=dimension, num_channel_initial=4, **arguments).eval()
    answer = network(*seeded_pair(shape))
    assert answer.shape == (1, dimension, *shape)


def test_the_affine_network_of_deepreg_shifts_as_monai_warps():
    networks = pytest.importorskip("monai.networks.blocks")
    network = deepreg.build("global", num_channel_initial=2, depth=2, image_size=[16, 16, 32])
    network.net.output_block.fc.bias.data[[3, 7, 11]] = torch.tensor([1.0, -2.0, 3.0])
    fixed, moving = seeded_pair((16, 16, 32))
    with torch.inference_mode():
        field = network.eval()(fixed, moving)
    assert torch.allclose(field[0, :, 4, 5, 6], torch.tensor([1.0, -2.0, 3.0]), atol=1e-4)
    ours = warp(moving, from_voxels(field.flip(1)))
    assert torch.allclose(ours, networks.Warp(padding_mode="border")(moving, field), atol=1e-4)


def test_deepreg_without_monai_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "monai.networks.nets", None)
    with pytest.raises(IncompatibleModel, match="training"):
        deepreg.build("local")


def test_deepreg_has_no_network_of_another_name():
    with pytest.raises(InvalidOption, match="local or global or unet"):
        deepreg.build("regional")


def test_anatomix_describes_images_of_any_size():
    network = seeded(NETWORKS["anatomix"].ours())
    fixed, _ = seeded_pair((40, 35, 33))
    with torch.inference_mode():
        described = network.features(fixed)
        assert described.shape == (1, 16, 40, 35, 33)
        whole = network(torch.nn.functional.pad(fixed, (0, 15, 0, 13, 0, 8), mode="replicate"))
    assert torch.equal(described, whole[:, :, :40, :35, :33])
