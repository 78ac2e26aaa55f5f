"""What a configuration may say, and how wrong ones are explained."""

from __future__ import annotations

import re

import pytest
import torch
from neuralreg.errors import InvalidOption, UnreadableFile
from neuralreg.training import register_loss
from neuralreg.training.config.part_registry import (
    AUGMENTATIONS,
    BACKBONES,
    DATASETS,
    IMAGE_LOSSES,
    LOSSES,
)
from neuralreg.training.config.schema import Configuration, Dataset, Loss, Model, Step, Training
from neuralreg.training.configuration import read_configuration
from neuralreg.training.losses.training_step import TrainingStep
from neuralreg.training.model.methods import build_model

from Testing.support.paths import DOCS

PAGE = (DOCS / "training.md").read_text("utf-8")
SMALLEST = """\
dataset:
  size: [64, 64, 64]
  train: {dir: data/train}
model:
  backbone: voxelmorph
loss:
  image: {name: lncc, kernel_size: 5}
"""


def test_seven_lines_are_a_configuration(write_yaml):
    config = read_configuration([write_yaml(SMALLEST)])
    assert config.dataset.type == "unpaired"
    assert config.model.backbone[0].name == "voxelmorph"
    assert config.loss.image[0].options == {"kernel_size": 5}
    assert config.training.optimizer.options == {"lr": 1e-4}
    assert config.source["dataset"]["size"] == [64, 64, 64]


def wrong(write_yaml, old: str, new: str) -> str:
    with pytest.raises(InvalidOption) as error:
        read_configuration([write_yaml(SMALLEST.replace(old, new))])
    return str(error.value)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("backbone: voxelmorph", "backbone: voxelmorf",
         ["line 5", "model.backbone.0.name", "'voxelmorf'", "lapirn", "mean 'voxelmorph'?"]),
        ("kernel_size: 5", "kernel_siz: 5",
         ["line 7", "loss.image.0.kernel_siz", "kernel_size, kernel_type", "did you mean"]),
        ("kernel_size: 5", "kernel_type: square",
         ["line 7", "loss.image.0.kernel_type", "'square'", "'rectangular'"]),
        ("model:", "modell:", ["line 4", "modell", "model"]),
        ("size: [64, 64, 64]", "size: [64, sixty, 64]", ["line 2", "dataset.size.1", "'sixty'"]),
        ("size: [64, 64, 64]", "size: [64, 64, 64]\n  type: pared",
         ["line 3", "dataset.type", "'pared'", "grouped, paired, unpaired"]),
        ("  train: {dir: data/train}", "  train: {folder: data/train}",
         ["line 3", "dataset.train.folder", "dir, format, labeled"]),
        ("  image: {name: lncc, kernel_size: 5}", "  image: {name: lncc, weight: -1}",
         ["line 7", "loss.image.0.weight", "-1", "greater than or equal to 0"]),
    ],
)  # fmt: skip
def test_an_error_names_line_key_given_and_allowed(write_yaml, old, new, said):
    message = wrong(write_yaml, old, new)
    assert "study.yaml" in message
    for part in said:
        assert part in message


def test_all_problems_are_told_at_once(write_yaml):
    bad = SMALLEST.replace("lncc", "lnc").replace("voxelmorph", "unett")
    with pytest.raises(InvalidOption) as error:
        read_configuration([write_yaml(bad)])
    assert "'lnc'" in str(error.value)
    assert "'unett'" in str(error.value)


def test_files_merge_from_left_to_right_and_set_comes_last(write_yaml):
    first = write_yaml(SMALLEST, "data.yaml")
    second = write_yaml(
        "dataset: {train: {dir: [a, b]}}\ntraining: {epochs: 7, batch_size: 3}\n", "fold.yaml"
    )
    config = read_configuration([first, second], ["training.epochs=9", "dataset.size=[8,8]"])
    assert [str(folder) for folder in config.dataset.train.dir] == ["a", "b"]
    assert config.training.epochs == 9
    assert config.training.batch_size == 3
    assert config.dataset.size == (8, 8)


