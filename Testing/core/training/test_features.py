"""Shapes in random contrasts, and features that learn from them."""

import math
from pathlib import Path

import pytest
import torch
from neuralreg.engine import register
from neuralreg.training.contrastive import ContrastiveStep, SyntheticBatches
from neuralreg.training.merging import read_configuration
from neuralreg.training.run import train
from neuralreg.training.synthesis import Synthesis
from neuralreg.zoo.own import import_card
from torch import nn

from Testing.phantom import CUBE, seen

RECIPE = Path(__file__).parents[3] / "Resources" / "Training" / "descriptor.yaml"
TOY = [
    "dataset.size=[20, 20, 20]",
    "dataset.pairs=6",
    "model.backbone.widths=[4, 8]",
    "model.backbone.outputs=6",
    "loss.features.voxels=48",
    "loss.features.reach=6",
    "training.epochs=3",
    "training.schedule.T_max=3",
    "training.optimizer.lr=0.01",
]


def views(shape, seed=0):
    return Synthesis(shape, torch.Generator().manual_seed(seed)).pair()


@pytest.mark.parametrize("shape", [(24, 20, 28), (32, 40)])
def test_two_views_show_the_same_shapes_in_other_grays(shape):
    one, other, labels = views(shape)
    assert one.shape == other.shape == (1, *shape)
    assert labels.shape == shape
    for view in (one, other):
        assert 0 <= float(view.min()) < float(view.max()) <= 1
    assert (one - other).abs().mean() > 0.02
    assert len(labels.unique()) > 2


def test_a_seed_decides_over_everything():
    for first, again in zip(views((16, 16, 16), 3), views((16, 16, 16), 3), strict=True):
        assert torch.equal(first, again)
    assert not torch.equal(views((16, 16, 16), 3)[0], views((16, 16, 16), 4)[0])


def test_batches_go_on_where_they_stopped():
    batches = SyntheticBatches((12, 12, 12), pairs=4, size=2, seed=1)
    whole, rest = list(batches(2)), list(batches(2, 3))
    assert len(whole) == batches.count() == 4
    assert torch.equal(whole[3]["fixed"], rest[0]["fixed"])
    assert whole[0]["fixed"].shape == (2, 1, 12, 12, 12)


class Answer(nn.Module):
    """Features that do not depend on the image."""

    def __init__(self, features):
        super().__init__()
        self.features = nn.Parameter(features)

    def forward(self, images):
        return self.features.expand(len(images), *self.features.shape)


def loss_of(features, **options):
    step = ContrastiveStep(Answer(features), voxels=64, neighborhoods=2, reach=6, **options)
    image = torch.zeros(1, 1, *features.shape[1:])
    return step({"fixed": image, "moving": image, "seed": torch.tensor([5])})["loss"].item()


def test_features_that_tell_voxels_apart_cost_nothing_and_constant_ones_the_logarithm():
    torch.manual_seed(0)
    apart = torch.randn(128, 16, 16, 16)
    assert loss_of(apart) < 0.05
    # Neighbors need not be told apart, so that only those further away count.
    far_only = math.log(64)
    assert 0.9 * far_only < loss_of(torch.ones(8, 16, 16, 16), alike=0) <= far_only
    assert loss_of(torch.ones(8, 16, 16, 16), alike=3) < loss_of(torch.ones(8, 16, 16, 16), alike=0)


def test_the_recipe_trains_resumes_and_its_features_register(tmp_path, monkeypatch):
    monkeypatch.setenv("NEURALREG_MODELS", str(tmp_path / "own"))
    config, plain = read_configuration([RECIPE], TOY)
    whole = train(config, plain, tmp_path / "whole")
    losses = (tmp_path / "whole" / "curves.csv").read_text().splitlines()
    assert len(losses) > 3

    piece, its_plain = read_configuration([RECIPE], [*TOY, "training.max_steps=8"])
    train(piece, its_plain, tmp_path / "pieces")
    resumed = train(config, plain, tmp_path / "pieces", resume=True)
    assert resumed.state.step == whole.state.step == 18
    for folder in ("whole", "pieces"):
        assert (tmp_path / folder / "descriptor.shapes.pt").is_file()
    first, second = (
        torch.load(tmp_path / folder / "descriptor.shapes.pt", weights_only=True)
        for folder in ("whole", "pieces")
    )
    assert all(torch.equal(first[name], second[name]) for name in first)

    card = import_card(whole.card)
    fixed = seen(CUBE)
    moving = seen(CUBE, lambda p: p + [3.0, 0.0, 0.0], contrast=lambda v: 80 - 70 * v)
    result = register(fixed, moving, card.name)
    assert result.model == "descriptor.shapes"
    moved = result.fixed_to_moving.TransformPoint((5.0, 5.0, 5.0))
    assert moved == pytest.approx((2.0, 5.0, 5.0), abs=1.0)
