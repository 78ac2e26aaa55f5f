"""Shapes in random contrasts, and descriptions that learn from them."""

import csv
import math
import threading

import pytest
import torch
from neuralreg.errors import Cancelled
from neuralreg.geometry.sampling import index_grid, sample
from neuralreg.measures.mind import mind_ssc
from neuralreg.networks.convex import ConvexSearch
from neuralreg.networks.descriptor import Descriptor
from neuralreg.registration.engine import register
from neuralreg.training.configuration import read_configuration
from neuralreg.training.descriptors.descriptor_loss import MatchingStep, SyntheticBatches
from neuralreg.training.descriptors.synthesis import Synthesis
from neuralreg.training.loop.run import Run
from neuralreg.zoo.registry import load_card, load_model, read_card
from neuralreg.zoo.user_models import import_card
from torch import nn
from torch.nn import functional

from Testing.support.paths import RESOURCES
from Testing.support.phantom import CUBE, seen

RECIPE = RESOURCES / "Training" / "descriptor.yaml"
TOY = [
    "dataset.size=[24, 24, 24]",
    "dataset.pairs=6",
    "model.backbone.widths=[4, 8]",
    "model.backbone.extra=2",
    "loss.features.places=50",
    "training.epochs=3",
    "training.schedule.T_max=3",
    "training.optimizer.lr=0.01",
]


def made(shape, seed=0):
    return Synthesis(shape, torch.Generator().manual_seed(seed)).pair()


@pytest.mark.parametrize("shape", [(24, 20, 28), (32, 40)])
def test_two_views_show_shapes_that_moved_in_other_grays(shape):
    pair = made(shape)
    assert pair.fixed.shape == pair.moving.shape == (1, *shape)
    assert pair.displacement.shape == (len(shape), *shape)
    assert pair.visible.shape == shape
    for view in (pair.fixed, pair.moving):
        assert 0 <= float(view.min()) < float(view.max()) <= 1
    assert (pair.fixed - pair.moving).abs().mean() > 0.02
    assert float(pair.displacement.abs().max()) > 0.5
    assert 0.2 < float(pair.visible.float().mean()) < 1


def test_the_displacement_leads_from_the_fixed_view_to_the_moving_one():
    """Where both views happen to have alike contrasts, the moved one is like the fixed one."""
    gains = []
    for seed in range(12):
        pair = made((40, 48), seed)
        moved = read(pair.moving, pair.displacement)
        unmoved, right = (
            functional.mse_loss(mind_ssc(v[None])[0][:, pair.visible], there).item()
            for there in [mind_ssc(pair.fixed[None])[0][:, pair.visible]]
            for v in (pair.moving, moved)
        )
        gains.append(right / unmoved)
    assert sum(gains) / len(gains) < 0.9


def read(image, displacement):
    grid = index_grid(tuple(image.shape[1:]), like=image)
    return sample(image, grid + displacement.movedim(0, -1))


def test_a_seed_decides_over_everything():
    for first, again in zip(made((16, 16, 16), 3), made((16, 16, 16), 3), strict=True):
        assert torch.equal(first, again)
    assert not torch.equal(made((16, 16, 16), 3).fixed, made((16, 16, 16), 4).fixed)


def test_batches_go_on_where_they_stopped():
    batches = SyntheticBatches((12, 12, 12), pairs=4, size=2, seed=1)
    whole, rest = list(batches(2)), list(batches(2, 3))
    assert len(whole) == batches.count() == 4
    assert torch.equal(whole[3]["fixed"], rest[0]["fixed"])
    assert whole[0]["fixed"].shape == (2, 1, 12, 12, 12)
    assert whole[0]["displacement"].shape == (2, 3, 12, 12, 12)


@pytest.mark.parametrize("shape", [(12, 16, 13), (1, 20, 17), (3, 5, 2), (15, 18), (1, 9)])
def test_an_untrained_descriptor_says_what_mind_says(shape):
    image = torch.rand(1, 1, *shape, generator=torch.Generator().manual_seed(0))
    said = Descriptor(dimension=len(shape), widths=(4, 8), extra=0)(image)
    even = [side for n in shape[::-1] for side in (0, n % 2)]
    padded = functional.pad(image, even, mode="replicate")
    pool = functional.avg_pool3d if len(shape) == 3 else functional.avg_pool2d
    assert torch.allclose(said, pool(mind_ssc(padded), 2), atol=1e-6)


def test_the_scale_of_differences_does_not_depend_on_extra_numbers():
    one, two = torch.rand(2, 1, 1, 12, 12, 12, generator=torch.Generator().manual_seed(0))
    differences = []
    for extra in (0, 4):
        network = Descriptor(widths=(4, 8), extra=extra)
        differences.append((network(one) - network(two)).square().mean().item())
    assert differences[0] == pytest.approx(differences[1], rel=1e-4)


