"""Each architecture against numbers that its authors' own code gave, with seeded weights."""

from pathlib import Path

import numpy as np
import pytest
import torch

from Testing.support.authors_networks import NETWORKS, on_this_machine
from Testing.support.paths import TEST_DATA
from Testing.support.seeded import seeded_pair, seeded_weights

EXPECTED = TEST_DATA / "networks"
VOXEL, NORMALIZED = 1e-3, 1e-5
IN_VOXELS = ("symnet", "voxelmorph", "transmorph", "anatomix")


def keys_of_the_authors(name):
    """State dicts of these two are not laid out as ours: their names and shapes, in their order."""
    network = NETWORKS[name]
    state = network.ours().state_dict()
    if not name.startswith("lku_net"):
        return state
    theirs = {}
    for key, tensor in state.items():
        if "merged" not in key:
            theirs[key] = tensor
        elif key.endswith("weight"):
            block, kernel = key.removesuffix("merged.weight"), tensor.shape[-1]
            for kind, size in (("regular", 3), ("large", kernel), ("one", 1)):
                shape = (*tensor.shape[:2], *[size] * (tensor.dim() - 2))
                theirs[f"{block}layer_{kind}Kernel.0.weight"] = torch.empty(shape)
                theirs[f"{block}layer_{kind}Kernel.0.bias"] = torch.empty(tensor.shape[0])
    return theirs


def loaded(name):
    network = NETWORKS[name]
    ours = network.ours().eval()
    ours.load_state_dict(seeded_weights(keys_of_the_authors(name), network.gentle))
    return ours


@pytest.mark.parametrize("name", NETWORKS)
def test_the_answer_is_that_of_the_authors_code(name):
    fixed, moving = seeded_pair(NETWORKS[name].small)
    ours = loaded(name)
    with torch.inference_mode():
        if name == "anatomix":
            answer = ours(fixed)
        elif name == "symnet":
            answer = torch.cat(ours.both(fixed, moving), 1)
        else:
            answer = ours(fixed, moving)
    expected = np.load(EXPECTED / f"{name}.npz")
    got = answer[0][(slice(None), *expected["places"].T)].T
    tolerance = VOXEL if name.startswith(IN_VOXELS) else NORMALIZED
    assert np.abs(got.numpy() - expected["values"]).max() < tolerance
    assert np.abs(answer[0].abs().flatten(1).mean(1).numpy() - expected["mean"]).max() < tolerance
    # The answers are long enough for a wrong sign, unit or order to show.
    spread = expected["values"].std(0).min()
    assert spread > 10 * tolerance


def test_gradicon_maps_are_those_of_the_installed_package():
    pytest.importorskip("icon_registration", reason="the official package is not installed")
    network = NETWORKS["gradicon"]
    with on_this_machine(), torch.inference_mode():
        theirs, run = network.theirs(Path(), network.small)
        theirs.load_state_dict(seeded_weights(theirs.state_dict(), network.gentle))
        theirs.eval()
        ours = network.ours().eval()
        ours.load_state_dict(theirs.state_dict())
        fixed, moving = seeded_pair(network.small)
        there, back = ours.both(fixed, moving)
        assert (there - run(fixed, moving)).abs().max() < 1e-5
        assert (back - run(moving, fixed)).abs().max() < 1e-5
