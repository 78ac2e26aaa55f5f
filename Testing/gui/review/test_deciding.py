"""Decisions, reports and worklists of the Review panel."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import slicer

from Testing.support.review_scene import SHIFT, a_grid_transform, a_segmentation, nodes_in


def test_a_decision_is_kept_in_the_scene_and_beside_the_file(
    panel, review, a_transform, a_scene, tmp_path
):
    ui = panel.ui
    assert not ui.reviewDecideButton.enabled
    a_transform.SetDescription("made by hand")
    a_transform.AddDefaultStorageNode()
    a_transform.GetStorageNode().SetFileName(str(tmp_path / "t.h5"))
    review()
    ui.reviewDecisionSelector.currentIndex = 1
    ui.reviewerEdit.text, ui.reviewNoteEdit.text = "Dr. A", "good at the target"
    ui.reviewDecideButton.click()
    first, second = a_transform.GetDescription().splitlines()
    assert first.startswith("Review: Accepted (level 1")
    assert second == "made by hand"
    kept = json.loads((tmp_path / "t.decision.json").read_text())
    assert (kept["verdict"], kept["level"], kept["by"]) == ("accepted", 1, "Dr. A")
    assert "t.decision.json" in ui.reviewStatusLabel.text
    table = a_scene.GetFirstNodeByName("Review worklist")
    assert [table.GetCellText(0, n) for n in range(4)] == [
        "moving to fixed", "fail", "accepted", "Dr. A",
    ]  # fmt: skip


def test_a_structure_can_be_decided_on_by_itself(panel, review, a_pair):
    ui = panel.ui
    ui.reviewFixedSegmentsSelector.setCurrentNode(a_segmentation(a_pair[0], "one"))
    ui.reviewMovingSegmentsSelector.setCurrentNode(a_segmentation(a_pair[1], "other"))
    review()
    ui.reviewAboutSelector.currentIndex = ui.reviewAboutSelector.findText("Liver")
    ui.reviewDecisionSelector.currentIndex = 5
    ui.reviewDecideButton.click()
    assert panel.decision.decision.segments == {"Liver": "rejected"}
    assert panel.decision.decision.verdict == "needs work"
    assert "Liver: rejected" in ui.reviewDecisionLabel.text


def test_a_decision_is_void_when_the_transform_changes(panel, review, a_transform):
    review()
    panel.ui.reviewDecideButton.click()
    assert "Void" not in panel.ui.reviewDecisionLabel.text
    vectors = slicer.util.arrayFromGridTransform(a_transform)
    vectors[:] = 1
    a_transform.TransformModified()
    assert "Void" in panel.ui.reviewDecisionLabel.text
    assert "review it again" in panel.ui.reviewVerdictLabel.text
    assert a_transform.GetDescription().startswith("Review: void")
    review()
    assert "Void" in panel.ui.reviewDecisionLabel.text
    vectors = slicer.util.arrayFromGridTransform(a_transform)
    vectors[:] = SHIFT * [-1, -1, 1]
    a_transform.TransformModified()
    review()
    assert "Void" not in panel.ui.reviewDecisionLabel.text


def test_review_and_decision_come_back_with_the_scene(panel, review, a_scene, tmp_path, a_panel):
    review()
    panel.ui.reviewDecideButton.click()
    panel.ui.reviewOverlaySelector.currentIndex = 4
    a_scene.SetURL(str(tmp_path / "scene.mrml"))
    a_scene.SetRootDirectory(str(tmp_path))
    assert a_scene.Commit()
    text = (tmp_path / "scene.mrml").read_text()
    a_scene.Clear(False)
    assert panel.ui.reviewLinesTable.rowCount == 0
    a_scene.SetLoadFromXMLString(1)
    a_scene.SetSceneXMLString(text)
    a_scene.Import()
    assert panel.parameters.overlay.value == "difference"
    assert panel.ui.reviewTransformSelector.currentNode().GetName() == "moving to fixed"
    assert panel.ui.reviewLinesTable.rowCount == 4
    assert "saved scene" in panel.ui.reviewVerdictLabel.text
    assert "Accepted" in panel.ui.reviewDecisionLabel.text
    assert re.search(r"on \d{4}-\d\d-\d\d \d\d:\d\d UTC", panel.ui.reviewDecisionLabel.text)


def test_several_transforms_are_gone_through_those_at_risk_first(
    panel, review, a_transform, a_pair, a_scene
):
    others = [a_grid_transform(a_scene, f"case {n}") for n in (1, 2)]
    for node in others:
        for role in (node.GetFixedNodeReferenceRole(), node.GetMovingNodeReferenceRole()):
            node.SetNodeReferenceID(role, a_pair[0].GetID())
    review()
    table = panel.ui.reviewWorklistTable
    names = [table.item(row, 0).text() for row in range(table.rowCount)]
    assert names == ["moving to fixed", "case 1", "case 2"]
    assert table.item(0, 1).text() == "✕ fail"
    panel.ui.reviewDecideButton.click()
    assert all(key.isEnabled() for key in panel.worklist.shortcuts)
    panel.worklist.shortcuts[1].activated.emit()
    assert panel.parameters.transform is others[0]
    panel.ui.reviewNextButton.click()
    assert panel.parameters.transform is others[1]
    panel.ui.reviewNextButton.click()  # the first one is decided: it is passed over
    assert panel.parameters.transform is others[0]
    panel.ui.reviewPreviousButton.click()
    assert panel.parameters.transform is a_transform


def test_a_report_shows_how_far_it_is_and_can_be_cancelled(
    panel, review, wait_until, monkeypatch, tmp_path
):
    import qt

    path = tmp_path / "report.html"
    monkeypatch.setattr(qt.QFileDialog, "getSaveFileName", lambda *_: str(path))
    review()
    ui = panel.ui
    ui.reviewReportButton.click()
    assert ui.reviewCancelButton.enabled
    assert not ui.reviewProgressBar.isHidden()
    assert not ui.reviewReportButton.enabled
    ui.reviewCancelButton.click()
    wait_until(lambda: panel.report.job is None)
    assert ui.reviewStatusLabel.text == "Cancelled."
    assert list(tmp_path.iterdir()) == []
    assert ui.reviewProgressBar.isHidden()
    assert ui.reviewReportButton.enabled


def test_what_a_pdf_needs_is_offered_and_installed_and_then_it_is_written(
    panel, review, tmp_path, wait_until, monkeypatch
):
    import qt
    import slicer.packaging
    from NeuralRegistrationLib import Dependencies

    there, asked = set(), []
    real = Dependencies.isInstalled
    monkeypatch.setattr(
        Dependencies,
        "isInstalled",
        lambda name: name in there if name in ("fpdf", "matplotlib") else real(name),
    )

    def pip_install(requirements, **more):
        asked.extend(requirements)
        there.update(("fpdf", "matplotlib"))
        qt.QTimer.singleShot(0, lambda: more["completedCallback"](0))

    monkeypatch.setattr(slicer.packaging, "pip_install", pip_install)
    path = tmp_path / "report.html"
    monkeypatch.setattr(qt.QFileDialog, "getSaveFileName", lambda *_: str(path))
    review()
    panel.ui.reviewReportButton.click()
    wait_until(lambda: panel.report.job is None)
    assert not (tmp_path / "report.pdf").exists()
    text = panel.ui.reviewStatusLabel.text
    assert "For a PDF, Slicer needs fpdf, matplotlib: a download of about 18 MB" in text
    assert not panel.ui.reviewPdfButton.isHidden()
    panel.ui.reviewPdfButton.click()
    wait_until((tmp_path / "report.pdf").exists)
    wait_until(lambda: panel.report.job is None)
    assert asked == ["fpdf2>=2.8", "matplotlib>=3.8"]
    assert panel.ui.reviewPdfButton.isHidden()
    assert "report.pdf" in panel.ui.reviewStatusLabel.text


def test_a_report_is_written_with_pictures_of_slicer_s_views(
    panel, review, a_scene, tmp_path, monkeypatch, wait_until, a_transform, views
):
    import qt

    review()
    panel.ui.reviewDecideButton.click()
    before = nodes_in(a_scene)
    path = tmp_path / "report.html"
    monkeypatch.setattr(qt.QFileDialog, "getSaveFileName", lambda *_: str(path))
    panel.ui.reviewReportButton.click()
    wait_until(lambda: panel.report.job is None)
    assert panel.ui.reviewStatusLabel.text.startswith("Written: report.html")
    page = path.read_text("utf-8")
    assert page.count("data:image") >= 12 + 2  # four kinds in three planes, and the worst places
    kept = json.loads((tmp_path / "report.json").read_text("utf-8"))
    assert kept["provenance"]["nodes"]["transform"] == "moving to fixed"
    assert kept["decision"]["verdict"] == "accepted"
    (left,) = nodes_in(a_scene) - before
    assert a_scene.GetNodeByID(left).GetName().startswith("Change of volume")  # the colors
    assert a_transform.GetDisplayNode() is None


@pytest.fixture
def loaders(a_headless_scene, monkeypatch):
    """What `slicer.util` loads with in the application, by the logics that it asks."""
    logics = a_headless_scene.logics
    volumes, transforms = (logics[f"vtkSlicer{n}Logic"] for n in ("Volumes", "Transform"))
    monkeypatch.setattr(
        slicer.util, "loadVolume", lambda path: volumes.AddArchetypeVolume(path, "v"), raising=False
    )
    monkeypatch.setattr(
        slicer.util, "loadTransform", lambda p: transforms.AddTransform(p, slicer.mrmlScene)
    )


@pytest.fixture
def a_list(tmp_path, a_pair, a_transform):
    """A CSV of three cases with their files; the last one's transform is missing."""
    names = {}
    for role, node in (("fixed", a_pair[0]), ("moving", a_pair[1])):
        names[role] = f"{role}.nrrd"
        storage = node.CreateDefaultStorageNode()
        storage.SetFileName(str(tmp_path / names[role]))
        assert storage.WriteData(node)
    for case in ("one", "two"):
        storage = a_transform.CreateDefaultStorageNode()
        storage.SetFileName(str(tmp_path / f"{case}.h5"))
        assert storage.WriteData(a_transform)
    rows = ["case,transform,fixed,moving"]
    rows += [f"{c},{c}.h5,{names['fixed']},{names['moving']}" for c in ("one", "two", "three")]
    path = tmp_path / "cases.csv"
    path.write_text("\n".join(rows))
    return path