class Answer(nn.Module):
    """The same descriptions for the fixed and the moving image, whatever they show."""

    def __init__(self, features):
        super().__init__()
        self.features = nn.Parameter(features)

    def forward(self, images):
        return self.features.expand(len(images), *self.features.shape)


def losses_of(features, displacement=0.0, **options):
    d = features.dim() - 1
    shape = tuple(2 * n for n in features.shape[1:])
    step = MatchingStep(Answer(features), **options)
    image = torch.zeros(1, 1, *shape)
    batch = {
        "fixed": image,
        "moving": image,
        "displacement": torch.full((1, d, *shape), displacement),
        "visible": torch.ones(1, *shape, dtype=torch.bool),
        "seed": torch.tensor([5]),
    }
    return {name: value.item() for name, value in step(batch).items()}


@pytest.mark.parametrize("d", [2, 3])
def test_descriptions_that_tell_places_apart_cost_less_than_constant_ones(d):
    torch.manual_seed(0)
    none = losses_of(torch.ones(4, *[12] * d))
    assert none["search"] == pytest.approx(math.log(7**d), rel=1e-4)
    assert none["near"] == pytest.approx(math.log(5**d), rel=1e-4)
    assert none["loss"] == pytest.approx(none["search"] + none["near"], rel=1e-4)
    told = 0.15 * torch.randn(8, *[12] * d)
    right, wrong = losses_of(told), losses_of(told, displacement=8.0)
    for name in ("search", "near"):
        assert right[name] < 0.98 * none[name] < none[name] < wrong[name]


def test_a_pair_of_which_nothing_is_known_costs_nothing():
    step = MatchingStep(Answer(torch.rand(4, 8, 8, 8)))
    image = torch.zeros(1, 1, 16, 16, 16)
    batch = {"fixed": image, "moving": image, "displacement": torch.zeros(1, 3, 16, 16, 16)}
    unknown = {"visible": torch.zeros(1, 16, 16, 16, dtype=torch.bool), "seed": torch.tensor([0])}
    loss = step({**batch, **unknown})["loss"]
    loss.backward()
    assert loss.item() == 0


def test_the_recipe_trains_resumes_and_its_features_register(tmp_path, monkeypatch):
    monkeypatch.setenv("NEURALREG_MODELS", str(tmp_path / "own"))
    toy = [*TOY, "name=trained.toy"]
    config = read_configuration([RECIPE], toy)
    whole = Run(config, tmp_path / "whole").train()
    losses = (tmp_path / "whole" / "curves.csv").read_text().splitlines()
    assert len(losses) > 3

    piece = read_configuration([RECIPE], [*toy, "training.max_steps=8"])
    Run(piece, tmp_path / "pieces").train()
    resumed = Run(config, tmp_path / "pieces").train(resume=True)
    assert resumed.state.step == whole.state.step == 18
    first, second = (
        torch.load(tmp_path / folder / "trained.toy.pt", weights_only=True)
        for folder in ("whole", "pieces")
    )
    assert all(torch.equal(first[name], second[name]) for name in first)

    card = import_card(whole.card)
    model = load_model(card.name)
    assert isinstance(model.module, ConvexSearch)
    fixed = seen(CUBE)
    moving = seen(CUBE, lambda p: p + [3.0, 0.0, 0.0], contrast=lambda v: 80 - 70 * v)
    result = register(fixed, moving, card.name)
    assert result.model == "trained.toy"
    moved = result.fixed_to_moving.TransformPoint((5.0, 5.0, 5.0))
    assert moved == pytest.approx((2.0, 5.0, 5.0), abs=1.0)


def test_a_run_leaves_logs_and_figures_of_shapes_that_it_never_trained_on(tmp_path):
    run = Run(read_configuration([RECIPE], [*TOY, "training.max_steps=6"]), tmp_path / "run")
    run.train()
    assert list((tmp_path / "run" / "tensorboard").glob("events.*"))
    with (tmp_path / "run" / "curves.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert all(float(row["valid loss"]) > 0 for row in rows)
    assert rows[0]["valid loss"] != rows[0]["train loss"]
    card = read_card(tmp_path / "run" / "model.json")
    assert "epochs" in card.measured["validation loss"]


def test_a_stopped_run_leaves_its_model_too(tmp_path):
    stop = threading.Event()

    def watch(report):
        if report.step == 3:
            stop.set()

    config = read_configuration([RECIPE], TOY)
    with pytest.raises(Cancelled, match="after 3 steps"):
        Run(config, tmp_path / "run", watchers=[watch], stop=stop).train()
    card = read_card(tmp_path / "run" / "model.json")
    assert "3 steps" in card.training_data
    assert isinstance(load_card(card, tmp_path / "run").module, ConvexSearch)