@pytest.mark.parametrize(
    ("first", "second", "wanted"),
    [
        ("{name: lncc, kernel_size: 5}", "[{name: ssd}, {name: mind}]", ["ssd", "mind"]),
        ("[{name: ssd}, {name: mind}]", "{name: lncc, kernel_size: 7}", ["lncc"]),
        ("{name: lncc, kernel_size: 5}", "{name: ssd}", ["ssd"]),  # its options are no longer there
        ("lncc", "{kernel_size: 7}", ["lncc"]),
        ("[{name: lncc}]", "{weight: 2}", ["lncc"]),
        ("ssd", "null", []),
    ],
)
def test_a_single_loss_and_a_list_merge_as_the_last_one_says(first, second, wanted, write_yaml):
    one = write_yaml(SMALLEST.replace("{name: lncc, kernel_size: 5}", first), "one.yaml")
    other = write_yaml(f"loss: {{image: {second}, deformation: bending}}", "other.yaml")
    loss = read_configuration([one, other]).loss
    assert [part.name for part in loss.image] == wanted
    if "kernel_size: 7" in second:
        assert loss.image[0].options == {"kernel_size": 7}
    if "weight" in second:
        assert loss.image[0].weight == 2


def test_one_of_several_entries_is_changed_by_its_place(write_yaml):
    text = SMALLEST.replace("{name: lncc, kernel_size: 5}", "[{name: ssd}, {name: mind}]")
    config = read_configuration([write_yaml(text)], ["loss.image.1.weight=0.5"])
    assert [part.weight for part in config.loss.image] == [1, 0.5]
    with pytest.raises(InvalidOption, match=r"loss\.image\.0 to loss\.image\.1"):
        read_configuration([write_yaml(text)], ["loss.image.weight=0.5"])
    with pytest.raises(InvalidOption, match=r"no such entry.*loss\.image\.5"):
        read_configuration([write_yaml(text)], ["loss.image.5.weight=0.5"])


def test_an_error_names_the_file_that_gave_the_value(write_yaml):
    first = write_yaml(SMALLEST, "data.yaml")
    second = write_yaml("\ntraining:\n  epochs: none\n", "fold.yaml")
    with pytest.raises(InvalidOption, match=r"fold\.yaml, line 3: training\.epochs: got 'none'"):
        read_configuration([first, second])
    with pytest.raises(InvalidOption, match=r"--set training\.epochs=0"):
        read_configuration([first], ["training.epochs=0"])


def test_here_is_the_folder_of_the_file(write_yaml, tmp_path):
    config = read_configuration([write_yaml(SMALLEST.replace("data/train", '"${here}/train"'))])
    assert config.dataset.train.dir[0] == tmp_path.resolve() / "train"


def test_a_missing_file_and_no_yaml_are_errors(write_yaml, tmp_path):
    with pytest.raises(UnreadableFile, match="is missing"):
        read_configuration([tmp_path / "nothing.yaml"])
    with pytest.raises(UnreadableFile, match="no YAML"):
        read_configuration([write_yaml("a: [1, 2")])


def test_a_configuration_of_deepreg_is_recognized(write_yaml):
    with pytest.raises(InvalidOption, match="convert-config"):
        read_configuration([write_yaml({"dataset": {}, "train": {"method": "ddf"}})])


def test_a_loss_that_never_existed_in_deepreg_is_explained(write_yaml):
    message = wrong(write_yaml, "  image: {name: lncc, kernel_size: 5}",
                    "  label: {name: generalised_dice}")  # fmt: skip
    assert "generalized_dice" in message


def test_a_part_of_ones_own_by_decorator_in_a_file_beside(write_yaml, tmp_path):
    (tmp_path / "mine.py").write_text(
        "from torch import Tensor\n"
        "from neuralreg.training import register_loss\n\n"
        "@register_loss('image', 'own_root', force=True)\n"
        "def root(fixed: Tensor, warped: Tensor, *, weight: Tensor | None = None,"
        " power: float = 0.5):\n"
        "    return ((fixed - warped).abs() ** power).mean()\n"
    )
    text = SMALLEST.replace("{name: lncc, kernel_size: 5}", "{name: own_root, power: 0.7}")
    config = read_configuration([write_yaml(text + "code: mine.py\n")])
    assert IMAGE_LOSSES.options("own_root", config.loss.image[0].options) == {"power": 0.7}
    bad = text.replace("0.7", "strong") + "code: mine.py\n"
    with pytest.raises(InvalidOption, match=r"loss\.image\.0\.power: got 'strong'"):
        read_configuration([write_yaml(bad)])


