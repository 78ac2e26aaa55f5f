"""Fine-tuning: networks, weights and inputs of others as the start of a training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from neuralreg.errors import IncompatibleModel, InvalidOption, UnreadableFile, WeightsUnavailable
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.image import Image
from neuralreg.geometry.normalized import identity_map
from neuralreg.networks import dirnet, lapirn, lku_net
from neuralreg.registration.preprocess import network_grid, scale_intensities
from neuralreg.training.config.schema import Configuration
from neuralreg.training.configuration import read_configuration
from neuralreg.training.data.network_grid import Placement
from neuralreg.training.loop.run import Run
from neuralreg.training.loop.tasks import split_pairs
from neuralreg.training.model.fine_tuning import begin_from, take_over_start
from neuralreg.training.model.methods import build_model
from neuralreg.zoo.card import Input, ModelCard, Output, Weights
from neuralreg.zoo.registry import load_card, model_card, register_architecture
from neuralreg.zoo.user_models import import_card
from torch.nn import functional

from Testing.support.paths import WEIGHTS
from Testing.support.trainings import training_values

ABOUT = {
    "license": "none",
    "citation": "none",
    "training_data": "none",
    "modalities": ("any",),
    "anatomies": ("any",),
    "intended_use": "tests",
    "limits": "tests",
}


class MapOfADirnet(torch.nn.Module):
    """Says where samples go, as GradICON does, in a hundredth of its time."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = dirnet.build(2, width=4)

    def forward(self, fixed: torch.Tensor, moving: torch.Tensor) -> torch.Tensor:
        here = identity_map(tuple(fixed.shape[2:]), fixed)
        return ((here + self.inner(fixed, moving)).flip(1) + 1) / 2


register_architecture("map_of_a_dirnet", MapOfADirnet)


def published(folder: Path, network: Any, name: str, **about: Any) -> Path:
    """A card with random weights beside it, as an author would give both away."""
    torch.manual_seed(3)
    for values in network.parameters():
        torch.nn.init.normal_(values, std=0.05)
    torch.save(network.state_dict(), folder / "weights.pt")
    card = ModelCard(name=name, title=name, weights=Weights(file="weights.pt"), **about, **ABOUT)
    (folder / "card.json").write_text(card.model_dump_json(exclude_none=True))
    return folder / "card.json"


def a_dirnet(folder: Path, shape=(20, 24), **wanted: Any) -> Path:
    return published(
        folder,
        dirnet.build(2, width=4),
        "tiny",
        architecture="dirnet",
        arguments={"dimension": 2, "width": 4},
        input=Input.model_validate(
            {"dimensions": [2], "space": "whole", "shape": shape, "intensity": "unit"} | wanted
        ),
        output=Output(kind="voxel", order="xyz"),
    )


def tuned(data: Path, card: Path | str, **changes: Any) -> dict[str, Any]:
    values = training_values(data, **changes)
    values["model"] = {"start_from": str(card), **values["model"].get("given", {})}
    return values


@pytest.mark.parametrize(
    ("network", "about", "shape"),
    [
        (dirnet.build(2, width=4), {
            "architecture": "dirnet", "arguments": {"dimension": 2, "width": 4},
            "output": Output(kind="voxel")}, (20, 24)),
        (lapirn.build(1, diffeomorphic=True, dimension=2), {
            "architecture": "lapirn",
            "arguments": {"start_channel": 1, "diffeomorphic": True, "dimension": 2},
            "output": Output(kind="normalized")}, (24, 32)),
        (lku_net.build(2, kernel=3, dimension=2), {
            "architecture": "lku_net",
            "arguments": {"start_channel": 2, "kernel": 3, "dimension": 2},
            "output": Output(kind="normalized", order="zyx")}, (32, 48)),
        (MapOfADirnet(), {
            "architecture": "map_of_a_dirnet", "arguments": {},
            "output": Output(kind="unit_map", order="zyx")}, (20, 24)),
    ],
    ids=["dirnet", "lapirn", "lku_net", "unit map"],
)  # fmt: skip
def test_a_model_that_was_taken_over_answers_as_the_zoo_s_own(tmp_path, network, about, shape):
    """The oracle is what the engine itself loads, in its own units."""
    input_ = Input.model_validate({"dimensions": [len(shape)], "space": "whole", "shape": shape})
    card_file = published(tmp_path, network, "given", input=input_, **about)
    values, _ = take_over_start(
        {"dataset": {}, "model": {"start_from": str(card_file)}, "loss": {"image": "ssd"}}
    )
    config = Configuration.model_validate(values)
    assert config.dataset.shape == shape
    model = build_model(config.model, config.dataset.network_shape)
    begin_from(model, str(card_file))
    assert model.training
    model.eval()
    torch.manual_seed(5)
    fixed, moving = torch.rand(2, 1, *shape)
    with torch.no_grad():
        places = model(fixed[None], moving[None])(identity_map(shape, fixed))[0]
    engine = load_card(ModelCard.model_validate_json(card_file.read_text()), tmp_path)
    said = engine.predict(fixed, moving)
    kind, order = engine.card.output.kind, engine.card.output.order
    said = said.flip(0) if order == "zyx" else said
    last = torch.tensor([n - 1.0 for n in shape[::-1]]).view(-1, *[1] * len(shape))
    here = identity_map(shape, fixed)[0]
    expected = {
        "voxel": lambda: here + 2 * said / last,
        "normalized": lambda: here + said,
        "unit_map": lambda: 2 * said - 1,
    }[kind]()
    assert (expected - here).abs().max() > 1e-3
    assert torch.allclose(places, expected, atol=1e-5)
    assert all(p.requires_grad for p in model.parameters())


