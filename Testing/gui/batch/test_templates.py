"""Build a template in the Batch panel: the average appears after each round, and goes on."""

from __future__ import annotations

import pytest
import slicer


@pytest.fixture
def section(a_panel, known_worker, a_volume):
    a_panel.tabs.currentIndex = 4
    section = a_panel.batchPanel.templates
    for number in range(2):
        a_volume(f"mouse {number}")
    yield section
    section.stop()


def choose(section, folder, rounds: int) -> None:
    import qt

    ui = section.ui
    for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode"):
        if node.GetName().startswith("mouse"):
            ui.batchTemplateSelector.setCheckState(node, qt.Qt.Checked)
    ui.batchTemplateFolderEdit.text = str(folder)
    ui.batchTemplateRoundsBox.value = rounds


def test_an_average_appears_and_sharpens_round_by_round(section, tmp_path, wait_until):
    gray, changed = [], section.build._onChanged

    def look():
        changed()
        node = section.build.node
        value = None if node is None else float(slicer.util.arrayFromVolume(node).mean())
        if value is not None and value not in gray:
            gray.append(value)

    section.build._onChanged = look
    choose(section, tmp_path, 2)
    section.ui.batchTemplateButton.click()
    assert section.ui.batchTemplateStopButton.enabled
    wait_until(lambda: section.build.ended)
    assert section.build.error is None, section.build.error
    assert gray == [0, 1, 2]
    assert section.build.node.GetName() == "Average of 2"
    text = section.ui.batchTemplateLabel.text
    assert "Round 2: the mean shape moved 1.50 mm" in text
    assert "Done" in text
    assert "mouse_0.nii.gz and mouse_1.nii.gz" in text
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == 3

    section.ui.batchTemplateButton.click()  # never over a template that is there
    wait_until(lambda: section.build.ended)
    assert "holds a template already" in section.ui.batchTemplateLabel.text


def test_rounds_end_where_the_mean_shape_settles(section, tmp_path, wait_until):
    choose(section, tmp_path, 9)
    section.ui.batchTemplateButton.click()
    wait_until(lambda: section.build.ended)
    assert section.build.rounds[-1]["number"] == 3


def test_a_build_is_stopped_and_goes_on(section, tmp_path, wait_until):
    choose(section, tmp_path, 1)
    section.ui.batchTemplateButton.click()
    section.ui.batchTemplateStopButton.click()
    wait_until(lambda: section.build.ended)
    assert "cancelled" in section.ui.batchTemplateLabel.text
    section.ui.batchTemplateButton.click()
    wait_until(lambda: section.build.ended)
    assert section.build.finished


@pytest.mark.parametrize(
    ("volumes", "folder", "words"), [(0, "t", "two volumes"), (2, "", "needs a folder")]
)
def test_what_is_missing_is_said_and_nothing_is_begun(section, tmp_path, volumes, folder, words):
    if volumes:
        choose(section, "", 1)
    section.ui.batchTemplateFolderEdit.text = str(tmp_path / folder) if folder else ""
    section.ui.batchTemplateButton.click()
    assert words in section.ui.batchTemplateLabel.text
    assert section.build.ended
    assert list(tmp_path.iterdir()) == []


def test_the_console_builds_the_same_and_waits(section, tmp_path):
    from neuralreg.errors import InvalidOption
    from NeuralRegistrationLib import buildTemplate

    nodes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
    mice = [node for node in nodes if node.GetName().startswith("mouse")]
    done = buildTemplate(mice, tmp_path, rounds=2)
    assert done.finished
    assert float(slicer.util.arrayFromVolume(done.node).mean()) == 2
    assert done.node.GetName() == "Average of 2"
    with pytest.raises(InvalidOption, match="two volumes at least"):
        buildTemplate(mice[:1], tmp_path)
