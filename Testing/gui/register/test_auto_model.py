"""The model that the automatic choice would take, told before Apply, and the mask that it needs."""

from __future__ import annotations

import json

import numpy as np
import pytest
import slicer

from Testing.support.paths import RESOURCES

CARDS = RESOURCES / "Models"


def an_ellipsoid(name: str, radii_mm=(70.0, 85.0, 65.0), spacing=3.0, rim=0.0, low=0):
    """Ones inside an ellipsoid of x y z radii; rim: gray value of the voxels around it."""
    size = [int(2.4 * r / spacing) for r in radii_mm]
    k, j, i = np.indices(size[::-1])
    inside = sum(
        ((a - (n - 1) / 2) * spacing / r) ** 2
        for a, n, r in zip((i, j, k), size, radii_mm, strict=True)
    )
    values = np.where(inside < 1, 100, low).astype(np.int16)
    values += (rim * (inside >= 1) * (1 + (i + j + k) % 5)).astype(np.int16)
    node = slicer.util.addVolumeFromArray(values, None, name)
    node.SetSpacing(*(spacing,) * 3)
    return node


@pytest.fixture
def choice(the_application):
    from NeuralRegistrationLib.Register import AutoModel

    return AutoModel


@pytest.fixture
def a_brain_network(tmp_path, monkeypatch):
    """A card for brains without skull that the automatic choice takes; nothing to be fetched."""
    card = json.loads((CARDS / "convex.json").read_text("utf-8"))
    card |= {"name": "brains.only", "title": "A network for brains", "auto_rank": 1}
    card["input"] |= {"content": "brain", "dimensions": [3]}
    (tmp_path / "brains.only.json").write_text(json.dumps(card))
    monkeypatch.setenv("NEURALREG_MODELS", str(tmp_path))


@pytest.mark.parametrize("spacing", [3.0, 1.5], ids=["as it is", "thinned"])
@pytest.mark.parametrize("low", [0, -1000], ids=["MR", "CT"])
def test_what_the_panel_sees_is_what_the_engine_sees(choice, a_scene, spacing, low):
    from neuralreg.registration.model_choice import ImageContent
    from NeuralRegistrationLib.Scene import Scripting

    node = an_ellipsoid("head", spacing=spacing, low=low)
    ours, engines = choice.content(node), ImageContent.of(Scripting.imageFromVolumeNode(node))
    assert (ours.ct, ours.dimension, ours.is_brain) == (low < 0, 3, low == 0)
    assert (ours.ct, ours.is_brain, ours.cut) == (engines.ct, engines.is_brain, engines.cut)
    assert ours.liters == pytest.approx(engines.liters, rel=0.03)
    assert ours.background_share == pytest.approx(engines.background_share, abs=0.02)
    assert ours.extent_mm == pytest.approx(engines.extent_mm, abs=3 * spacing)
    assert ours.spacing_mm == pytest.approx(engines.spacing_mm)


def test_what_has_no_value_is_background(choice, a_scene):
    node = an_ellipsoid("head", low=-1000)
    values = slicer.util.arrayFromVolume(node).astype(np.float32)
    whole = choice.content(node)
    values[:, :5] = np.nan
    slicer.util.updateVolumeFromArray(node, values)
    assert choice.content(node).background_share == pytest.approx(whole.background_share, abs=0.01)


def test_what_was_seen_is_looked_at_again_when_the_volume_changes(choice, a_scene):
    node = an_ellipsoid("head")
    assert choice.isBrain(node)
    slicer.util.arrayFromVolume(node)[:] = 7
    slicer.util.arrayFromVolumeModified(node)
    assert not choice.isBrain(node)


@pytest.fixture
def panel(known_worker, a_scene, a_panel):
    for name in ("fixed", "moving"):
        an_ellipsoid(name, spacing=4.0, rim=20.0)
    a_panel.enter()
    return a_panel.registerPanel


def test_automatic_is_the_first_choice_and_says_what_it_would_take_and_why(panel):
    assert panel.ui.modelSelector.itemText(0) == "Automatic"
    assert panel.parameters.model == "auto"
    text = panel.ui.precheckLabel.text
    assert "Coupled convex search (no training) would be used" in text
    assert "no available network was made for these images" in text
    panel.ui.modelSelector.currentIndex = panel.ui.modelSelector.findData("convex")
    assert "would be used" not in panel.ui.precheckLabel.text


def test_brains_without_skull_get_the_network_that_was_made_for_them(
    a_brain_network, choice, a_scene, a_panel
):
    from neuralreg.registration.model_choice import ImageContent, choose_model
    from neuralreg.zoo.registry import list_models
    from NeuralRegistrationLib.Scene import Scripting

    pair = [an_ellipsoid(name, spacing=4.0) for name in ("fixed", "moving")]
    a_panel.enter()
    parameters = a_panel.registerPanel.parameters
    text = choice.expectation(*pair, parameters)
    assert text.startswith("A network for brains would be used: both images look like brains")
    seen = [ImageContent.of(Scripting.imageFromVolumeNode(node)) for node in pair]
    assert choose_model(list_models(available=True), *seen).models[0] == "brains.only"
    from NeuralRegistrationLib.Register.Parameters import Preset

    parameters.preset = Preset.BRAIN
    assert "an anatomy was chosen" in choice.expectation(*pair, parameters)


