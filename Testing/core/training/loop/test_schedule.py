"""Networks that are trained part by part: freeze and grow."""

from __future__ import annotations

import json

import pytest
import torch
import yaml
from neuralreg.errors import InvalidOption
from neuralreg.geometry.normalized import upsample
from neuralreg.networks import lapirn
from neuralreg.training.configuration import read_configuration
from neuralreg.training.loop.checkpoint import read_checkpoint
from neuralreg.training.loop.run import Run

from Testing.support.command_line import neuralreg
from Testing.support.seeded import seeded_pair, seeded_weights
from Testing.support.trainings import training_values

GROWING = [
    {"epochs": 1, "levels": 1},
    {"epochs": 1, "levels": 2, "freeze": "*model_lvl1.*"},
    {"epochs": 1, "freeze": ["*model_lvl2.*"]},
]


def run(shapes, folder, *, resume=False, **changes):
    """The outcome of a training of a small LapIRN in stages, 4 epochs of 4 steps."""
    common = {
        "model__backbone": {"name": "lapirn", "start_channel": 1},
        "training__stages": GROWING, "training__epochs": 4, "dataset__valid": None,
    }  # fmt: skip
    path = folder.with_suffix(".yaml")
    path.write_text(yaml.safe_dump(training_values(shapes, **common | changes)))
    return Run(read_configuration([path]), folder).train(resume=resume)


def weights(folder, name="last.pt"):
    return read_checkpoint(folder / "checkpoints" / name)["network"]


def changed(one, other):
    """Which levels have other weights."""
    levels = set()
    for name in one:
        if not torch.equal(one[name], other[name]):
            levels.add(1 if "lvl1." in name.split("model_lvl2.")[-1] and "model_lvl1" in name
                       else 2 if "model_lvl2" in name else 3)  # fmt: skip
    return levels


def test_each_stage_trains_its_levels_and_leaves_the_others(shapes, tmp_path):
    run(shapes, tmp_path / "run", training__save_period=1)
    kept = [weights(tmp_path / "run", f"epoch_000{n}.pt") for n in (1, 2, 3, 4)]
    assert changed(kept[0], kept[1]) == {2}
    assert changed(kept[1], kept[2]) == {3}
    assert changed(kept[2], kept[3]) == {1, 2, 3}


@pytest.mark.parametrize("cut", [4, 6, 10])
def test_a_training_in_stages_resumes_bit_for_bit(shapes, tmp_path, cut):
    """Stopped where a stage ends, within one, and within another."""
    run(shapes, tmp_path / "whole")
    run(shapes, tmp_path / "parts", training__max_steps=cut)
    assert changed(weights(tmp_path / "whole"), weights(tmp_path / "parts"))
    resumed = run(shapes, tmp_path / "parts", resume=True)
    assert resumed.state.step == 16
    assert changed(weights(tmp_path / "whole"), weights(tmp_path / "parts")) == set()


def test_a_model_that_was_stopped_in_its_first_stage_answers_as_that_stage(shapes, tmp_path):
    """The levels that were never trained add nothing, so that the exported model can be used."""
    run(shapes, tmp_path / "run", training__max_steps=3)
    network = lapirn.build(1, dimension=2)
    state = torch.load(tmp_path / "run" / "trained.pt", weights_only=True)
    network.load_state_dict({k.partition("network.")[2]: v for k, v in state.items()})
    pair = seeded_pair((32, 40))
    with torch.no_grad():
        whole = network(*pair)
        network.use_levels(1)
        coarse = network(*pair)
    assert coarse.abs().max() > 1e-4
    assert torch.equal(whole, coarse)


def test_the_coarse_levels_answer_as_a_network_of_their_own():
    network = lapirn.build(2, dimension=2).eval()
    network.load_state_dict(seeded_weights(network.state_dict(), {}))
    pair = [torch.nn.functional.avg_pool2d(i, 3, 2, 1, count_include_pad=False)
            for i in seeded_pair((64, 48))]  # fmt: skip
    with torch.no_grad():
        alone = network.model_lvl2.predict(*pair).field
        network.use_levels(2)
        grown = network(*seeded_pair((64, 48)))
        network.use_levels(None)
        whole = network(*seeded_pair((64, 48)))
    assert torch.allclose(grown, upsample(alone))
    assert not torch.allclose(whole, grown)


def test_the_best_weights_are_those_of_the_last_stage(shapes, tmp_path):
    """A validation that was better while less was trained does not count in the end."""
    valid = {"dir": str(shapes / "valid"), "labeled": True}
    fast = {"name": "Adam", "lr": 0.3}
    outcome = run(shapes, tmp_path / "run", dataset__valid=valid, training__optimizer=fast,
                  training__patience=1)  # fmt: skip
    assert outcome.state.epoch == 4  # patience did not end it before
    assert outcome.state.best_epoch == 4


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"training__stages": [{"epochs": 1, "freeze": "*lvl9*"}]}, "lvl9"),
        ({"model__backbone": {"name": "dirnet", "width": 4}}, "grows by levels"),
    ],
)
def test_a_stage_that_the_network_does_not_have_is_named(shapes, tmp_path, changes, told):
    with pytest.raises(InvalidOption, match=told):
        run(shapes, tmp_path / "run", **changes)
    assert not (tmp_path / "run").exists()


def test_stages_that_leave_no_epoch_are_told_with_their_line(shapes, tmp_path, write_yaml):
    values = training_values(shapes, training__stages=[{"epochs": 2}])
    done = neuralreg("train", str(write_yaml(values)), "-o", str(tmp_path / "run"))
    assert done.exit_code == 1
    assert "leave none of 2" in " ".join(done.stderr.split())


def test_the_recipe_names_levels_that_are_there(tmp_path):
    from neuralreg.training.data.toy_datasets import recipes_folder
    from neuralreg.training.loop.schedule import Stages
    from neuralreg.training.model.methods import build_model

    data = tmp_path / "data.yaml"
    data.write_text(json.dumps({"dataset": {"size": [16, 16, 16], "train": {"dir": "."}}}))
    config = read_configuration([data, recipes_folder() / "lapirn_levels.yaml"])
    model = build_model(config.model, (16, 16, 16))
    stages = Stages(model, config.training.stages)
    frozen = []
    for epoch in (0, 75, 80, 150, 155):
        stages.enter(epoch)
        frozen.append(sum(not p.requires_grad for p in model.parameters()))
    each = sum(1 for _ in model.parameters()) // 3
    assert frozen == [0, each, 0, 2 * each, 0]
