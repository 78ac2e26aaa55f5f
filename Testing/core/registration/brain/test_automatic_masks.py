"""The automatic choice finds the brains of heads first, where a network lacks only that."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from neuralreg import register
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.image import Image
from neuralreg.registration.model_choice import ImageContent, network_without_masks
from neuralreg.registration.options import FieldRefinement
from neuralreg.zoo.registry import list_models, model_card

GRID = Grid((42, 48, 40), (5.0, 5.0, 5.0), (-105, -120, -100), tuple(np.eye(3).ravel()))
QUICK = {"linear": "none", "refinement": FieldRefinement(steps=0), "device": "cpu"}


def head(brain: float = 1.0) -> Image:
    """A brain of about 1.4 l within a dark skull, in air with noise.

    brain: times its usual radii.
    """
    index = np.stack(np.meshgrid(*map(np.arange, GRID.shape), indexing="ij"), -1)[..., ::-1]
    far = np.linalg.norm(GRID.points_at(index) / (65, 80, 64), axis=-1)
    air = np.random.default_rng(0).uniform(0, 1, far.shape)
    values = np.where(far < brain, 100 - 10 * far, np.where(far < 1.4, 30.0, air))
    return Image(torch.from_numpy(values.astype(np.float32))[None], GRID)


@pytest.fixture
def networks(tmp_path, monkeypatch):
    """A network for brains without skull, and one that takes what is bright for the brain."""
    brains = json.loads(model_card("convex").model_dump_json())
    brains |= {"name": "brains.only", "auto_rank": 1}
    brains["input"] |= {"content": "brain", "dimensions": [3]}
    kernel = np.zeros((3, 3, 3))
    kernel[1, 1, 1] = 1
    parts = (kernel, [0.0], [0.0, 100.0], [0.0, -60.0])  # 100 x - 60, the brightest voxels are 1
    np.concatenate([np.ravel(part) for part in parts]).astype("<f4").tofile(tmp_path / "bright.bin")
    masks = json.loads(model_card("mindgrab").model_dump_json())
    masks["arguments"] = {"channels": 1, "classes": 2, "dilations": [1], "activation": "relu"}
    masks["weights"] = {"file": "bright.bin", "format": "float32"}
    for card in (brains, masks):
        (tmp_path / f"{card['name']}.json").write_text(json.dumps(card))
    monkeypatch.setenv("NEURALREG_MODELS", str(tmp_path))
    return tmp_path


def test_heads_get_masks_and_the_network_and_the_result_says_so(networks):
    result = register(head(), head(), **QUICK)
    assert result.model == "brains.only"
    assert any("mindgrab has found the brains first" in note for note in result.warnings)


def test_without_the_weights_nothing_is_made_or_fetched(networks):
    (networks / "bright.bin").unlink()
    result = register(head(), head(), **QUICK)
    assert result.model == "convex"
    assert not any("mindgrab" in note for note in result.warnings)


def test_a_model_or_an_anatomy_that_was_named_is_left_alone(networks):
    for named in ({"model": "convex"}, {"preset": "brain MR"}):
        result = register(head(), head(), **QUICK, **named)
        assert not any("mindgrab" in note for note in result.warnings)


def test_what_is_no_brain_is_registered_without_the_network_and_the_reason_is_told(networks):
    result = register(head(), head(brain=0.6), **QUICK)
    assert result.model == "convex"
    (note,) = [note for note in result.warnings if "brains.only was not tried" in note]
    assert "moving image" in note
    assert "a brain of 3.6 l" in note


@pytest.mark.parametrize("spacing", [2.0, 10.0])
def test_what_is_too_small_or_too_large_for_a_head_is_not_looked_at(networks, spacing):
    cards = list_models(available=True)
    grid = Grid(GRID.size, (spacing,) * 3, (0, 0, 0), GRID.direction)
    usual, other = (ImageContent.of(Image(head().data, each)) for each in (GRID, grid))
    assert network_without_masks(cards, usual, usual).name == "brains.only"
    assert network_without_masks(cards, usual, other) is None
