"""The Batch panel: a study of several processes, stopped, continued, opened and reviewed."""

from __future__ import annotations

import json

import numpy as np
import pytest
import slicer

from Testing.support.image_files import save_image

SMALL = (10, 11, 12)


@pytest.fixture
def panel(a_panel, real_worker):
    a_panel.tabs.currentIndex = 4
    panel = a_panel.batchPanel
    panel.ui.batchPairingSelector.currentIndex = 0  # another test's settings may be remembered
    panel.ui.batchModelSelector.currentIndex = panel.ui.batchPresetSelector.currentIndex = 0
    panel.ui.batchWorkersBox.value = 0
    yield panel
    panel.study.stop()


@pytest.fixture
def loaders(a_headless_scene, monkeypatch):
    """What `slicer.util` loads with in the application, by the logics that it asks."""
    logics = a_headless_scene.logics
    volumes, transforms = (logics[f"vtkSlicer{n}Logic"] for n in ("Volumes", "Transform"))
    for name, load in (
        ("loadVolume", lambda path: volumes.AddArchetypeVolume(path, "v")),
        ("loadTransform", lambda path: transforms.AddTransform(path, slicer.mrmlScene)),
    ):
        monkeypatch.setattr(slicer.util, name, load, raising=False)


@pytest.fixture
def a_table(tmp_path):
    """Two pairs that differ in their options, and one without its moving image."""
    for name, shift in (("f", 0), ("m", 1)):
        z, y, x = np.mgrid[:10, :11, :12]
        inside = ((z - 5) / 4) ** 2 + ((y - 5) / 4) ** 2 + ((x - 5 - shift) / 4) ** 2 < 1
        save_image((inside * (100 + 10 * z)).astype(np.int16), tmp_path / f"{name}.nii.gz")
    rows = ["id,fixed,moving,prealign,refine,refine_steps"]
    rows += [f"{n},f.nii.gz,{m}.nii.gz,none,mind,{k}" for n, m, k in
             (("a", "m", 1), ("b", "m", 2), ("c", "gone", 1))]  # fmt: skip
    (tmp_path / "t.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


def begin(panel, folder):
    panel.ui.batchTableEdit.text = str(folder / "t.csv")
    panel.ui.batchFolderEdit.text = str(folder / "study")
    panel.ui.batchStartButton.click()


def states(panel):
    table = panel.ui.batchRowsTable
    return {table.item(n, 0).text(): table.item(n, 1).text() for n in range(table.rowCount)}


def test_a_study_is_stopped_continued_opened_and_sent_to_the_review(
    panel, a_panel, a_table, wait_until, late_ticks, a_scene, loaders
):
    begin(panel, a_table)
    wait_until(lambda: states(panel).get("a") == "running")
    assert panel.ui.batchStopButton.enabled
    assert not panel.ui.batchInputs.enabled
    panel.ui.batchStopButton.click()
    wait_until(lambda: panel.study.ended)
    assert set(states(panel).values()) == {"waiting"}
    assert "Start continues" in panel.ui.batchStatusLabel.text

    panel.ui.batchStartButton.click()  # what the killed worker had locked is taken over
    wait_until(lambda: panel.study.ended and panel.study.rows)
    assert states(panel) == {"a": "done", "b": "done", "c": "failed"}
    assert "gone.nii.gz" in panel.ui.batchStatusLabel.text
    written = json.loads((a_table / "study" / "study.json").read_text())
    assert written["states"] == {"done": 2, "failed": 1}
    assert late_ticks.count() == 0

    panel.ui.batchRowsTable.selectRow(0)
    panel.ui.batchOpenButton.click()
    (transform,) = a_scene.GetNodesByClass("vtkMRMLTransformNode")
    moving = transform.GetNodeReference(transform.GetMovingNodeReferenceRole())
    assert moving.GetParentTransformNode() is transform

    panel.ui.batchReviewButton.click()
    wait_until(lambda: a_panel.tabs.currentIndex == 1)
    table = a_panel.reviewPanel.ui.reviewWorklistTable
    assert {table.item(n, 0).text() for n in range(table.rowCount)} == {"a", "b"}


def test_a_new_panel_remembers_the_study_and_finds_what_is_done(panel, a_table, wait_until):
    from NeuralRegistrationLib.Batch.Panel import BatchPanel

    begin(panel, a_table)
    wait_until(lambda: panel.study.ended and panel.study.rows)
    times = {path: path.stat().st_mtime_ns for path in a_table.glob("study/*/result.json")}
    assert len(times) == 2
    again = BatchPanel(onReview=None)  # as after a restart of Slicer
    assert again.ui.batchFolderEdit.text == str(a_table / "study")
    again.ui.batchStartButton.click()
    wait_until(lambda: again.study.ended and again.study.rows)
    assert states(again) == {"a": "done", "b": "done", "c": "failed"}
    assert {path: path.stat().st_mtime_ns for path in times} == times
    again.cleanup()


def test_options_are_those_of_all_pairs_and_pairs_are_computed_at_once(
    panel, a_table, wait_until, the_application
):
    from NeuralRegistrationLib.Batch.Panel import BatchPanel

    ui = panel.ui
    ui.batchModelSelector.currentIndex = ui.batchModelSelector.findData("convex")
    ui.batchPresetSelector.currentIndex = ui.batchPresetSelector.findData("brain MR")
    ui.batchWorkersBox.value = 2
    begin(panel, a_table)
    wait_until(lambda: panel.study.ended and panel.study.rows)
    assert states(panel) == {"a": "done", "b": "done", "c": "failed"}
    record = json.loads((a_table / "study" / "study.json").read_text())
    assert record["workers"] == 2
    assert (record["options"]["model"], record["options"]["preset"]) == ("convex", "brain MR")
    result = json.loads((a_table / "study" / "a" / "result.json").read_text())
    assert result["options"]["preset"] == "brain MR"
    rows = [
        json.loads((a_table / "study" / "_study" / "rows" / name / "row.json").read_text())
        for name in ("a", "b")
    ]
    assert max(row["start"] for row in rows) < min(row["end"] for row in rows)
    again = BatchPanel(onReview=None)  # as after a restart of Slicer
    assert again.options.arguments() == panel.options.arguments()
    again.cleanup()


def test_volumes_of_the_scene_become_the_pairs_of_a_study(panel, a_volume, tmp_path, wait_until):
    import qt
    from NeuralRegistrationLib.Batch.Panel import SCENE

    nodes = [a_volume(name, SMALL) for name in ("first", "second one", "third")]
    ui = panel.ui
    ui.batchPairingSelector.currentIndex = SCENE
    ui.batchFolderEdit.text = str(tmp_path / "study")
    ui.batchFixedSelector.setCurrentNode(nodes[0])
    for node in nodes[1:]:
        ui.batchMovingSelector.setCheckState(node, qt.Qt.Checked)
    panel.start()
    wait_until(lambda: panel.study.rows or panel.study.error)
    assert panel.study.error is None, panel.study.error
    assert [row["id"] for row in panel.study.rows] == ["second_one", "third"]
    panel.study.stop()
    wait_until(lambda: panel.study.ended)
    names = {path.name for path in (tmp_path / "study" / "_inputs" / "train" / "images").iterdir()}
    assert names == {"first.nii.gz", "second_one.nii.gz", "third.nii.gz"}


@pytest.mark.parametrize(
    ("table", "folder", "words"),
    [("", "study", "no such table or folder"), ("t.csv", "", "a study needs a folder")],
)
def test_what_is_missing_is_said_and_nothing_is_begun(panel, a_table, table, folder, words):
    panel.ui.batchTableEdit.text = str(a_table / table) if table else ""
    panel.ui.batchFolderEdit.text = str(a_table / folder) if folder else ""
    panel.ui.batchStartButton.click()
    assert words in panel.ui.batchStatusLabel.text
    assert panel.study.ended
    assert not (a_table / "study").exists()


def test_a_table_with_faults_is_said_with_row_and_column(panel, a_table, wait_until):
    (a_table / "t.csv").write_text("id,fixed,moving\na,f.nii.gz,\n")
    begin(panel, a_table)
    wait_until(lambda: panel.study.error is not None)
    assert "row 2, column moving: is empty" in panel.ui.batchStatusLabel.text
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLTransformNode") == 0