def test_a_list_of_files_is_gone_through_and_goes_on_where_it_was_stopped(
    panel, review, a_list, loaders, a_scene, monkeypatch
):
    import csv

    import qt

    ui, before = panel.ui, nodes_in(a_scene)
    monkeypatch.setattr(qt.QFileDialog, "getOpenFileName", lambda *_: str(a_list))
    ui.reviewOpenListButton.click()
    table = ui.reviewWorklistTable
    assert [table.item(row, 0).text() for row in range(3)] == ["one", "three", "two"]
    table.selectRow(0)
    p = panel.parameters
    assert p.fixedVolume.GetImageData().GetDimensions() == (16, 15, 14)
    (told, _points) = review().notes
    assert np.array(eval(told.removeprefix("way "), {})) == pytest.approx(SHIFT, abs=1e-3)
    ui.reviewerEdit.text = "Dr. B"
    ui.reviewDecideButton.click()
    kept = {row["case"]: row for row in csv.DictReader(a_list.read_text().splitlines())}
    assert (kept["one"]["verdict"], kept["one"]["decision"]) == ("fail", "accepted")
    assert (kept["one"]["by"], kept["two"]["decision"]) == ("Dr. B", "")
    assert a_list.with_name("one.decision.json").is_file()
    ui.reviewOpenListButton.click()  # as if it was another day
    assert [table.item(row, 0).text() for row in range(3)] == ["three", "two", "one"]
    assert table.item(2, 2).text() == "accepted"
    table.selectRow(0)  # its transform is not there
    assert "a case cannot be loaded" in ui.reviewStatusLabel.text
    monkeypatch.setattr(qt.QFileDialog, "getOpenFileName", lambda *_: "")
    ui.reviewOpenListButton.click()
    assert [table.item(row, 0).text() for row in range(table.rowCount)] == ["moving to fixed"]
    left = {a_scene.GetNodeByID(n).GetClassName() for n in nodes_in(a_scene) - before}
    assert left <= {"vtkMRMLTableNode"}


def test_another_person_s_new_decision_in_the_list_stays(
    panel, review, a_list, loaders, monkeypatch
):
    import csv

    import qt
    from neuralreg.review.workflow.worklist import read_worklist, write_worklist

    def write(verdict: str, by: str) -> None:
        decided = {"decision": verdict, "by": by}
        entries = read_worklist(a_list)
        write_worklist([replace(e, **decided) if e.case == "two" else e for e in entries], a_list)

    write("accepted", "Dr. A")
    ui = panel.ui
    monkeypatch.setattr(qt.QFileDialog, "getOpenFileName", lambda *_: str(a_list))
    ui.reviewOpenListButton.click()
    write("rejected", "Dr. C")
    table = ui.reviewWorklistTable
    table.selectRow([table.item(row, 0).text() for row in range(3)].index("one"))
    review()
    ui.reviewerEdit.text = "Dr. B"
    ui.reviewDecideButton.click()
    kept = {row["case"]: row for row in csv.DictReader(a_list.read_text().splitlines())}
    assert [(kept[case]["decision"], kept[case]["by"]) for case in ("one", "two")] == [
        ("accepted", "Dr. B"),
        ("rejected", "Dr. C"),
    ]
