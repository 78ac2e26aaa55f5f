"""Published weights give what the authors' own code gave, at full size."""

import math
from pathlib import Path

import numpy as np
import platformdirs
import pytest
import SimpleITK as sitk
import torch
from neuralreg.networks import conditional_lapirn, dirac, gradicon, lapirn, lku_net, symnet
from torch.nn import functional

from Testing.support.paths import NO_SHARED, WEIGHTS

GOLDEN = WEIGHTS / "golden"
DOWNLOADED = Path(
    platformdirs.user_cache_dir("neuralreg")
)  # of the user, which tests otherwise leave alone
NORMALIZED, VOXEL = 1e-5, 1e-3

pytestmark = pytest.mark.needs_shared(GOLDEN)


def array(name):
    """A sample image by its NIfTI axes i, j, k."""
    return sitk.GetArrayFromImage(sitk.ReadImage(GOLDEN / name)).transpose(2, 1, 0)


def unit(values):
    """From 0 to 1, as one image of one channel."""
    tensor = torch.from_numpy(np.ascontiguousarray(values, np.float32))
    return ((tensor - tensor.min()) / (tensor.max() - tensor.min()))[None, None]


@pytest.fixture(scope="module")
def whole_pair():
    return tuple(unit(array(f"image_{n}_fullsize.nii.gz")) for n in "AB")


@pytest.fixture(scope="module")
def cut_pair():
    def cut(values):
        return values.transpose(1, 2, 0)[11:171, 9:201, 8:152]

    return tuple(unit(cut(array(f"image_{n}_fullsize.nii.gz"))) for n in "AB")


def with_weights(network, name):
    places = [folder / f"{name}.pth" for folder in (WEIGHTS, DOWNLOADED)]
    path = next((p for p in places if p.is_file()), None)
    if path is None:
        pytest.skip(f"{NO_SHARED}, and {name}.pth was not downloaded")
    network.load_state_dict(torch.load(path, weights_only=True, map_location="cpu"))
    return network.eval()


def same(answer, name, part="field", tolerance=NORMALIZED):
    expected = np.load(GOLDEN / f"{name}.npz")
    at = expected["index_dhw"].astype(int)
    assert np.abs(answer[0][(slice(None), *at.T)].T.numpy() - expected[part]).max() < tolerance
    mean = answer[0].abs().double().mean((1, 2, 3)).numpy()
    assert np.abs(mean - expected[f"{part}_mean_abs_per_channel"]).max() < tolerance


@pytest.mark.parametrize("kind", ["disp", "diff"])
@torch.inference_mode()
def test_lapirn(cut_pair, kind):
    network = with_weights(lapirn.build(diffeomorphic=kind == "diff"), f"lapirn_{kind}.fea7")
    same(network(*cut_pair), f"lapirn_{kind}.fea7")


@pytest.mark.parametrize(("smoothness", "part"), [(0.1, ""), (0.5, ".smoothness05")])
@torch.inference_mode()
def test_conditional_lapirn(whole_pair, smoothness, part):
    name = "conditional_lapirn.oasis_lite"
    network = with_weights(conditional_lapirn.build(), name)
    same(network(*whole_pair, smoothness=smoothness), name + part)


@torch.inference_mode()
def test_symnet_in_both_directions_from_one_pass(whole_pair):
    network = with_weights(symnet.build(), "symnet.oasis")
    there, back = network.both(*whole_pair)
    same(there, "symnet.oasis", "fixed_to_moving", VOXEL)
    same(back, "symnet.oasis", "moving_to_fixed", VOXEL)


@torch.inference_mode()
def test_dirac(whole_pair):
    fixed, moving = (
        functional.interpolate(i, (160, 160, 80), mode="trilinear") for i in whole_pair
    )
    same(with_weights(dirac.build(), "dirac.brats_t1ce")(fixed, moving), "dirac.brats_t1ce")


@torch.inference_mode()
def test_lku_net_with_merged_kernels(whole_pair):
    same(with_weights(lku_net.build(), "lku_net.ixi_4ch")(*whole_pair), "lku_net.ixi_4ch")


@torch.inference_mode()
def test_gradicon_with_weights_by_formula():
    def numbers(position, name, tensor):
        j = np.arange(tensor.numel())
        wave = np.sin(0.37 * (position + 1) + 1.7 * j + 0.13 * np.sin(0.9 * j))
        if name.endswith("lastConv.weight"):
            wave = 0.05 * wave
        elif tensor.dim() == 5:
            wave = 1.5 * wave / math.sqrt(math.prod(tensor.shape[1:]))
        elif "batchNorms" in name and name.endswith(("weight", "running_var")):
            wave = 1 + 0.3 * wave
        else:
            wave = 0 * wave if name.endswith("num_batches_tracked") else 0.1 * wave
        return torch.from_numpy(wave.astype(np.float32)).view(tensor.shape).to(tensor.dtype)

    def image(z, y, x):
        values = 0.5 + 0.25 * np.sin(z / 5) * np.cos(y / 7) + 0.25 * np.sin(x / 6 + 0.3)
        return torch.from_numpy(values.astype(np.float32))[None, None]

    network = gradicon.build().eval()
    state = network.state_dict()
    network.load_state_dict({k: numbers(n, k, v) for n, (k, v) in enumerate(state.items())})
    z, y, x = np.meshgrid(*[np.arange(75.0)] * 3, indexing="ij")
    answer = network(image(z, y, x), image(z + 1.5, y - 2, x + 1))
    identity = torch.stack(torch.meshgrid(*[torch.linspace(0, 1, 75)] * 3, indexing="ij"))
    same(answer - identity, "gradicon.formula_weights")
