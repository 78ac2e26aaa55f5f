"""The networks that come with the program: here, whole, small, better than what they began as."""

import numpy as np
import pytest
import torch
from neuralreg.networks.descriptor import Descriptor
from neuralreg.registration.engine import register
from neuralreg.registration.model_choice import (
    ImageContent,
    choose_model,
    model_concerns,
)
from neuralreg.training.configuration import read_configuration
from neuralreg.training.descriptors.descriptor_loss import MatchingStep, SyntheticBatches
from neuralreg.zoo.registry import list_models, load_model, model_card
from neuralreg.zoo.weights import is_available, is_downloaded, path_of, remove, verify

from Testing.support.itk_points import transform_points
from Testing.support.paths import RESOURCES
from Testing.support.phantom import CUBE, SQUARE, landmarks, seen

SHIPPED = {3: "descriptor.shapes", 2: "descriptor.shapes_2d"}
LARGEST = 8e6  # bytes
RECIPES = RESOURCES / "Training"


@pytest.fixture(autouse=True)
def an_empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("NEURALREG_CACHE", str(tmp_path))
    monkeypatch.setenv("NEURALREG_MODELS", str(tmp_path / "own"))


@pytest.mark.parametrize("name", SHIPPED.values())
def test_it_is_here_without_a_download_and_stays(name):
    card = model_card(name)
    path = path_of(card)
    assert path is not None
    assert path.stat().st_size == card.weights.bytes <= LARGEST
    assert verify(card) == "checked"
    assert is_available(card)
    assert card in list_models(available=True)
    assert not is_downloaded(card)
    assert not remove(card)
    assert path.is_file()


@pytest.mark.parametrize("d", SHIPPED)
def test_it_was_trained_by_the_recipe_in_the_repository(d):
    recipe = {3: "descriptor.yaml", 2: "descriptor_2d.yaml"}[d]
    config = read_configuration([RECIPES / recipe])
    card, backbone = model_card(SHIPPED[d]), config.model.backbone[0]
    assert card.architecture == backbone.name
    assert card.arguments == {"dimension": len(config.dataset.size), **backbone.options}
    assert recipe in card.training_data
    assert f"{config.training.epochs * config.dataset.pairs} steps" in card.training_data


class Told(torch.nn.Module):
    """A description as a network."""

    def __init__(self, describe):
        super().__init__()
        self.describe = [describe]  # in a list: not a part of this module

    def forward(self, images):
        return self.describe[0](images)


@pytest.mark.parametrize(("d", "name"), SHIPPED.items())
def test_it_finds_shapes_that_it_never_saw_better_than_mind(d, name):
    batches = SyntheticBatches({3: (48, 48, 48), 2: (96, 96)}[d], pairs=6, seed=5)
    network = load_model(name)
    begin = Descriptor(**model_card(name).arguments)
    losses = {}
    for kind, module in (("mind", begin), ("trained", network.module.describe)):
        step = MatchingStep(Told(module))
        with torch.no_grad():
            losses[kind] = np.mean([float(step(batch)["search"]) for batch in batches(0)])
    assert losses["trained"] < 0.95 * losses["mind"]


@pytest.mark.parametrize(("grid", "name"), [(CUBE, SHIPPED[3]), (SQUARE, SHIPPED[2])])
def test_it_registers_two_contrasts(grid, name):
    shift = np.array([4.0, -3.0, 2.0])[: grid.dimension]
    fixed = seen(grid)
    moving = seen(grid, lambda p: p - shift, contrast=lambda v: 90 * np.exp(-3 * v), seed=1)
    result = register(fixed, moving, name)
    points = landmarks(grid.dimension)
    moved = transform_points(result.fixed_to_moving, points)
    assert np.linalg.norm(moved - points - shift, axis=1).mean() < 1.0
    assert result.outcome.folding_percent_body == 0


def test_what_surrounds_a_place_decides_not_the_whole_image():
    describe = load_model(SHIPPED[3]).module.describe
    one = torch.rand(1, 1, 96, 32, 32, generator=torch.Generator().manual_seed(0))
    two = one.clone()
    two[:, :, 80:] = 0
    apart = (describe(one) - describe(two)).abs().amax((0, 1, 3, 4))
    assert float(apart[45:].max()) > 0.01
    assert float(apart[:10].max()) < 1e-2 * float(apart[45:].max())


def test_auto_does_not_take_it_and_nothing_speaks_against_it():
    fixed, moving = seen(CUBE), seen(CUBE, contrast=lambda v: 80 - 70 * v)
    seen_pair = ImageContent.of(fixed, None), ImageContent.of(moving, None)
    card = model_card(SHIPPED[3])
    assert not model_concerns(card, *seen_pair)
    choice = choose_model(list_models(available=True), *seen_pair)
    assert choice is not None
    assert card.name not in choice.models
