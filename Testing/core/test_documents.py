"""The examples of the documentation run as they stand, in order, in an empty folder."""

import re

import neuralreg
from neuralreg.zoo.user_models import import_card

from Testing.support.paths import ROOT


def run(page: str) -> dict[str, object]:
    """The names that the Python of a page makes."""
    text = (ROOT / page).read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert blocks
    names: dict[str, object] = {"__name__": page, "blocks": blocks}
    for block in blocks:
        exec(compile(block, page, "exec"), names)
    return names


def test_a_model_of_ones_own_is_written_trained_imported_and_registers_by_name(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NEURALREG_MODELS", str(tmp_path / "own"))
    names = run("docs/own-models.md")
    build = "\n\ndef build():\n    return models.ComposedNetwork(my_model())\n"
    (tmp_path / "disks.py").write_text(names["blocks"][1] + build, encoding="utf-8")
    card = import_card(tmp_path / "disks.first.json")
    pair = names["fixed"], names["moving"]
    result = neuralreg.register(*pair, card.name, linear=neuralreg.LinearAlignment.NONE)
    assert result.model == "disks.first"
    assert result.outcome.similarity_final > result.outcome.similarity_initial