@pytest.mark.needs_shared(WEIGHTS)
@pytest.mark.parametrize(
    "name",
    ["lapirn_disp.fea7", "lapirn_diff.fea7", "symnet.oasis", "dirac.brats_t1ce",
     "conditional_lapirn.oasis_lite"],
)  # fmt: skip
def test_published_weights_answer_as_the_engine_has_them_and_learn(name, monkeypatch):
    monkeypatch.setenv("NEURALREG_CACHE", str(WEIGHTS))
    values, _ = take_over_start({"model": {"start_from": name}, "loss": {"image": "ssd"}})
    config = Configuration.model_validate(values)
    shape = (32, 48, 32)  # smaller than the card's: what is compared are weights and units
    model = build_model(config.model, shape)
    begin_from(model, name)
    torch.manual_seed(1)
    fixed, moving = (
        functional.interpolate(torch.rand(1, 1, 4, 6, 4), size=shape, mode="trilinear")
        for _ in range(2)
    )
    here = identity_map(shape, fixed)
    places = model(fixed, moving)(here)
    (places - here).square().sum().backward()
    assert all(p.grad is None or bool(p.grad.isfinite().all()) for p in model.parameters())
    assert any(p.grad is not None and bool(p.grad.any()) for p in model.parameters())
    card = model_card(name)
    run = {option: about.default for option, about in card.options.items()}
    said = load_card(card).predict(fixed[0], moving[0], **run)
    last = torch.tensor([n - 1.0 for n in shape[::-1]]).view(-1, 1, 1, 1)
    said = said / (last / 2 if card.output.kind == "voxel" else 1)
    assert card.output.order == "xyz"
    assert torch.allclose(places[0], here[0] + said, atol=1e-5)
    assert said.abs().max() > 0.01


def test_the_first_step_has_the_weights_of_the_start_and_a_step_changes_them(shapes, tmp_path):
    card = a_dirnet(tmp_path)
    start = torch.load(tmp_path / "weights.pt", weights_only=True)
    for rate, same in ((0.0, True), (0.1, False)):
        folder = tmp_path / f"rate {rate}"
        values = tuned(shapes, card, training__max_steps=1, dataset__valid=None,
                       training__optimizer={"name": "SGD", "lr": rate})  # fmt: skip
        (tmp_path / "study.yaml").write_text(yaml.safe_dump(values))
        Run(read_configuration([tmp_path / "study.yaml"]), folder).train()
        found = torch.load(folder / "trained.pt", weights_only=True)
        kept = [
            torch.equal(values, next(v for key, v in found.items() if key.endswith(f".{name}")))
            for name, values in start.items()
        ]
        assert all(kept) is same


def test_the_saved_configuration_says_what_was_taken_over_and_can_be_read_again(shapes, tmp_path):
    card = a_dirnet(tmp_path)
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(tuned(shapes, card)))
    config = read_configuration([tmp_path / "study.yaml"])
    assert config.dataset.intensity == "unit"
    assert config.model.backbone[0].name == "published"
    assert config.model.backbone[0].options["architecture"] == "dirnet"
    (tmp_path / "saved.yaml").write_text(yaml.safe_dump(config.source))
    assert read_configuration([tmp_path / "saved.yaml"]) == config


