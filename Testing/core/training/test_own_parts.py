"""Networks and losses of a user's own: a run takes them along, and nobody's code runs unasked."""

from __future__ import annotations

import dataclasses
import importlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from neuralreg.io.files import sha256_of
from neuralreg.training.config.part_registry import BACKBONES, LOSSES
from neuralreg.training.model import backbones
from neuralreg.zoo import python_sources
from neuralreg.zoo.own_code import is_notice, notice_of, untrusted_hashes

from Testing.support.command_line import COMMAND
from Testing.support.command_line import neuralreg as run
from Testing.support.trainings import training_values

NETWORK = """
import torch
{imports}

class Mine(torch.nn.Module):
    def __init__(self, dimension, shape, inputs, outputs, *, width: int = 4):
        super().__init__()
        self.layer = torch.nn.Conv2d(inputs, outputs, WIDTH, 1, WIDTH // 2)

    def forward(self, fixed, moving):
        return self.layer(torch.cat((fixed, moving), 1))
"""
LOSS = """
from neuralreg.training import register_loss
from helpers import power

@register_loss("image", "own_power")
def own_power(fixed, warped, *, weight=None):
    return ((fixed - warped).abs() ** power()).mean()
"""


@pytest.fixture(autouse=True)
def machine(tmp_path, monkeypatch) -> Path:
    """The folder of a user, on a machine whose programs know nothing of the other tests' parts."""
    monkeypatch.setenv("NEURALREG_MODELS", str(tmp_path / "models"))
    monkeypatch.setattr(python_sources, "_modules", {})
    for registry in (BACKBONES, *LOSSES.values()):
        monkeypatch.setattr(registry, "_parts", dict(registry._load_parts()))
    before = set(sys.modules)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    yield tmp_path / "work"
    for name in set(sys.modules) - before:
        if name.partition(".")[0] in ("parts", "helpers", "own_package"):
            del sys.modules[name]


def configure(shapes: Path, path: str = "study.yaml", **changes) -> None:
    values = training_values(shapes, training__max_steps=1, dataset__valid=None, **changes)
    Path(path).parent.mkdir(exist_ok=True)
    Path(path).write_text(yaml.safe_dump(values))


def done(*arguments: object) -> str:
    """What a command says that ends well."""
    outcome = run(*arguments)
    assert outcome.exit_code == 0, outcome.stderr
    return outcome.stderr


def predict(folder: Path, *others: object):
    shutil.rmtree("out", ignore_errors=True)
    return run("predict", "-k", folder, "-o", "out", "--no-nifti", "--no-png", *others)


def a_package() -> None:
    """A network in a package that imports from itself, and from a file beside it."""
    Path("own_package/nets").mkdir(parents=True)
    Path("own_package/__init__.py").write_text("from .sizes import WIDTH\n")
    Path("own_package/sizes.py").write_text("from helpers import power\nWIDTH = power() + 1\n")
    text = NETWORK.format(imports="from .. import WIDTH")
    Path("own_package/nets/small.py").write_text(text)
    Path("helpers.py").write_text(
        "def power():\n    from math import floor\n    return floor(2.5)\n"
    )


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """Puts a run on another machine: another folder, other models, and nothing of the user's."""

    def move(folder: Path = Path("run")) -> Path:
        moved = tmp_path / "other" / "run"
        shutil.copytree(folder, moved)
        shutil.rmtree(tmp_path / "work")
        (tmp_path / "work").mkdir()
        monkeypatch.chdir(tmp_path / "other")
        monkeypatch.setenv("NEURALREG_MODELS", str(tmp_path / "other" / "models"))
        monkeypatch.setattr(python_sources, "_modules", {})
        for registry in (BACKBONES, *LOSSES.values()):
            kept = {n: p for n, p in registry._parts.items() if "neuralreg" in p.__module__}
            monkeypatch.setattr(registry, "_parts", kept)
        return moved

    return move


