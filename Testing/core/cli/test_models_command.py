"""`neuralreg models`: list, import, verify and remove."""

import hashlib
import json

import pytest
import torch
from neuralreg.zoo.registry import model_card

from Testing.support.command_line import neuralreg


def test_the_models_are_listed():
    done = neuralreg("models", "list", "--json")
    assert done.exit_code == 0, done.stderr
    assert "convex" in [card["name"] for card in json.loads(done.stdout)["models"]]


def test_a_model_that_is_not_there_is_an_error():
    done = neuralreg("models", "show", "no-such-model")
    assert done.exit_code == 3
    assert "no-such-model" in done.stderr


class Shifting(torch.nn.Module):
    """Registers shifts: the difference of the centers of mass, in voxels x y z."""

    def __init__(self, sign: float) -> None:
        super().__init__()
        self.sign = sign

    def forward(self, fixed: torch.Tensor, moving: torch.Tensor) -> torch.Tensor:
        n = fixed.shape[-1]
        at = torch.arange(n, dtype=fixed.dtype)
        shifts = []
        for dims in ([2, 3], [2, 4], [3, 4]):
            both = [(v.sum(dims)[0, 0] * at).sum() / v.sum() for v in (fixed, moving)]
            shifts.append(self.sign * (both[1] - both[0]))
        there = torch.stack([shifts[2], shifts[1], shifts[0]][::-1])
        return there.view(1, 3, 1, 1, 1).expand(1, 3, n, n, n)


def a_card_of_your_own(folder, sign=1.0):
    """A saved program that registers shifts, with its card beside it."""
    torch.jit.script(Shifting(sign)).save(folder / "mine.pt")
    card = model_card("convex").model_dump(mode="json") | {
        "name": "mine",
        "architecture": "program",
        "arguments": {},
        "input": {"dimensions": [3], "space": "whole", "shape": [40, 40, 40]},
        "output": {"kind": "voxel", "order": "xyz"},
        "weights": {"file": "mine.pt", "format": "torchscript"},
    }
    (folder / "mine.json").write_text(json.dumps(card))
    return folder / "mine.json"


@pytest.fixture
def own_models(tmp_path, monkeypatch):
    folder = tmp_path / "models"
    folder.mkdir()
    monkeypatch.setenv("NEURALREG_MODELS", str(folder))
    return folder


def test_a_model_of_your_own_is_imported_and_listed(tmp_path, own_models):
    done = neuralreg("models", "import", a_card_of_your_own(tmp_path))
    assert done.exit_code == 0, done.stderr
    assert sorted(file.name for file in own_models.iterdir()) == ["mine.json", "mine.pt"]
    assert "mine " in neuralreg("models", "list").stdout


def test_a_model_whose_card_gives_the_wrong_direction_is_not_imported(tmp_path, own_models):
    done = neuralreg("models", "import", a_card_of_your_own(tmp_path, sign=-1.0))
    assert done.exit_code == 3
    assert "got -1.00 of the shift" in done.stderr
    assert not list(own_models.iterdir())


def test_weights_that_are_not_those_of_the_card_are_not_imported(tmp_path, own_models):
    card = model_card("convex").model_dump(mode="json")
    (tmp_path / "mine.pt").write_bytes(b"other numbers")
    card |= {"name": "mine", "weights": {"file": "mine.pt", "sha256": "0" * 64}}
    (tmp_path / "mine.json").write_text(json.dumps(card))
    done = neuralreg("models", "import", tmp_path / "mine.json")
    assert done.exit_code == 3
    assert not list(own_models.iterdir())


def test_weights_are_imported_checked_and_removed(tmp_path, own_models, monkeypatch):
    content = b"some weights"
    card = model_card("convex").model_dump(mode="json") | {
        "name": "probe",
        "weights": {"file": "probe.pth", "sha256": hashlib.sha256(content).hexdigest()},
    }
    (own_models / "probe.json").write_text(json.dumps(card))
    monkeypatch.setenv("NEURALREG_CACHE", str(tmp_path / "cache"))
    (tmp_path / "download (1)").write_bytes(content)
    assert "to get" in neuralreg("models", "list").stdout.split("probe")[1].splitlines()[0]
    assert neuralreg("models", "import", tmp_path / "download (1)").exit_code == 0
    checked = json.loads(neuralreg("models", "verify", "probe", "--json").stdout)
    assert checked == {"models": {"probe": "checked"}}
    (tmp_path / "cache" / "probe.pth").write_bytes(b"some weight")
    assert neuralreg("models", "verify", "probe").exit_code == 3
    removed = json.loads(neuralreg("models", "remove", "probe", "--json").stdout)
    assert removed == {"model": "probe", "removed": True}
    assert neuralreg("models", "get", "probe").exit_code == 3
