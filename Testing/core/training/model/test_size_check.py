"""Sizes that a backbone cannot be trained on are said before the first step."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from neuralreg.errors import InvalidOption
from neuralreg.training.data.dataset_check import check_dataset
from neuralreg.training.model.size_check import require_sizes, smallest_batch

from Testing.support.command_line import neuralreg as run
from Testing.support.small_models import SMALL, model_of
from Testing.support.trainings import training_config, training_values

UNET = {"name": "unet", "num_channel_initial": 2}
DIRNET = {"name": "dirnet", "width": 4}


def small(folder, size, batch_size, backbone):
    return {
        "dataset__size": size, "dataset__valid": None, "training__batch_size": batch_size,
        "training__max_steps": 1, "model__backbone": backbone,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("size", "batch_size", "backbone", "said"),
    [
        ([8, 8], 1, UNET, "backbone unet .*8 x 8 samples, 1 pairs.*more than 1 value per channel"),
        ([8, 8], 7, UNET, "backbone unet .*1 pairs in the smallest batch"),  # of 8 pairs
        ([4, 4], 2, DIRNET, "backbone dirnet .*4 x 4 samples"),
        ([16, 16], 1, [DIRNET, {**UNET, "downsample": 2}], "backbone unet .*8 x 8 samples"),
    ],
)
def test_sizes_that_a_backbone_cannot_take_are_refused_by_name_before_anything_is_written(
    size, batch_size, backbone, said, shapes, tmp_path
):
    changes = small(shapes, size, batch_size, backbone)
    problems = check_dataset(training_config(shapes, **changes)).problems
    assert [where for where, _ in problems] == ["dataset.size"]
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(training_values(shapes, **changes)))
    for option in ((), ("--dry-run",), ("--check",)):
        outcome = run("train", tmp_path / "study.yaml", "-o", tmp_path / "run", *option)
        assert outcome.exit_code == 1
        with pytest.raises(InvalidOption, match=said):
            raise InvalidOption(outcome.stderr + outcome.stdout)
        assert not (tmp_path / "run").exists()


def test_the_same_network_is_trained_where_no_batch_has_a_single_value(shapes, tmp_path):
    values = training_values(shapes, **small(shapes, [8, 8], 2, UNET))
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(values))
    outcome = run("train", tmp_path / "study.yaml", "-o", tmp_path / "run")
    assert outcome.exit_code == 0, outcome.stderr
    assert [smallest_batch(n, 4) for n in (3, 4, 5, 8)] == [3, 4, 1, 4]


@pytest.mark.parametrize("name", SMALL)
def test_what_can_be_trained_passes_and_stays_as_it_is(name):
    shape = (16, 16, 16)
    model = model_of(name, shape)
    before = {key: values.clone() for key, values in model.state_dict().items()}
    config = training_config(Path(), dataset__size=list(shape)).dataset
    require_sizes(model, config, 2)
    assert model.training
    assert all(torch.equal(values, before[key]) for key, values in model.state_dict().items())


def test_a_network_that_needs_real_numbers_is_tried_with_them():
    class Branching(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Conv2d(2, 2, 3, 1, 1)

        def forward(self, fixed, moving):
            output = self.layer(torch.cat((fixed, moving), 1))
            return output / max(float(output.detach().abs().max()), 1.0)

    model = model_of("dirnet", (16, 16))
    part = next(m for m in model.modules() if getattr(m, "built_for", None))
    part.network = Branching()
    config = training_config(Path(), dataset__size=[16, 16]).dataset
    require_sizes(model, config, 1)