def hashes(folder: Path) -> list[str]:
    digests = [sha256_of(path) for path in sorted((folder / "code").glob("*.py"))]
    return [word for digest in digests for word in ("--trust-code", digest)]


@pytest.fixture
def a_run_with_a_package(shapes) -> Path:
    a_package()
    configure(shapes, name="packed", model__backbone={"name": "own_package.nets.small.Mine"})
    done("train", "study.yaml", "-o", "run")
    return Path("run")


def test_a_part_by_a_dotted_path_comes_along_with_all_that_it_imports(
    a_run_with_a_package, elsewhere, shapes
):
    moved = elsewhere()
    assert sorted(path.name for path in (moved / "code").iterdir()) == [
        "helpers.py", "own_package.__init__.py", "own_package.nets.small.py",
        "own_package.sizes.py",
    ]  # fmt: skip
    command = [*COMMAND, "predict", "-k", str(moved), "-o", "out", "--no-nifti", "--no-png"]
    environment = {**os.environ, "PYTHONPATH": ""}
    asked = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert asked.returncode == 3
    assert asked.stderr.startswith("CodeNotTrusted: ")
    assert all(word in asked.stderr for word in hashes(moved))
    agreed = subprocess.run(
        [*command, *hashes(moved)], env=environment, capture_output=True, text=True
    )
    assert agreed.returncode == 0, agreed.stderr
    done("models", "import", moved / "model.json")  # the agreement is remembered
    shutil.rmtree(moved)
    images = sorted((shapes / "test" / "images").iterdir())[:2]
    done("register", *images, "-o", "result", "--model", "packed")


def test_a_run_goes_on_elsewhere_with_the_code_that_it_brought(
    a_run_with_a_package, elsewhere, shapes
):
    moved = elsewhere()
    more = ("--set", "training.max_steps=2", "--resume", "-o", moved)
    refused = run("train", moved / "config.yaml", *more)
    assert (refused.exit_code, refused.stderr[:14]) == (3, "CodeNotTrusted")
    done("train", moved / "config.yaml", *more, *hashes(moved))
    configure(shapes, model={"start_from": str(moved)})
    done("train", "study.yaml", "-o", "tuned")
    assert len(list(Path("tuned", "code").iterdir())) == 4


def test_code_of_a_run_runs_only_after_somebody_has_agreed(shapes, elsewhere):
    Path("helpers.py").write_text("def power():\n    return 2\n")
    Path("parts.py").write_text(LOSS)
    configure(shapes, loss__image={"name": "own_power"}, code="parts.py")
    done("train", "study.yaml", "-o", "run")
    assert predict(Path("run")).exit_code == 0  # here it ran before
    moved = elsewhere()
    mark = moved.parent / "ran"
    code = moved / "code" / "helpers.py"
    code.write_text(code.read_text() + f"open({str(mark)!r}, 'w')\n")
    configure(shapes, model={"start_from": str(moved)})
    shutil.copytree(moved, "second")
    commands = [
        ("predict", "-k", moved, "-o", "out"),
        ("predict", "-k", moved / "checkpoints" / "last.pt", "-o", "out"),
        ("train", moved / "config.yaml", "-o", moved, "--resume"),
        ("train", moved / "config.yaml", "-o", "new"),
        ("train", moved / "config.yaml", "-o", "new", "--check"),
        ("train", moved / "config.yaml", "-o", "new", "--dry-run"),
        ("train", "study.yaml", "-o", "new"),
        ("models", "import", moved / "model.json"),
    ]
    for command in commands:
        outcome = run(*command)
        assert outcome.exit_code in (1, 3), command
        assert "Traceback" not in outcome.stderr
        assert not mark.exists(), command
    for leftover in ("checkpoints", "history.json", "tensorboard", "curves.csv", "model.json"):
        gone = moved / leftover  # a folder that looks less like a run
        shutil.rmtree(gone) if gone.is_dir() else gone.unlink(missing_ok=True)
    assert run(*commands[0]).exit_code == 3
    assert not mark.exists()
    assert run("runs", ".").exit_code == 0
    assert run("evaluate", "second", "-o", "x").exit_code == 1
    assert not mark.exists()
    assert not Path("new").exists()


