"""The Models panel: cards, filters, and weights that come from a server of this machine."""

from __future__ import annotations

import hashlib
import json
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
import slicer

from Testing.support.paths import RESOURCES

CONTENT = bytes(range(256)) * 4000


class Slow(SimpleHTTPRequestHandler):
    """A server whose files stop half way until `go` is set."""

    go = threading.Event()

    def copyfile(self, source, output):
        content = source.read()
        output.write(content[: len(content) // 2])
        output.flush()
        self.go.wait(60)
        output.write(content[len(content) // 2 :])

    def log_message(self, *_):
        pass


@pytest.fixture
def a_server(tmp_path):
    """The address of a folder that a server on this machine gives away."""
    folder = tmp_path / "server"
    folder.mkdir()
    (folder / "w.pt").write_bytes(CONTENT)
    Slow.go.set()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Slow, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    Slow.go.set()
    server.shutdown()
    server.server_close()


def a_card(**changes) -> dict:
    card = json.loads((RESOURCES / "Models" / "convex.json").read_text("utf-8"))
    return {**card, "name": "test.net", "title": "A small network", **changes}


@pytest.fixture
def panel(tmp_path, monkeypatch, a_server, a_panel):
    """The panel with one model more, whose weights lie on the server."""
    cards = tmp_path / "cards"
    cards.mkdir()
    weights = {
        "file": "w.pt",
        "url": f"{a_server}/w.pt",
        "sha256": hashlib.sha256(CONTENT).hexdigest(),
        "bytes": len(CONTENT),
    }
    card = a_card(weights=weights, modalities=["CT"], anatomies=["lung"], limits="Only for tests.")
    (cards / "test.net.json").write_text(json.dumps(card))
    monkeypatch.setenv("NEURALREG_MODELS", str(cards))
    monkeypatch.setenv("NEURALREG_CACHE", str(tmp_path / "cache"))
    panel = a_panel.modelsPanel
    panel.reload()
    panel.ui.modelsTable.selectRow(titles(panel).index("A small network"))
    return panel


def titles(panel) -> list[str]:
    table = panel.ui.modelsTable
    return [table.item(row, 0).text() for row in range(table.rowCount)]


def idle(panel):
    return lambda: panel.job is None


def test_every_card_has_a_row_whatever_its_task(panel):
    from neuralreg.zoo.registry import list_models

    assert sorted(titles(panel)) == sorted(card.title for card in list_models(task=None))
    assert "mindgrab, brain masks (any MR contrast)" in titles(panel)


def test_filters_leave_what_fits(panel):
    ui = panel.ui
    ui.modalityFilter.currentIndex = ui.modalityFilter.findData("CT")
    assert "A small network" in titles(panel)
    ui.availableFilter.checked = True
    assert "A small network" not in titles(panel)
    assert "Coupled convex search (no training)" in titles(panel)
    ui.availableFilter.checked = False
    ui.dimensionFilter.currentIndex = ui.dimensionFilter.findData("2D")
    assert all(2 in card.input.dimensions for card in panel.listedCards)


def test_details_tell_limits_licence_and_citation(panel):
    text = panel.ui.modelDetails.toPlainText()
    for wanted in ("Only for tests.", "Apache-2.0", "doi:10.1007", "lung", "not downloaded"):
        assert wanted in text
    assert 'href="https://doi.org/10.1007' in panel.ui.modelDetails.toHtml()


def test_what_comes_with_the_program_is_ready_and_stays(panel, wait_until):
    ui = panel.ui
    names = [card.name for card in panel.listedCards]
    ui.modelsTable.selectRow(names.index("descriptor.shapes"))
    assert (ui.getButton.enabled, ui.removeButton.enabled) == (False, False)
    ui.verifyButton.click()
    wait_until(idle(panel))
    assert "published" in ui.modelsStatusLabel.text


def test_weights_are_fetched_verified_and_removed(panel, wait_until, tmp_path, monkeypatch):
    ui, there = panel.ui, tmp_path / "cache" / "w.pt"
    assert (ui.getButton.enabled, ui.verifyButton.enabled) == (True, False)
    ui.getButton.click()
    assert ui.cancelGetButton.enabled
    wait_until(idle(panel))
    assert there.read_bytes() == CONTENT
    assert ui.modelsStatusLabel.text == "A small network is ready."
    assert str(tmp_path / "cache") in ui.storageLabel.text
    assert "1.0 MB" in ui.storageLabel.text
    ui.verifyButton.click()
    wait_until(idle(panel))
    assert "published" in ui.modelsStatusLabel.text
    there.write_bytes(b"another file")
    ui.verifyButton.click()
    wait_until(idle(panel))
    assert "not the expected file" in ui.modelsStatusLabel.text
    asked = []
    answer = lambda text: asked.append(text) or len(asked) > 1  # noqa: E731  (first no, then yes)
    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", answer)
    ui.removeButton.click()
    assert there.exists()
    ui.removeButton.click()
    assert not there.exists()
    assert ui.getButton.enabled


def test_a_download_shows_how_far_it_is_and_can_be_cancelled(panel, wait_until, tmp_path):
    Slow.go.clear()
    ui = panel.ui
    ui.getButton.click()
    wait_until(lambda: ui.downloadBar.value > 200)
    assert ui.downloadBar.value < 700
    ui.cancelGetButton.click()
    wait_until(idle(panel))
    assert ui.modelsStatusLabel.text == "A small network: cancelled."
    assert not (tmp_path / "cache" / "w.pt").exists()
    Slow.go.set()
    ui.getButton.click()
    wait_until(idle(panel))
    assert (tmp_path / "cache" / "w.pt").read_bytes() == CONTENT


def test_weights_come_from_a_file_without_a_network(panel, wait_until, tmp_path, monkeypatch):
    import qt

    copy = tmp_path / "brought on a stick.bin"
    copy.write_bytes(CONTENT)
    monkeypatch.setattr(qt.QFileDialog, "getOpenFileName", staticmethod(lambda *_: str(copy)))
    panel.ui.importButton.click()
    wait_until(idle(panel))
    assert (tmp_path / "cache" / "w.pt").read_bytes() == CONTENT


def test_a_file_of_another_model_is_refused(panel, wait_until, tmp_path, monkeypatch):
    import qt

    other = tmp_path / "holiday.jpg"
    other.write_bytes(b"not a network")
    monkeypatch.setattr(qt.QFileDialog, "getOpenFileName", staticmethod(lambda *_: str(other)))
    panel.ui.importButton.click()
    wait_until(idle(panel))
    assert "no model card names this file" in panel.ui.modelsStatusLabel.text
    assert not (tmp_path / "cache" / "w.pt").exists()


def test_a_server_that_is_gone_is_told_with_what_to_do(panel, wait_until, a_server, tmp_path):
    path = tmp_path / "cards" / "test.net.json"
    card = json.loads(path.read_text())
    card["weights"]["url"] = card["weights"]["url"].replace("w.pt", "gone.pt")
    path.write_text(json.dumps(card))
    panel.reload()
    panel.ui.getButton.click()
    wait_until(idle(panel))
    assert "404" in panel.ui.modelsStatusLabel.text
    assert "import" in panel.ui.modelsStatusLabel.text


def test_the_options_of_a_card_become_sliders_and_reach_the_job(panel, a_panel, tmp_path):
    path = tmp_path / "cards" / "test.net.json"
    option = {"title": "Smoothness", "meaning": "How smooth.", "default": 0.3}
    card = json.loads(path.read_text())
    card["options"] = {"smoothness": {**option, "minimum": 0.0, "maximum": 1.0}}
    path.write_text(json.dumps(card))
    register = a_panel.registerPanel
    register.models.reload()
    register.ui.modelSelector.currentIndex = register.ui.modelSelector.findData("test.net")
    slider = register.models.sliders["smoothness"]
    assert (slider.value, slider.minimum, slider.maximum) == (0.3, 0.0, 1.0)
    assert slider.toolTip == "How smooth."
    slider.value = 0.7
    from NeuralRegistrationLib.Register.Parameters import optionsOf

    assert optionsOf(register.parameters).model_options == {"smoothness": 0.7}
    assert optionsOf(register.parameters).model == "test.net"
    register.ui.modelSelector.currentIndex = 0
    assert optionsOf(register.parameters).model_options == {}


CODE = """
import torch
from torch import nn


class Answer(nn.Module):
    \"\"\"Knows the shift that the check makes, by how far the brightest places are apart.\"\"\"

    def forward(self, fixed, moving):
        axes = [torch.arange(n, dtype=torch.float32) for n in fixed.shape[-3:]]
        grids = torch.meshgrid(*axes, indexing="ij")
        found = []
        for image in (fixed, moving):
            mass = image[0, 0].clamp(min=0)
            found.append(torch.stack([(mass * g).sum() / mass.sum() for g in grids[::-1]]))
        return (found[1] - found[0]).view(1, 3, 1, 1, 1).expand(1, 3, *fixed.shape[-3:])


def build():
    return Answer()
"""


def test_a_model_of_one_s_own_is_tried_and_listed(
    panel, a_panel, wait_until, tmp_path, monkeypatch
):
    import qt

    folder = tmp_path / "my run"
    folder.mkdir()
    card = a_card(name="mine.first", title="My own model", architecture="mine_of_mine")
    card |= {"arguments": {}, "output": {"kind": "voxel", "order": "xyz"}}
    (folder / "model.json").write_text(json.dumps(card))
    (folder / "mine_of_mine.py").write_text(CODE)
    monkeypatch.setattr(qt.QFileDialog, "getOpenFileName", lambda *_: str(folder / "model.json"))
    asked = []
    answer = lambda text: asked.append(text) or len(asked) > 1  # noqa: E731  (first no, then yes)
    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", answer)
    panel.ui.ownModelButton.click()
    assert panel.job is None
    assert panel.ui.modelsStatusLabel.text == "my run: not imported."
    assert str(folder / "mine_of_mine.py") in asked[0]
    panel.ui.ownModelButton.click()
    assert not panel.ui.ownModelButton.enabled
    wait_until(lambda: panel.job is None)
    assert panel.ui.modelsStatusLabel.text == "my run is ready."
    assert "My own model" in [card.title for card in panel.listedCards]
    assert a_panel.registerPanel.ui.modelSelector.findData("mine.first") > 0
    (folder / "mine_of_mine.py").write_text(
        CODE.replace("found[1] - found[0]", "found[0] - found[1]")
    )
    panel.ui.ownModelButton.click()
    wait_until(lambda: panel.job is None)
    assert len(asked) == 3  # other content is asked for again
    assert "is ready" not in panel.ui.modelsStatusLabel.text


def test_weights_without_a_permissive_licence_are_fetched_after_a_question(
    panel, wait_until, tmp_path, monkeypatch
):
    path = tmp_path / "cards" / "test.net.json"
    card = json.loads(path.read_text()) | {"license": "for trying only"}
    path.write_text(json.dumps(card))
    panel.reload()
    panel.ui.modelsTable.selectRow(titles(panel).index("A small network"))
    asked, weights = [], tmp_path / "cache" / "w.pt"
    answer = lambda text: asked.append(text) or len(asked) > 1  # noqa: E731  (first no, then yes)
    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", answer)
    panel.ui.getButton.click()
    assert panel.job is None
    assert panel.ui.modelsStatusLabel.text == "A small network: not downloaded."
    for wanted in ("A small network", "for trying only", "1.0 MB", "http://127.0.0.1"):
        assert wanted in asked[0]
    for _ in range(2):  # asked once more, then never again
        panel.ui.getButton.click()
        wait_until(idle(panel))
        assert weights.read_bytes() == CONTENT
        weights.unlink()
        panel.reload()
        panel.ui.modelsTable.selectRow(titles(panel).index("A small network"))
    assert len(asked) == 2
