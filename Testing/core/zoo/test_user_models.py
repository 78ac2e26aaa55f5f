"""Models of a user's own are kept apart, by content, and their code asks first."""

from __future__ import annotations

import importlib.util
import json
import py_compile
import shutil
from pathlib import Path

import pytest
import torch
from neuralreg.composition.models import card_of
from neuralreg.errors import (
    ChecksumMismatch,
    CodeNotTrusted,
    IncompatibleModel,
    InvalidOption,
    RegistrationError,
    UnreadableFile,
    UnwritableOutput,
)
from neuralreg.io.files import sha256_of
from neuralreg.networks import dirnet
from neuralreg.zoo.card import TRAINED, ModelCard, Weights
from neuralreg.zoo.own_code import BUILDER
from neuralreg.zoo.registry import load_model, model_card
from neuralreg.zoo.user_models import import_card
from neuralreg.zoo.weights import path_of, require

SHAPE = (16, 16)
PARTS = """
import torch
from neuralreg.training import register_backbone

@register_backbone("mine")
class {name}(torch.nn.Module):
    def __init__(self, dimension, shape, inputs, outputs):
        super().__init__()
        self.shift = torch.nn.Parameter(torch.full((1, outputs, 1, 1), {shift}))

    def forward(self, fixed, moving):
        return self.shift.expand(1, -1, *fixed.shape[2:])
"""