def test_a_dotted_path_of_a_run_never_leads_to_what_lies_in_the_current_folder(
    a_run_with_a_package, elsewhere
):
    moved = elsewhere()
    shutil.rmtree(moved / "code")
    text = (moved / "config.yaml").read_text()
    (moved / "config.yaml").write_text(text.partition("code:")[0])
    Path("own_package/nets").mkdir(parents=True)
    Path("own_package/nets/small.py").write_text("open('ran', 'w')\n")
    outcome = predict(moved)
    assert outcome.exit_code == 1
    assert "own_package.nets.small.Mine" in outcome.stderr
    assert "its code must have come along" in outcome.stderr
    assert not Path("ran").exists()


def test_a_part_of_an_installed_package_is_asked_for_as_well(
    shapes, elsewhere, tmp_path, monkeypatch
):
    packages = tmp_path / "site-packages"
    packages.mkdir()
    (packages / "installed_nets.py").write_text(NETWORK.format(imports="WIDTH = 3"))
    monkeypatch.syspath_prepend(packages)
    configure(shapes, model__backbone="installed_nets.Mine")
    done("train", "study.yaml", "-o", "run")
    moved = elsewhere()
    code = (moved / "code" / "installed_nets.py").read_text()
    assert code == "from installed_nets import Mine\n"
    assert predict(moved).exit_code == 3
    assert predict(moved, *hashes(moved)).exit_code == 0
    (packages / "installed_nets.py").unlink()
    monkeypatch.delitem(sys.modules, "installed_nets")
    lacking = predict(moved)
    assert lacking.exit_code == 1
    assert "Install what it imports" in lacking.stderr


def test_errors_in_code_of_ones_own_are_named_with_their_line(shapes):
    configure(shapes, code="parts.py")
    for text, said in (
        ("x = 1\nthis is no Python\n", "line 2"),
        ("import torch\n\nundefined_name\n", "line 3: got NameError"),
        ("import a_package_that_nobody_has\n", "Install what it imports"),
        ("from .sizes import WIDTH\n", "ImportError"),
    ):
        Path("parts.py").write_text(text)
        outcome = run("train", "study.yaml", "-o", "run")
        assert outcome.exit_code == 1
        assert "parts.py" in outcome.stderr
        assert said.split(":")[0] in outcome.stderr
        assert "Traceback" not in outcome.stderr
        assert not Path("run").exists()


def test_two_files_of_one_name_and_a_file_called_like_a_module_of_python_run_side_by_side(shapes):
    Path("one").mkdir()
    first = LOSS.replace("from helpers import power\n", "").replace("power()", "2")
    Path("one/parts.py").write_text(first)
    Path("parts.py").write_text(first.replace("own_power", "other_power"))
    Path("random.py").write_text("from random import Random\nRandom(1)\n")
    losses = [{"name": "own_power"}, {"name": "other_power"}]
    configure(shapes, loss__image=losses, code=["one/parts.py", "parts.py", "random.py"])
    done("train", "study.yaml", "-o", "run")
    names = sorted(path.name for path in Path("run/code").iterdir())
    assert names == ["parts.py", "parts_2.py", "random.py"]
    assert predict(Path("run")).exit_code == 0
    import random

    assert hasattr(random, "shuffle")


