"""Loading is strict, and takes the key layouts in which files exist."""

import pytest
import torch
from neuralreg.networks import anatomix, gradicon, lku_net, symnet, transmorph, voxelmorph

from Testing.support.authors_networks import NETWORKS


@pytest.mark.parametrize("name", sorted(set(NETWORKS) - {"gradicon", "transmorph"}))
@pytest.mark.parametrize("spoil", ["missing", "unexpected", "shape"])
def test_a_state_dict_that_does_not_fit_is_an_error(name, spoil):
    network = NETWORKS[name].ours()
    state = dict(network.state_dict())
    key = next(k for k, v in state.items() if v.dim() > 1)
    if spoil == "missing":
        del state[key]
    elif spoil == "unexpected":
        state["something.else.weight"] = torch.zeros(3)
    else:
        state[key] = torch.zeros(*state[key].shape, 2)
    wanted = "something.else.weight" if spoil == "unexpected" else key
    with pytest.raises(RuntimeError, match=wanted.replace(".", r"\.")):
        network.load_state_dict(state)


@pytest.mark.parametrize("name", ["lku_net", "voxelmorph", "transmorph_small", "anatomix"])
def test_what_a_network_has_saved_it_loads_again(name):
    first, second = NETWORKS[name].ours(), NETWORKS[name].ours()
    second.load_state_dict(first.state_dict())
    for key, tensor in first.state_dict().items():
        assert torch.equal(second.state_dict()[key], tensor)


def authors_kernels(channels=8, kernel=5):
    return {
        f"layer_{name}Kernel.0.{part}": torch.randn(*shape)
        for name, size in (("regular", 3), ("large", kernel), ("one", 1))
        for part, shape in (("weight", [channels] * 2 + [size] * 3), ("bias", [channels]))
    }


def test_merged_kernels_do_what_the_four_branches_did():
    torch.manual_seed(0)
    block = lku_net.LargeKernel(8, 5, 3)
    parts = authors_kernels()
    block.load_state_dict({**block.merge(parts), "layer_nonlinearity.weight": torch.tensor([0.1])})
    values = torch.randn(1, 8, 7, 8, 9)
    apart = values.clone()
    for name, size in (("regular", 3), ("large", 5), ("one", 1)):
        weight, bias = (parts[f"layer_{name}Kernel.0.{part}"] for part in ("weight", "bias"))
        apart += torch.nn.functional.conv3d(values, weight, bias, padding=size // 2)
    expected = torch.where(apart > 0, apart, 0.1 * apart)
    assert torch.allclose(block(values), expected, atol=2e-4)


@pytest.mark.parametrize("name", ["layer_oneKernel.0.bias", "layer_largeKernel.0.weight"])
def test_an_lku_net_file_without_one_kernel_names_it(name):
    network = lku_net.build()
    state = {k: v for k, v in network.state_dict().items() if not k.startswith("ec3.")}
    parts = authors_kernels()
    del parts[name]
    state |= {f"ec3.{k}": v for k, v in parts.items()}
    with pytest.raises(RuntimeError, match=r"ec3\.merged\.weight"):
        network.load_state_dict(state)


def test_a_voxelmorph_checkpoint_is_read_with_its_wrapping_grids_and_older_names():
    network = voxelmorph.build(2)
    names = {"encoder.": "downarm.", "decoder.": "uparm."}
    older = {}
    for key, tensor in network.state_dict().items():
        for today, before in names.items():
            if key.startswith(f"unet_model.{today}"):
                key = key.replace(today, before).replace(".0.main", ".main")
        older[key.replace("remaining", "extras")] = torch.full_like(tensor, 0.25)
    older["transformer.grid"] = torch.zeros(1, 2, 8, 8)
    assert "unet_model.downarm.0.main.weight" in older
    network.load_state_dict({"config": {"inshape": (8, 8)}, "model_state": older})
    assert all((tensor == 0.25).all() for tensor in network.state_dict().values())


def test_a_transmorph_checkpoint_is_read_with_its_wrapping_and_grid():
    network = transmorph.build(48, heads=(4, 4, 4, 4))
    state = {**network.state_dict(), "spatial_trans.grid": torch.zeros(1, 3, 2, 2, 2)}
    state["reg_head.0.bias"] = torch.tensor([1.0, 2.0, 3.0])
    network.load_state_dict({"epoch": 5, "state_dict": state})
    assert network.reg_head[0].bias.tolist() == [1, 2, 3]


def test_a_compiled_anatomix_is_read():
    network = anatomix.build(levels=1, start=4)
    state = {f"_orig_mod.{k}": torch.full_like(v, 2) for k, v in network.state_dict().items()}
    network.load_state_dict(state)
    assert all((tensor == 2).all() for tensor in network.state_dict().values())


def test_the_numbers_of_parameters_are_those_of_the_published_files():
    def count(network):
        return sum(p.numel() for p in network.parameters())

    assert count(symnet.build()) == 862_351
    assert len(gradicon.build().state_dict()) == 188
    assert count(gradicon.build()) == pytest.approx(70.68e6, rel=1e-3)
    assert count(transmorph.build()) == pytest.approx(46.77e6, rel=1e-3)
    assert count(anatomix.build()) == pytest.approx(5.9e6, rel=1e-2)