@pytest.fixture(autouse=True)
def own(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("NEURALREG_MODELS", str(tmp_path / "own"))
    return tmp_path / "own"


def a_trained_model(folder: Path, seed: int, name: str = "trained", file: str = "w.pt") -> Path:
    """A network and its card, as a run writes them; which numbers depends on the seed."""
    folder.mkdir(parents=True)
    torch.manual_seed(seed)
    network = dirnet.build(dimension=2, width=4)
    torch.save(network.state_dict(), folder / file)
    card = card_of(name, SHAPE).model_copy(
        update={
            "architecture": "dirnet",
            "arguments": {"dimension": 2, "width": 4},
            "output": network_output(),
            "weights": Weights(file=file, sha256=sha256_of(folder / file)),
        }
    )
    (folder / "model.json").write_text(card.model_dump_json(exclude_none=True))
    return folder / "model.json"


def network_output():
    # Descriptions of voxels are no motion that a known shift could check.
    return card_of("any", SHAPE).output.model_copy(update={"kind": "features"})


def test_a_second_model_of_one_name_is_refused_and_the_first_stays(tmp_path, own):
    import_card(a_trained_model(tmp_path / "one", 1))
    before = {path.name: path.read_bytes() for path in own.iterdir()}
    with pytest.raises(UnwritableOutput, match=r"another model called trained .*--overwrite"):
        import_card(a_trained_model(tmp_path / "two", 2))
    assert {path.name: path.read_bytes() for path in own.iterdir()} == before
    import_card(tmp_path / "one" / "model.json")  # the same once more is the same


def test_under_another_name_both_keep_their_weights(tmp_path, own):
    first = import_card(a_trained_model(tmp_path / "one", 1))
    second = import_card(a_trained_model(tmp_path / "two", 2), name="other")
    for card, run in ((first, "one"), (second, "two")):
        assert require(model_card(card.name)).read_bytes() == (
            (tmp_path / run / "w.pt").read_bytes()
        )


def test_versions_are_counted_where_that_is_asked(tmp_path):
    names = [
        import_card(a_trained_model(tmp_path / str(seed), seed), versioned=True).name
        for seed in (1, 2, 3)
    ]
    assert names == ["trained", "trained_2", "trained_3"]
    assert import_card(tmp_path / "2" / "model.json", versioned=True).name == "trained_2"


def test_a_replaced_model_takes_its_weights_along(tmp_path, own):
    import_card(a_trained_model(tmp_path / "one", 1))
    import_card(a_trained_model(tmp_path / "two", 2), overwrite=True)
    weights = path_of(model_card("trained"))
    assert weights.read_bytes() == (tmp_path / "two" / "w.pt").read_bytes()
    assert sorted(path.name for path in own.iterdir()) == ["trained.json", weights.name]


def test_the_name_of_a_model_that_comes_along_is_never_taken(tmp_path):
    with pytest.raises(UnwritableOutput, match="comes with this program"):
        import_card(a_trained_model(tmp_path / "one", 1, name="convex"), overwrite=True)


def test_weights_in_a_named_folder_go_before_those_of_the_list(tmp_path):
    import_card(a_trained_model(tmp_path / "one", 1))
    run = a_trained_model(tmp_path / "two", 2).parent
    card = ModelCard.model_validate(json.loads((run / "model.json").read_text()))
    assert require(card, run) == run / "w.pt"


def test_a_model_whose_weights_are_not_finite_is_not_imported(tmp_path, own):
    path = a_trained_model(tmp_path / "one", 1)
    state = torch.load(path.parent / "w.pt", weights_only=True)
    next(iter(state.values())).fill_(torch.nan)
    torch.save(state, path.parent / "w.pt")
    card = json.loads(path.read_text())
    card["weights"]["sha256"] = sha256_of(path.parent / "w.pt")
    path.write_text(json.dumps(card))
    with pytest.raises(IncompatibleModel, match="diverged"):
        import_card(path)
    assert not own.exists() or not list(own.iterdir())


def with_code(folder: Path, shift: float, name: str = "Mine") -> Path:
    """A run's model whose backbone is a user's own."""
    path = a_trained_model(folder, 1, name=folder.name)
    code = folder / "code" / "parts.py"
    code.parent.mkdir()
    code.write_text(PARTS.format(name=name, shift=shift))
    torch.save({"model.network.network.shift": torch.full((1, 2, 1, 1), shift)}, folder / "w.pt")
    builder = (
        "from neuralreg.training.config.part_registry import BACKBONES\n"
        "def build():\n"
        "    return BACKBONES.build('mine', {}, dimension=2, shape=(16, 16), inputs=2, outputs=2)\n"
    )
    (folder / "made_by_mine.py").write_text(builder)
    torch.save({"shift": torch.full((1, 2, 1, 1), shift)}, folder / "w.pt")
    card = json.loads(path.read_text()) | {
        "architecture": "made_by_mine",
        "arguments": {},
        "code": {"code/parts.py": sha256_of(code)},
    }
    card["weights"] = {"file": "w.pt", "sha256": sha256_of(folder / "w.pt")}
    path.write_text(json.dumps(card))
    return path


def hashes_of(path: Path) -> list[str]:
    """Of the code of a model, and of the file that builds it."""
    return [sha256_of(path.parent / name) for name in ("code/parts.py", "made_by_mine.py")]


def test_code_of_a_model_is_asked_for_once_with_its_hash(tmp_path, own):
    path = with_code(tmp_path / "odd", 1.0)
    parts, builder = hashes_of(path)
    with pytest.raises(CodeNotTrusted, match=f"--trust-code {parts} --trust-code {builder}"):
        import_card(path)
    assert not own.exists()
    with pytest.raises(CodeNotTrusted, match=f"with --trust-code {builder}"):
        import_card(path, trusted=[parts])
    card = import_card(path, trusted=[builder])
    shutil.rmtree(path.parent)  # the model needs nothing of it
    load_model(card.name)
    again = with_code(tmp_path / "again", 1.0)
    assert import_card(again).name == "again"


def test_models_with_parts_of_one_name_build_their_own(tmp_path):
    for folder, shift, name in (("one", 1.0, "Mine"), ("two", 2.0, "Other")):
        path = with_code(tmp_path / folder, shift, name)
        import_card(path, trusted=hashes_of(path))
    for folder, name in (("two", "Other"), ("one", "Mine"), ("two", "Other")):
        network = load_model(folder, precision="float32")
        assert type(describing(network)).__name__ == name


def describing(network) -> torch.nn.Module:
    """The module behind a network that describes voxels."""
    modules = [
        cell.cell_contents
        for cell in network.module.describe.__wrapped__.__closure__
        if isinstance(cell.cell_contents, torch.nn.Module)
    ]
    return modules[0]


@pytest.mark.parametrize("key", ["architecture", "backbone"])
def test_no_name_on_a_card_leads_to_a_file_elsewhere_or_into_an_installed_package(tmp_path, key):
    """Of another one's model nothing runs that was not agreed to."""
    wanted = (InvalidOption, IncompatibleModel) if key == "backbone" else RegistrationError
    (tmp_path / "foreign").mkdir()
    mark = tmp_path / "ran"
    (tmp_path / "foreign" / "evil.py").write_text(f"open({str(mark)!r}, 'w')\n")
    path = a_trained_model(tmp_path / "one", 1)
    (path.parent / f"{TRAINED}.py").write_text(BUILDER)
    card = json.loads(path.read_text())
    odd = [
        {"name": "published", "architecture": "../foreign/evil"},
        {"name": "../foreign/evil"},
        {"name": "subprocess.call", "args": ["touch", str(mark)]},
        {"name": "os.system", "command": f"touch {mark}"},
    ]
    for part in odd if key == "backbone" else ["evil", "__init__", "Evil"]:
        if key == "backbone":
            card |= {"architecture": "neuralreg_trained"}
            card["arguments"] = {"model": {"backbone": part}, "shape": [16, 16]}
        else:
            card |= {"architecture": part}
            shutil.copy(tmp_path / "foreign" / "evil.py", tmp_path / "one" / f"{part}.py")
        path.write_text(json.dumps(card))
        with pytest.raises(wanted) as refusal:
            import_card(path)
        assert isinstance(refusal.value, CodeNotTrusted) == (part == "evil")
        assert not mark.exists(), part


def test_a_compiled_file_beside_code_never_runs_in_its_place(tmp_path):
    path = with_code(tmp_path / "odd", 1.0)
    mark = tmp_path / "ran"
    code = path.parent / "code" / "parts.py"
    other = tmp_path / "other.py"
    other.write_text(f"open({str(mark)!r}, 'w')\n")
    compiled = Path(importlib.util.cache_from_source(str(code)))
    py_compile.compile(
        str(other), str(compiled), invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH
    )
    before = sorted(code.parent.rglob("*"))
    import_card(path, trusted=hashes_of(path))
    assert not mark.exists()
    assert sorted(code.parent.rglob("*")) == before


def test_changed_or_missing_code_is_named(tmp_path):
    path = with_code(tmp_path / "odd", 1.0)
    code = path.parent / "code" / "parts.py"
    digest = sha256_of(code)
    code.write_text(code.read_text() + "# changed\n")
    with pytest.raises(ChecksumMismatch, match=r"code of a model was changed"):
        import_card(path, trusted=[digest])
    code.unlink()
    with pytest.raises(UnreadableFile, match=r"wanted .*code/parts\.py"):
        import_card(path, trusted=[digest])