def test_an_architecture_beside_the_users_cards_comes_along(shapes, elsewhere, tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "tiny.py").write_text(
        "import torch\n"
        "from neuralreg.networks.network import Output, RegistrationModule\n\n\n"
        "class Tiny(RegistrationModule):\n"
        "    dimensions = (2,)\n"
        "    output = Output('voxel')\n\n"
        "    def __init__(self, *, dimension: int = 2) -> None:\n"
        "        super().__init__()\n"
        "        self.layer = torch.nn.Conv2d(2, 2, 3, 1, 1)\n\n"
        "    def forward(self, fixed, moving):\n"
        "        return self.layer(torch.cat((fixed, moving), 1))\n\n\n"
        "build = Tiny\n"
    )
    configure(shapes, model__backbone="tiny")
    done("train", "study.yaml", "-o", "run")
    moved = elsewhere()
    assert predict(moved).exit_code == 3
    assert predict(moved, *hashes(moved)).exit_code == 0


def test_a_tuned_model_is_built_by_a_process_that_has_trained_nothing(monkeypatch):
    """The network of a card is registered where it is built, not only where a training begins."""
    monkeypatch.setattr(BACKBONES, "_parts", {})
    importlib.reload(backbones)
    assert BACKBONES.holds("published")


NOTEBOOK = """
import logging
from pathlib import Path
import torch
from neuralreg.training import register_backbone, register_loss
from neuralreg.training.configuration import read_configuration
from neuralreg.training.loop.run import Run
from neuralreg.training.results.predict import PredictOptions, predict

logging.basicConfig(format="%(message)s", level=logging.WARNING)

@register_loss("image", "own_gap")
def own_gap(fixed, warped, *, weight=None):
    return (fixed - warped).abs().mean()

@register_backbone("cell")
class Cell(torch.nn.Module):
    def __init__(self, dimension, shape, inputs, outputs):
        super().__init__()
        self.layer = torch.nn.Conv2d(inputs, outputs, 3, 1, 1)

    def forward(self, fixed, moving):
        return self.layer(torch.cat((fixed, moving), 1))

run = Path("run")
Run(read_configuration(["study.yaml"]), run).train()
logging.warning("trained")
Run(read_configuration(["study.yaml"], ["training.max_steps=2"]), run).train(resume=True)
options = PredictOptions(nifti=False, png=False)
predict(read_configuration([run / "config.yaml"]), run, Path("out"), options)
"""


def test_parts_of_a_notebook_are_named_before_training_and_missed_elsewhere_by_name(
    shapes, elsewhere
):
    Path("notebook.py").write_text(NOTEBOOK)
    configure(
        shapes, name="celled", model__backbone={"name": "cell"}, loss__image={"name": "own_gap"}
    )
    command = [sys.executable, "notebook.py"]  # defines parts as the cells of a notebook do
    program = subprocess.run(command, capture_output=True, text=True, check=False)
    assert program.returncode == 0, program.stderr
    before, _, afterwards = program.stderr.partition("trained")
    (warning,) = [line for line in before.splitlines() if "notebook" in line]
    assert warning.startswith("cell, own_gap: defined in a notebook")
    assert "notebook" not in afterwards
    refused = []
    for run_folder in (Path("run"), elsewhere()):
        refused.append(predict(run_folder))
        refused.append(run("train", run_folder / "config.yaml", "-o", run_folder, "--resume"))
        refused.append(run("models", "import", run_folder / "model.json"))
    for each in refused:
        assert each.exit_code == 3, each.stderr
        assert each.stderr.startswith("IncompatibleModel: ")
        assert "defined in a notebook" in each.stderr
        assert "no backbone 'cell', image loss 'own_gap'" in each.stderr


@pytest.mark.parametrize("line", ["import os", "require_parts([('a', 'b'), os.getcwd()])"])
def test_only_the_plain_notice_on_such_parts_runs_unasked(line):
    notice = notice_of([("backbone", "cell"), ("image loss", "own.gap_2")])
    assert is_notice(notice)
    assert untrusted_hashes([notice]) == {}
    changed = dataclasses.replace(notice, content=notice.content + f"{line}\n".encode())
    assert list(untrusted_hashes([changed])) == [notice.path]
