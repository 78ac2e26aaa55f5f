"""A new architecture is one file and one card: it registers, and it can be trained."""

from __future__ import annotations

import json

import pytest
import torch
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.image import Image
from neuralreg.registration.engine import register
from neuralreg.registration.options import LinearAlignment
from neuralreg.training.configuration import read_configuration
from neuralreg.training.loop.run import Run
from neuralreg.zoo.registry import load_model

from Testing.support.trainings import training_values

ARCHITECTURE = '''
"""A network of two convolutions."""

import torch
from neuralreg.networks.network import Output, RegistrationModule
from torch import nn


class Tiny(RegistrationModule):
    output = Output("displacement", "normalized", "zyx")
    divisor = 4

    def __init__(self, width: int = 4, *, dimension: int = 2) -> None:
        super().__init__()
        make = nn.Conv2d if dimension == 2 else nn.Conv3d
        self.layers = nn.Sequential(
            make(2, width, 5, 2, 2), nn.ReLU(), make(width, dimension, 1), nn.Upsample(None, 2)
        )

    def forward(self, fixed, moving):
        assert all(n % 4 == 0 for n in fixed.shape[2:])
        return 0.01 * self.layers(torch.cat((fixed, moving), 1))


build = Tiny
'''


@pytest.fixture
def own_models(tmp_path, monkeypatch):
    """The user's folder with the file and the card."""
    folder = tmp_path / "models"
    folder.mkdir()
    monkeypatch.setenv("NEURALREG_MODELS", str(folder))
    (folder / "tiny.py").write_text(ARCHITECTURE)
    card = {
        "name": "tiny.untrained",
        "title": "Tiny",
        "architecture": "tiny",
        "arguments": {"width": 3},
        "input": {"dimensions": [2], "space": "whole", "shape": [24, 20]},
        "output": {"kind": "normalized", "order": "zyx"},
        "license": "none",
        "citation": "none",
        "training_data": "none",
        "modalities": ["any"],
        "anatomies": ["any"],
        "intended_use": "tests",
        "limits": "untrained",
    }
    (folder / "tiny.json").write_text(json.dumps(card))
    return folder


def test_it_registers_by_its_card(own_models):
    torch.manual_seed(0)
    grid = Grid((20, 24), (1.0, 2.0), (3.0, 4.0), (1, 0, 0, 1))
    fixed, moving = (Image(torch.rand(1, 24, 20), grid) for _ in range(2))
    result = register(fixed, moving, "tiny.untrained", linear=LinearAlignment.NONE)
    assert result.model == "tiny.untrained"
    network = load_model("tiny.untrained")
    assert (network.module.divisor, len(network.module.layers[0].weight)) == (4, 3)


def test_it_is_trained_by_its_name(own_models, shapes, tmp_path, write_yaml):
    values = training_values(shapes, model__backbone={"name": "tiny", "width": 5})
    values["dataset"]["size"] = [22, 18]  # the network takes other sizes: it is padded
    configuration = read_configuration([write_yaml(values)], ["training.max_steps=2"])
    outcome = Run(configuration, tmp_path / "run").train()
    assert outcome.state.step == 2
    weights = torch.load(tmp_path / "run" / "trained.pt", weights_only=True)
    assert len(weights["model.parts.0.network.layers.0.weight"]) == 5


def test_its_options_are_those_of_its_class(own_models, shapes, write_yaml):
    from neuralreg.errors import InvalidOption

    values = training_values(shapes, model__backbone={"name": "tiny", "widht": 5})
    with pytest.raises(InvalidOption, match=r"allowed: width; did you mean 'width'"):
        read_configuration([write_yaml(values)])