def test_a_run_is_a_start_for_another_and_its_result_a_model_again(shapes, tmp_path, monkeypatch):
    monkeypatch.setenv("NEURALREG_MODELS", str(tmp_path / "own"))
    few = {"training__max_steps": 2, "dataset__valid": None}
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(training_values(shapes, name="first", **few)))
    Run(read_configuration([tmp_path / "a.yaml"]), tmp_path / "one").train()
    values = tuned(shapes, tmp_path / "one", name="second",
                   training__optimizer={"name": "SGD", "lr": 0.0}, **few)  # fmt: skip
    del values["dataset"]["size"]
    (tmp_path / "b.yaml").write_text(yaml.safe_dump(values))
    config = read_configuration([tmp_path / "b.yaml"])
    assert config.dataset.size == (24, 20)
    Run(config, tmp_path / "two").train()
    one, two = (
        torch.load(tmp_path / name, weights_only=True) for name in ("one/first.pt", "two/second.pt")
    )
    assert one.keys() == two.keys()
    assert all(torch.equal(one[key], two[key]) for key in one)
    card = import_card(tmp_path / "two" / "model.json")
    network = load_card(card, tmp_path / "own", "cpu")
    assert network.predict(torch.rand(1, 20, 24), torch.rand(1, 20, 24)).shape == (2, 20, 24)


def test_brains_are_placed_as_the_card_wants_them(tmp_path, shapes):
    """What a fine-tuned network is trained on is what `register` will show it."""
    about = {"space": "placed", "spacing_mm": 1.2, "center": [10.0, 9.0], "shape": [20, 24]}
    card = a_dirnet(tmp_path, intensity="brain", **about)
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(tuned(shapes, card)))
    config = read_configuration([tmp_path / "study.yaml"])
    pairs = split_pairs(config, "train", tmp_path)
    image = read_first(pairs)
    wanted = network_grid(
        ModelCard.model_validate_json(card.read_text()).input,
        Image(scale_intensities(image, "brain"), image.grid),
    )
    place = Placement.of_images(image, image, config.dataset)
    assert place.fixed == wanted
    shown = pairs._loaded[pairs.items(0)[0].fixed]["image"]
    assert shown.grid == wanted
    assert shown.data.shape == (1, 20, 24)
    outcome = Run(config, tmp_path / "run").train()
    made = ModelCard.model_validate_json((outcome.folder / "model.json").read_text())
    assert made.input.space == "placed"
    assert made.input.center == (10.0, 9.0)


def read_first(pairs: Any) -> Image:
    from neuralreg.training.data.dataset_files import read_case_image

    return read_case_image(pairs.case(pairs.items(0)[0].fixed).image, 2)


def test_another_network_or_intensity_beside_the_start_is_refused_with_its_key(shapes, tmp_path):
    card = a_dirnet(tmp_path)
    for change, key in (
        ({"model__given": {"backbone": {"name": "voxelmorph"}}}, "model.backbone"),
        ({"dataset__intensity": "brain"}, "dataset.intensity"),
    ):
        (tmp_path / "study.yaml").write_text(yaml.safe_dump(tuned(shapes, card, **change)))
        with pytest.raises(InvalidOption, match=f"Leave {key} out"):
            read_configuration([tmp_path / "study.yaml"])


def test_weights_of_other_shapes_are_refused_in_words(shapes, tmp_path):
    card = a_dirnet(tmp_path)
    wider = dirnet.build(2, width=8)
    torch.save(wider.state_dict(), tmp_path / "weights.pt")
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(tuned(shapes, card)))
    with pytest.raises(IncompatibleModel, match="do not fit the architecture"):
        Run(read_configuration([tmp_path / "study.yaml"]), tmp_path / "run").train()
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("convex", IncompatibleModel, "a method without weights"),
        ("no_such_model", IncompatibleModel, "no such model"),
        ("anatomix.iclr2025", IncompatibleModel, "kind 'features'"),
        ("gradicon.unigradicon", WeightsUnavailable, "models get"),
    ],
)
def test_what_cannot_be_a_start_is_said(name, kind, words, tmp_path, monkeypatch):
    monkeypatch.setenv("NEURALREG_CACHE", str(tmp_path))
    with pytest.raises(kind, match=words):
        take_over_start({"model": {"start_from": name}})


def test_a_run_without_a_model_yet_is_said(tmp_path):
    with pytest.raises(UnreadableFile, match="holds no trained model"):
        take_over_start({"model": {"start_from": str(tmp_path)}})


def test_the_grid_of_a_network_without_a_card_is_the_field_of_view():
    grid = Grid((8, 6), (1.0, 2.0), (0.0, 0.0), (1.0, 0.0, 0.0, 1.0))
    image = Image(torch.from_numpy(np.arange(48.0, dtype=np.float32).reshape(1, 6, 8)), grid)
    values = {
        "dataset": {"size": [4, 4]},
        "model": {"backbone": "dirnet"},
        "loss": {"image": "ssd"},
    }
    config = Configuration.model_validate(values)
    assert Placement.of_images(image, image, config.dataset).fixed == grid.resize((4, 4))
