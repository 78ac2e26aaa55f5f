"""The network that labels voxels: its background, and the numbers of the authors' own weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import platformdirs
import pytest
import torch
from neuralreg.errors import Cancelled, IncompatibleModel
from neuralreg.networks import meshnet
from neuralreg.zoo.load_weights import state_of
from neuralreg.zoo.registry import list_models, load_labeler, model_card
from torch.nn import functional

from Testing.support.paths import NO_SHARED, WEIGHTS

GOLDEN = WEIGHTS / "golden"
DOWNLOADED = Path(platformdirs.user_cache_dir("neuralreg"))
CARDS = {card.name: card for card in list_models(task=None) if card.architecture == "meshnet"}


def in_replicated_surroundings(network: meshnet.MeshNet, image: torch.Tensor) -> torch.Tensor:
    """The logits where every layer continues its border value without end, by torch alone."""
    x = image
    for layer in network.convolutions:
        wide = functional.pad(x, [layer.dilation[0]] * 6, mode="replicate")
        x = functional.conv3d(wide, layer.weight, layer.bias, dilation=layer.dilation)
        x = functional.gelu(functional.instance_norm(x, eps=1e-5))
    return network.classify(x)


def a_network(**arguments: object) -> meshnet.MeshNet:
    torch.manual_seed(3)
    return meshnet.build(channels=4, classes=3, dilations=(2, 1), **arguments).eval()


@pytest.mark.parametrize("background", [0.0, 0.3])
def test_a_box_with_its_background_is_labeled_as_within_the_whole_image(background):
    network = a_network(activation="gelu", normalize=True)
    whole = torch.full((1, 1, 24, 26, 28), background)
    whole[..., 9:14, 10:15, 11:16] = torch.rand(5, 5, 5)
    expected = in_replicated_surroundings(network, whole)
    box = (..., slice(6, 17), slice(7, 18), slice(8, 19))
    logits = network(whole[box], background=background, voxels=whole.numel())
    assert torch.allclose(logits, expected[box], atol=1e-5)
    plain = network(whole[box])
    assert (plain - expected[box]).abs().max() > 0.05


def test_logits_are_reduced_slice_by_slice_to_the_same_labels():
    network = a_network()
    image = torch.rand(1, 1, 19, 10, 12)
    labels = network(image, reduce=lambda logits: logits.argmax(1, keepdim=True))
    assert torch.equal(labels[:, 0], network(image).argmax(1))
    assert labels.shape == image.shape


def test_each_layer_is_reported_and_a_caller_can_stop_between_them():
    reports = []

    def stop_at_the_first(fraction: float, message: str) -> None:
        reports.append((fraction, message))
        raise Cancelled("stop")

    with pytest.raises(Cancelled):
        a_network()(torch.rand(1, 1, 8, 8, 8), progress=stop_at_the_first)
    assert reports == [(0.5, "layer 1")]


def test_numbers_without_names_fill_the_layers_in_order(tmp_path):
    network = a_network()
    numbers = [
        values.permute(2, 3, 4, 1, 0).numpy().ravel() if values.dim() == 5 else values.numpy()
        for values in network.state_dict().values()
    ]
    path = tmp_path / "weights.bin"
    np.concatenate(numbers).astype("<f4").tofile(path)
    copy = meshnet.build(channels=4, classes=3, dilations=(2, 1))
    copy.load_state_dict(state_of(path, "float32"))
    assert all(torch.equal(v, copy.state_dict()[n]) for n, v in network.state_dict().items())


def test_a_file_of_another_network_is_refused(tmp_path):
    from neuralreg.zoo.load_weights import fill_weights

    path = tmp_path / "weights.bin"
    np.zeros(7, "<f4").tofile(path)
    with pytest.raises(IncompatibleModel, match="do not fit the architecture"):
        fill_weights(a_network(), state_of(path, "float32"), "weights.bin")
    path.write_bytes(b"12345")
    with pytest.raises(IncompatibleModel, match=r"5 bytes.*four bytes"):
        state_of(path, "float32")


@pytest.mark.needs_shared(GOLDEN)
@pytest.mark.parametrize(
    ("name", "divisor", "tolerance"),
    [("mindgrab", 127.001, 1e-3), ("subcortical18", 255, 1e-4), ("aparc50", 112, 1e-4)],
)
def test_published_weights_give_the_logits_of_the_authors_own_program(name, divisor, tolerance):
    folders = [f for f in (WEIGHTS, DOWNLOADED) if (f / f"meshnet.{name}.bin").is_file()]
    if not folders:
        pytest.skip(f"{NO_SHARED}, and meshnet.{name}.bin was not downloaded")
    block = torch.from_numpy(np.load(GOLDEN / "meshnet.input64.npz")["input"]).float() / divisor
    if name == "mindgrab":
        block = block.clamp(0, 1)
    expected = np.load(GOLDEN / f"meshnet.{name}.npz")
    logits = load_labeler(model_card(name), folders[0], "cpu")(block[None, None])[0]
    at = expected["index_dhw"].astype(int)
    assert np.abs(logits[(slice(None), *at.T)].T.numpy() - expected["logits"]).max() < tolerance
    assert (logits.argmax(0).numpy() != expected["labels"]).sum() <= 5


@pytest.mark.parametrize("name", CARDS)
def test_a_card_has_a_structure_for_each_class_and_pinned_weights(name):
    card = CARDS[name]
    network = meshnet.build(**card.arguments)
    assert network.classify.out_channels == len(card.structures)
    assert len({structure.name for structure in card.structures}) == len(card.structures)
    numbers = sum(values.numel() for values in network.state_dict().values())
    assert card.weights.bytes == 4 * numbers
    assert card.weights.sha256
    assert any(len(part) == 40 for part in card.weights.url.split("/"))