def test_the_panel_says_that_the_brains_of_heads_will_be_found_first(
    a_brain_network, panel, tmp_path
):
    card = json.loads((CARDS / "mindgrab.json").read_text("utf-8"))
    card["weights"] = {"file": "tiny.bin", "format": "float32"}
    (tmp_path / "mindgrab.json").write_text(json.dumps(card))
    panel.refresh()
    assert "For heads with brain masks" in panel.ui.precheckLabel.text
    (tmp_path / "tiny.bin").write_bytes(bytes(4))
    panel.refresh()
    text = panel.ui.precheckLabel.text
    assert "A network for brains would be used, after mindgrab has found the brains" in text


def test_brains_are_found_for_both_sides_and_become_the_masks(
    a_brain_network, panel, wait_until, a_scene
):
    ui, p = panel.ui, panel.parameters
    assert "brain masks, A network for brains would be used" in ui.precheckLabel.text
    ui.brainsButton.click()
    assert not ui.brainsButton.enabled
    assert [ui.jobList.item(i).text() for i in range(ui.jobList.count)] == [
        "Brain of fixed",
        "Brain of moving",
    ]
    wait_until(lambda: not panel.jobs)
    assert [p.fixedMask.GetName(), p.movingMask.GetName()] == ["fixed brain", "moving brain"]
    assert ui.fixedMaskSelector.currentNode() is p.fixedMask
    assert "1.25 l" in ui.statusLabel.text
    assert "Look at it, made by auto." in ui.statusLabel.text
    segment = p.fixedMask.GetSegmentation().GetNthSegment(0)
    assert segment.GetName() == "Brain"
    values = slicer.util.arrayFromVolume(p.fixedVolume)
    ui.applyButton.click()
    wait_until(lambda: not panel.jobs)
    inside = panel.history[-1].result.provenance["asked"]["fixed_mask"]
    assert inside == np.prod([3 * n // 4 - n // 4 for n in values.shape])


def test_the_masks_are_taken_back_one_by_one(panel, wait_until, a_scene):
    before = {a_scene.GetNthNode(i).GetID() for i in range(a_scene.GetNumberOfNodes())}
    panel.ui.brainsButton.click()
    wait_until(lambda: not panel.jobs)
    panel.ui.revertButton.click()
    p = panel.parameters
    assert (p.fixedMask.GetName(), p.movingMask) == ("fixed brain", None)
    panel.ui.revertButton.click()
    assert {a_scene.GetNthNode(i).GetID() for i in range(a_scene.GetNumberOfNodes())} == before
    assert panel.ui.fixedMaskSelector.currentNode() is None


def test_finding_brains_can_be_cancelled(panel, wait_until, a_scene):
    panel.ui.brainsButton.click()
    panel.ui.cancelButton.click()
    panel.ui.cancelButton.click()
    wait_until(lambda: not panel.jobs)
    assert a_scene.GetFirstNodeByClass("vtkMRMLSegmentationNode") is None
    assert panel.ui.brainsButton.enabled


def test_a_brain_of_a_volume_that_was_changed_meanwhile_is_dropped(panel, wait_until, a_scene):
    volume = panel.parameters.fixedVolume
    panel.ui.brainsButton.click()
    slicer.util.arrayFromVolume(volume)[:] = 3
    slicer.util.arrayFromVolumeModified(volume)
    wait_until(lambda: not panel.jobs)
    assert panel.parameters.fixedMask is None
    assert panel.parameters.movingMask is not None


def test_what_is_a_brain_already_is_not_looked_at(known_worker, a_scene, a_panel):
    for name in ("fixed", "moving"):
        an_ellipsoid(name, spacing=4.0)
    a_panel.enter()
    panel = a_panel.registerPanel
    panel.ui.brainsButton.click()
    assert panel.jobs == []
    assert "brains without skull already" in panel.ui.statusLabel.text


def test_the_summary_names_the_model_and_why_it_was_taken(panel, wait_until):
    panel.ui.applyButton.click()
    wait_until(lambda: not panel.jobs)
    assert "no available network was made" in panel.ui.summaryLabel.text
    panel.parameters.model = "convex"
    panel.ui.applyButton.click()
    wait_until(lambda: not panel.jobs)
    assert "Coupled convex search" in panel.ui.summaryLabel.text
    assert "no available network" not in panel.ui.summaryLabel.text


def test_the_example_of_the_module_runs(known_worker, a_scene, capsys):
    from textwrap import dedent

    from NeuralRegistrationLib.Register import BrainMask

    an_ellipsoid("MRHead", spacing=4.0, rim=20.0)
    blocks = BrainMask.__doc__.split("\n\n")
    code = "\n".join(dedent(block) for block in blocks if block.startswith("    "))
    exec(code, {"getNode": slicer.util.getNode})
    assert capsys.readouterr().out == "1.25 ('look at it, made by mindgrab',)\n"
