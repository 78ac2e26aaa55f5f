"""Instance optimization: a copy of a network fitted to one pair."""

import json
import os
import subprocess
import sys

import neuralreg
import pytest
import torch
from neuralreg import FieldRefinement, Image, LinearAlignment, ModelCard, WeightRefinement, register
from neuralreg.composition import models, transforms
from neuralreg.errors import Cancelled, IncompatibleModel, InvalidOption
from neuralreg.geometry.grid import Grid
from neuralreg.networks import gradicon, lapirn, symnet
from neuralreg.registration.instance_optimization import NetworkPair, _Loss, optimize_weights
from neuralreg.zoo.loaded_network import LoadedNetwork

from Testing.support.seeded import seeded_pair, seeded_weights

CPU = torch.device("cpu")
CONVEX = neuralreg.zoo.registry.model_card("convex").model_dump()


def card(shape, kind, order="xyz", **fitting):
    """A card of a network for images of a shape."""
    plain = {
        **CONVEX,
        "name": "mine.first",
        "architecture": "mine",
        "input": {"dimensions": [len(shape)], "space": "whole", "shape": shape},
        "output": {"kind": kind, "order": order},
        "fitting": fitting or None,
        "auto_rank": None,
    }
    return ModelCard.model_validate(plain)


def blobs(shape, shift):
    """A textured ball (1, z, y, x), moved along x by some samples."""
    axes = torch.meshgrid(*[torch.arange(n) - (n - 1) / 2 for n in shape], indexing="ij")
    away = sum(a.square() for a in (*axes[:-1], axes[-1] - shift)).sqrt()
    texture = 0.2 * torch.cos((axes[-1] - shift) / 2) * torch.cos(axes[0] / 3)
    return (torch.sigmoid(min(shape) / 3 - away) * (0.6 + texture))[None]


def untrained(module, gentle=0.3):
    state = seeded_weights(module.state_dict(), {"output_lvl1.2": gentle, "dc9": 0.1, "dc10": 0.1})
    module.load_state_dict(state)
    return module.eval().requires_grad_(False)


def pyramid(**options):
    """A small LapIRN in 2D with a card, untrained."""
    card_of_it = card((64, 64), "normalized", similarity="lncc", scales=2, rate=2e-3, **options)
    return LoadedNetwork(card_of_it, untrained(lapirn.build(2, dimension=2), 0.05), CPU)


def numbers_of(network):
    return {k: v.clone() for k, v in network.module.state_dict().items()}


def same(first, second):
    return all(torch.equal(first[k], second[k]) for k in first)


def images():
    grid = Grid((64, 64), (1.5, 1.5), (10.0, -20.0), (0.8, -0.6, 0.6, 0.8))
    return Image(blobs((64, 64), 0), grid), Image(blobs((64, 64), 3), grid)


WEIGHTS = WeightRefinement(steps=15)


def test_fitted_weights_register_the_pair_better_and_the_network_stays_as_it_was():
    network = pyramid()
    before = numbers_of(network)
    plain = register(*images(), network, linear=LinearAlignment.NONE)
    better = register(*images(), network, linear=LinearAlignment.NONE, refinement=WEIGHTS)
    assert same(before, numbers_of(network))
    assert not any(p.requires_grad for p in network.module.parameters())
    assert better.outcome.similarity_final > plain.outcome.similarity_final + 0.05
    losses = better.provenance["refined"]["losses"]
    assert len(losses) == WEIGHTS.steps
    assert losses[-1] < 0.9 * losses[0]
    assert better.outcome.folding_percent == 0


def test_the_same_call_gives_the_same_weights():
    pair = NetworkPair(*(image.data for image in images()))
    network = pyramid(both=True, regularity="icon")
    found = [
        optimize_weights(network, pair, WeightRefinement(steps=4), None, lambda *_: None)
        for _ in range(2)
    ]
    assert found[0][1] == found[1][1]
    assert same(numbers_of(found[0][0]), numbers_of(found[1][0]))