def test_a_part_of_ones_own_by_a_dotted_path(write_yaml, tmp_path, monkeypatch):
    (tmp_path / "dotted_parts.py").write_text(
        "import torch\n\n"
        "class Net(torch.nn.Module):\n"
        "    def __init__(self, dimension, shape, inputs, outputs, *, width: int = 4):\n"
        "        super().__init__()\n"
        "        self.layer = torch.nn.Conv2d(inputs, outputs, 3, 1, 1)\n"
        "    def forward(self, fixed, moving):\n"
        "        return self.layer(torch.cat((fixed, moving), 1))\n"
    )
    monkeypatch.chdir(tmp_path)
    text = SMALLEST.replace("voxelmorph", "{name: dotted_parts.Net, width: 8}")
    config = read_configuration([write_yaml(text)])
    assert config.model.backbone[0].name == "dotted_parts.Net"
    with pytest.raises(InvalidOption, match=r"has no attribute 'Nett'.*the current folder"):
        read_configuration([write_yaml(text.replace("Net", "Nett"))])


def test_a_name_is_taken_unless_it_is_forced():
    with pytest.raises(InvalidOption, match="image loss of that name"):
        register_loss("image", "ssd")(lambda fixed, warped: 0)
    with pytest.raises(InvalidOption, match="unknown kind of loss"):
        register_loss("picture", "ssd")


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ({"method": "conditional", "backbone": ["unet", "unet"]}, "conditional has one step"),
        ({"inverse_consistent": True, "backbone": "unet"}, "needs method velocity"),
    ],
)
def test_what_does_not_go_together_is_said(write_yaml, model, said):
    import yaml

    values = yaml.safe_load(SMALLEST) | {"model": model}
    with pytest.raises(InvalidOption, match=said):
        read_configuration([write_yaml(values)])


def test_a_training_without_a_loss_is_refused(write_yaml):
    assert "a loss with a weight above 0" in wrong(
        write_yaml, "{name: lncc, kernel_size: 5}", "{name: lncc, weight: 0}"
    )


def test_the_parts_in_the_documentation_can_be_used(write_yaml, tmp_path, monkeypatch):
    """The blocks of docs/training.md run as they stand, and a configuration may name what is in
    them."""
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    names: dict[str, object] = {"__name__": "documentation"}
    for block in blocks:
        exec(compile(block, "training.md", "exec"), names)
    assert float(names["step"].factor.detach()) == pytest.approx(2, abs=0.2)
    text = SMALLEST.replace("voxelmorph", "{name: mine, width: 4}")
    text = text.replace("{name: lncc, kernel_size: 5}", "{name: huber, delta: 0.2}")
    config = read_configuration([write_yaml(text)])
    model = build_model(config.model, (8, 8, 8))
    step = TrainingStep(model, config.loss)
    batch = {"fixed": torch.rand(1, 1, 8, 8, 8), "moving": torch.rand(1, 1, 8, 8, 8)}
    assert float(step(batch)["image/huber"].detach()) > 0


def test_the_example_in_the_documentation_is_a_configuration(write_yaml):
    page = DOCS / "training.md"
    (example,) = re.findall(
        r"^```yaml\n(.*?)^```", page.read_text("utf-8"), re.DOTALL | re.MULTILINE
    )
    config = read_configuration([write_yaml(example)])
    assert config.name == "knees"
    assert len([line for line in example.splitlines() if line.strip()]) <= 16


def test_every_key_of_a_configuration_is_in_the_documentation():
    records = (Dataset, Model, Step, Loss, Training, Configuration)
    keys = {key for record in records for key in record.model_fields}
    missing = {key for key in keys if f"`{key}`" not in PAGE and f"{key}:" not in PAGE}
    assert missing <= {"options", "pairs", "features", "integration_steps"}


def test_every_part_is_in_the_documentation():
    for kind in (BACKBONES, AUGMENTATIONS, DATASETS, *LOSSES.values()):
        for name in kind.names():
            assert name in PAGE or name.startswith(("own_", "mine", "huber")), name
