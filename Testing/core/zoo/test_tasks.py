"""Models for other tasks than registration are never taken for one that registers."""

from __future__ import annotations

import json

import pytest
from neuralreg.cli.main import app
from neuralreg.errors import IncompatibleModel
from neuralreg.training.model.fine_tuning import starting_point
from neuralreg.zoo.card import ModelCard
from neuralreg.zoo.registry import list_models, load_labeler, load_model, model_card
from neuralreg.zoo.weights import import_weights
from pydantic import ValidationError
from typer.testing import CliRunner

from Testing.support.paths import WEIGHTS

OTHERS = ("aparc50", "mindgrab", "subcortical18")


def test_models_that_label_images_are_listed_by_their_task_only():
    assert not {card.name for card in list_models()} & set(OTHERS)
    assert [card.name for card in list_models(task="brain mask")] == ["mindgrab"]
    assert {card.name for card in list_models(task="labels")} == {"aparc50", "subcortical18"}
    assert {card.name for card in list_models(task=None)} >= {"convex", *OTHERS}


@pytest.mark.parametrize("task", ["registration", "brain mask", "labels", "all"])
def test_the_command_lists_the_models_of_a_task(task):
    outcome = CliRunner().invoke(app, ["models", "list", "--task", task, "--json"])
    cards = json.loads(outcome.stdout)["models"]
    assert cards
    assert task == "all" or {card["task"] for card in cards} == {task}


def test_an_unknown_task_is_named_with_those_that_there_are():
    outcome = CliRunner().invoke(app, ["models", "list", "--task", "masks"])
    assert outcome.exit_code != 0
    assert "'masks'" in outcome.stderr
    assert "brain mask" in outcome.stderr


@pytest.mark.parametrize("name", OTHERS)
def test_a_model_that_labels_images_is_refused_for_a_registration(name):
    command = "brain-mask" if name == "mindgrab" else "label"
    with pytest.raises(IncompatibleModel, match=rf"does not register.*convex.*{command} --model"):
        load_model(name)


def test_a_model_that_registers_is_refused_for_labels():
    with pytest.raises(IncompatibleModel, match="labels none"):
        load_labeler(model_card("convex"))


def test_a_training_cannot_start_from_a_network_for_labels():
    assert not any(model_card(name).trainable for name in OTHERS)
    with pytest.raises(IncompatibleModel, match="cannot start"):
        starting_point("subcortical18")


@pytest.mark.needs_shared(WEIGHTS / "meshnet.mindgrab.bin")
def test_weights_for_other_tasks_are_imported_from_a_folder_too(tmp_path):
    ready, _ = import_weights(WEIGHTS, list_models(task=None), tmp_path)
    assert {card.name for card in ready} >= set(OTHERS)


def test_a_card_for_labels_needs_structures_and_its_task():
    plain = json.loads(model_card("mindgrab").model_dump_json())
    for change in ({"structures": []}, {"task": "registration"}):
        with pytest.raises(ValidationError):
            ModelCard.model_validate({**plain, **change})