def test_more_regularity_gives_a_smoother_field():
    def roughness(regularity):
        how = WeightRefinement(steps=15, regularity=regularity)
        found = register(*images(), pyramid(), linear=LinearAlignment.NONE, refinement=how)
        vectors = found.field.vectors
        return sum(vectors.diff(dim=axis).square().mean() for axis in (1, 2))

    assert roughness(50.0) < 0.5 * roughness(1.0)


def test_a_mask_keeps_what_lies_outside_from_counting():
    fixed, moving = (image.data for image in images())
    mask = torch.zeros_like(fixed)
    mask[:, :, :32] = 1
    network, how = pyramid(), WeightRefinement()
    spoiled = moving.clone()
    spoiled[:, :, 44:] = torch.rand(1, 64, 20)

    def similarity(pair):
        loss = _Loss(network, pair, how, {})
        return loss.similar(loss.moving)

    assert similarity(NetworkPair(fixed, moving)) != similarity(NetworkPair(fixed, spoiled))
    masked = [similarity(NetworkPair(fixed, m, mask, None)) for m in (moving, spoiled)]
    assert float(masked[0]) == pytest.approx(float(masked[1]), abs=1e-6)


def test_a_cancel_stops_between_two_steps_and_leaves_the_network():
    network = pyramid()
    before, seen = numbers_of(network), []

    def progress(fraction, message):
        if message.startswith("fitting"):
            seen.append(message)
        if len(seen) == 3:
            raise Cancelled("stop")

    with pytest.raises(Cancelled):
        register(
            *images(),
            network,
            linear=LinearAlignment.NONE,
            refinement=WEIGHTS,
            progress=progress,
        )
    assert len(seen) == 3
    assert same(before, numbers_of(network))


@pytest.mark.parametrize(
    ("module", "kind"),
    [
        (lambda: lapirn.build(2, dimension=2, diffeomorphic=True), "normalized"),
        (lambda: symnet.build(4, dimension=2), "voxel"),
    ],
)
@pytest.mark.parametrize("similarity", ["auto", "mind", "lncc"])
def test_networks_of_each_kind_lower_their_loss_both_ways(module, kind, similarity):
    pair = NetworkPair(blobs((64, 64), 0), blobs((64, 64), 2))
    mine = card((64, 64), kind, both=True, similarity="ssd", rate=1e-3)
    network = LoadedNetwork(mine, untrained(module()), CPU)
    how = WeightRefinement(steps=12, similarity=similarity)
    _, found = optimize_weights(network, pair, how, None, lambda *_: None)
    assert found.similarity == ("ssd" if similarity == "auto" else similarity)
    assert found.losses[-1] < found.losses[0]


