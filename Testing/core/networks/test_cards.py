"""The cards of the published networks: architecture, options and weights belong together."""

import importlib
import inspect
from pathlib import Path

import platformdirs
import pytest
import torch
from neuralreg.zoo.load_weights import fill_weights, state_of
from neuralreg.zoo.registry import list_models
from neuralreg.zoo.weights import verify

from Testing.support.paths import NO_SHARED, WEIGHTS
from Testing.support.seeded import seeded_pair

DOWNLOADED = Path(
    platformdirs.user_cache_dir("neuralreg")
)  # of the user, which tests otherwise leave alone
CARDS = {card.name: card for card in list_models() if card.weights and card.weights.url}
SMALL = {"gradicon": (65, 65, 65)}


def built(card):
    return importlib.import_module(f"neuralreg.networks.{card.architecture}").build(
        **card.arguments
    )


@pytest.mark.parametrize("name", CARDS)
def test_a_card_builds_a_network_that_answers_as_it_says(name):
    card = CARDS[name]
    shape = SMALL.get(card.architecture, (16, 32, 48)[-card.input.dimensions[0] :])
    network, pair = built(card).eval(), seeded_pair(shape)
    with torch.inference_mode():
        if card.output.kind == "features":
            answer = network(pair[0])
        else:
            answer = network(
                *pair, **{name: option.default for name, option in card.options.items()}
            )
    assert answer.shape[2:] == shape
    assert card.output.kind == "features" or answer.shape[1] == len(shape)
    if card.output.kind == "unit_map":  # untrained: the identity
        assert answer[0, :, 0, 0, -1].tolist() == [0, 0, 1]


@pytest.mark.parametrize("name", CARDS)
def test_options_of_a_card_are_those_of_the_network_with_their_defaults(name):
    taken = inspect.signature(built(CARDS[name]).forward).parameters
    given = {n: p.default for n, p in taken.items() if p.kind is p.KEYWORD_ONLY}
    assert given == {n: option.default for n, option in CARDS[name].options.items()}


@pytest.mark.parametrize("name", CARDS)
def test_published_weights_fit_their_card(name):
    card = CARDS[name]
    places = [folder / card.weights.file for folder in (WEIGHTS, DOWNLOADED)]
    path = next((p for p in places if p.is_file()), None)
    if path is None:
        pytest.skip(f"{NO_SHARED}, and {card.weights.file} was not downloaded")
    verify(card, path)
    assert card.weights.bytes in (None, path.stat().st_size)
    fill_weights(built(card), state_of(path), name)


@pytest.mark.parametrize("name", CARDS)
def test_weights_come_from_a_place_that_does_not_change(name):
    weights = CARDS[name].weights
    release = "/releases/download/" in weights.url
    commit = any(len(part) == 40 for part in weights.url.split("/"))
    assert release or (commit and (weights.sha256 or weights.git_blob))