class Small(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first = torch.nn.Conv2d(2, 8, 3, padding=1)
        self.last = torch.nn.Conv2d(8, 2, 3, padding=1)

    def forward(self, fixed, moving):
        return 0.1 * self.last(torch.relu(self.first(torch.cat((moving, fixed), 1))))


def test_a_torchscript_file_can_be_fitted_too(tmp_path):
    torch.manual_seed(0)
    torch.jit.script(Small()).save(str(tmp_path / "small.pt"))
    module = torch.jit.load(str(tmp_path / "small.pt")).eval()
    mine = card((64, 64), "normalized", similarity="ssd", rate=1e-2)
    network = LoadedNetwork(mine, module, CPU)
    before, pair = numbers_of(network), NetworkPair(*(image.data for image in images()))
    _, found = optimize_weights(network, pair, WeightRefinement(steps=5), None, lambda *_: None)
    assert found.losses[-1] < found.losses[0]
    assert same(before, numbers_of(network))


def test_models_without_weights_or_without_a_loss_say_so_before_any_work():
    def progress(fraction, message):
        assert "alignment" not in message

    with pytest.raises(IncompatibleModel, match="without trained weights"):
        register(*images(), "convex", refinement=WEIGHTS, progress=progress)
    plain = LoadedNetwork(
        card((64, 64), "normalized"), untrained(lapirn.build(2, dimension=2)), CPU
    )
    with pytest.raises(IncompatibleModel, match="without `fitting`"):
        register(*images(), plain, refinement=WEIGHTS, progress=progress)
    with pytest.raises(IncompatibleModel, match="Name a model"):
        register(*images(), "auto", refinement=WEIGHTS)


def test_a_field_has_no_weights():
    fixed, moving = images()
    still = neuralreg.DisplacementField.identity(fixed.grid)
    with pytest.raises(InvalidOption, match="no weights"):
        neuralreg.refine(still, fixed, moving, WEIGHTS)


def test_a_loss_that_is_no_number_is_told():
    network = pyramid()
    with torch.no_grad():
        network.module.up.weight[0, 0] = float("inf")
    with pytest.raises(IncompatibleModel, match="no number"):
        optimize_weights(
            network, NetworkPair(*(i.data for i in images())), WEIGHTS, None, lambda *_: None
        )


@pytest.mark.parametrize(
    "wrong", [{"similarity": "nccc"}, {"steps": -1}, {"regularity": float("nan")}]
)
@pytest.mark.parametrize("kind", [FieldRefinement, WeightRefinement])
def test_what_a_refinement_does_not_know_is_reported(kind, wrong):
    with pytest.raises(InvalidOption, match="of a refinement"):
        kind(**wrong)


@pytest.mark.parametrize(
    "wrong", [{"regularity": "gradicon"}, {"per": "smoothness"}, {"similarity": "NCC"}]
)
def test_a_card_whose_fitting_makes_no_sense_is_refused(wrong):
    with pytest.raises(ValueError, match=r"both directions|per names|similarity"):
        card((64, 64), "normalized", **wrong)


def their_package(shape, weights, noise, monkeypatch):
    """The official loss with given weights, at points that we choose, zeros beyond the images."""
    losses = pytest.importorskip("icon_registration.losses", reason="icon_registration is absent")
    wrappers = pytest.importorskip("icon_registration.network_wrappers")
    networks = pytest.importorskip("icon_registration.networks")

    def field():
        return wrappers.FunctionFromVectorField(networks.tallUNet2(dimension=3))

    def finer(inner):
        small = wrappers.DownsampleRegistration(inner, dimension=3)
        return wrappers.TwoStepRegistration(small, field())

    net = wrappers.TwoStepRegistration(finer(finer(field())), field())
    package = losses.GradientICONSparse(net, losses.LNCC(sigma=5), lmbda=1.5)
    package.assign_identity_map([1, 1, *shape])
    net.load_state_dict(weights)
    warp = losses.compute_warped_image_multiNC
    monkeypatch.setattr(losses.config, "device", CPU)
    monkeypatch.setattr(
        losses, "compute_warped_image_multiNC", lambda *a: warp(*a, zero_boundary=True)
    )
    everywhere = torch.zeros(1, 3, *shape)
    everywhere[:, :, ::2, ::2, ::2] = noise
    monkeypatch.setattr(torch, "randn", lambda *_: everywhere)
    return package.eval()


def test_the_loss_and_its_gradient_are_those_of_the_official_package(monkeypatch):
    """uniGradICON's, on seeded weights: the whole loss, and what it does to first and last layer.

    unigradicon 1.0.6 reads zeros beyond the images, icon_registration their border.
    """
    shape = (65, 65, 65)
    ours = gradicon.build()
    weights = seeded_weights(ours.state_dict(), {"lastConv.weight": 0.02})
    ours.load_state_dict(weights)
    fixed, moving = seeded_pair(shape)
    options = {"similarity": "lncc_icon", "regularity": "gradicon", "weight": 1.5, "both": True}
    network = LoadedNetwork(card(shape, "unit_map", "zyx", **options), ours.eval(), CPU)
    loss = _Loss(network, NetworkPair(fixed[0], moving[0]), WeightRefinement(), {})
    noise = torch.randn((1, 3, 33, 33, 33), generator=torch.Generator().manual_seed(0)).flip(1)
    found = loss()
    found.backward()
    package = their_package(shape, weights, noise, monkeypatch)
    theirs = package(moving, fixed).all_loss
    theirs.backward()
    assert found.item() == pytest.approx(theirs.item(), rel=1e-4)
    parameters = dict(package.regis_net.named_parameters())
    for name, mine in ours.named_parameters():
        if name.endswith(("lastConv.weight", "downConvs.0.weight", "upConvs.4.weight")):
            gap = (mine.grad - parameters[name].grad).norm() / parameters[name].grad.norm()
            assert gap < 0.01, name


@pytest.mark.parametrize("regularity", ["icon", "gradicon"])
def test_regularities_are_those_of_models_but_at_random_points(regularity):
    """On smooth fields it hardly matters where they are measured."""
    network = pyramid(both=True, regularity=regularity)
    loss = _Loss(network, NetworkPair(*(i.data for i in images())), WeightRefinement(), {})
    at = torch.linspace(0, 6, 64)
    wave = 0.04 * torch.stack(
        [torch.sin(at)[:, None] * torch.cos(at), torch.cos(at + 1) * at[:, None] / 6]
    )
    there, back = wave[None], -0.8 * wave.flip(1)[None]
    found = loss._inconsistency([torch.cat((there, back))])
    maps = [transforms.from_displacement(field) for field in (there, back)]
    wanted = getattr(models, regularity)(*maps, transforms.identity_map((64, 64)))
    assert found.item() == pytest.approx(wanted.item(), rel=0.1)


def run(*arguments, **environment):
    command = [sys.executable, "-m", "neuralreg", *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )


@pytest.fixture
def files(tmp_path):
    """Two images, and a folder of models with a card, all as files."""
    for name, image in zip(("fixed", "moving"), images(), strict=True):
        neuralreg.write_image(image, tmp_path / f"{name}.nii.gz")
    network, folder = pyramid(), tmp_path / "models"
    folder.mkdir()
    plain = network.card.model_dump() | {
        "architecture": "lapirn",
        "arguments": {"start_channel": 2, "dimension": 2},
        "weights": {"file": "mine.first.pt"},
    }
    torch.save(network.module.state_dict(), folder / "mine.first.pt")
    (folder / "mine.first.json").write_text(ModelCard.model_validate(plain).model_dump_json())
    return tmp_path


def test_the_command_line_fits_weights_and_a_record_repeats_it(files):
    where = {"NEURALREG_MODELS": str(files / "models"), "NEURALREG_CACHE": str(files / "models")}
    pair = files / "fixed.nii.gz", files / "moving.nii.gz"
    more = "--model", "mine.first", "--prealign", "none", "--quiet"
    done = run("register", *pair, "-o", files / "out", *more, "--refine", "weights",
               "--refine-steps", "3", **where)  # fmt: skip
    assert done.returncode == 0, done.stderr
    record = json.loads((files / "out" / "result.json").read_text())
    assert record["options"]["refinement"]["of"] == "weights"
    assert len(record["provenance"]["refined"]["losses"]) == 3
    again = run("rerun", files / "out", "--quiet", **where)
    assert again.returncode == 0, again.stderr
    assert "the same transform" in again.stdout


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (["--refine", "weight"], "weights:mind"),
        (["--refine-steps", "5"], "--refine as well"),
        (["--refine", "weights", "--model", "convex"], "without trained weights"),
    ],
)
def test_what_cannot_be_refined_so_is_told(files, asked, told):
    pair = files / "fixed.nii.gz", files / "moving.nii.gz"
    done = run("register", *pair, "-o", files / "out", *asked)
    assert done.returncode in (1, 3)
    assert told in " ".join(done.stderr.split())
    assert not (files / "out").exists()
