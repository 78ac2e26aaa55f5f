"""Pictures of every state of the panels, light and dark, narrow, wide and with large letters."""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
# The pictures show neither who made them nor what this machine has downloaded.
os.environ["NEURALREG_CACHE"] = "/tmp/weights"

import numpy as np
import slicer
from NeuralRegistrationLib.Scene.Headless import HeadlessScene

from Testing.gui import standin
from Testing.gui.screenshot_parts import (
    body,
    palette,
    segments,
    set_letters,
    slicer_qt,
    wait,
    write_bodies,
)

RECIPE = """# A small U-Net with squared differences: for a quick look at images of one kind.
model:
  backbone: {name: voxelmorph, features: [[8, 16], [16, 8, 8]]}
loss:
  image: ssd
  deformation: {name: gradient, weight: 0.003}
training:
  epochs: 30
  threads: 1
  pictures: 2
  optimizer: {name: Adam, lr: 3.0e-3}
"""
NARROW, WIDE = 350, 520
PASSES = (  # of the files: name, dark, size of the letters, widths in pixels
    ("light", False, 1.0, {"narrow": NARROW, "wide": WIDE}),
    ("dark", True, 1.0, {"narrow": NARROW, "wide": WIDE}),
    ("large", False, 1.25, {"narrow": NARROW}),
)


def states() -> Iterator[tuple[str, object]]:
    """Names of states and the window in which each can be seen."""
    import NeuralRegistration
    from NeuralRegistrationLib import Dependencies

    scene = HeadlessScene()
    slicer.app._logic = scene.application  # pictures for a report are drawn by it
    panel = NeuralRegistration.NeuralRegistrationWidget()
    ui = panel.registerPanel.ui
    yield "fresh", panel.parent
    panel.tabs.currentIndex = 3  # before the others are made, which are taller
    yield "models", panel.parent
    panel.tabs.currentIndex = 0
    for name, shift in (("Head in June", 0), ("Head in January", 5)):
        slicer.util.addVolumeFromArray(body(shift), None, name)
    labels = scene.scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "Landmarks of January")
    panel.enter()
    ui.bringAlongSelector.setCheckState(labels, slicer_qt().Qt.Checked)
    yield "ready", panel.parent
    ui.advancedSection.collapsed = False
    yield "advanced", panel.parent
    ui.advancedSection.collapsed = True
    yield from guides(ui, scene.scene)
    ui.modelSelector.currentIndex = ui.modelSelector.findData("convex")
    ui.applyButton.click()
    wait(lambda: ui.progressBar.value > 300 or not ui.cancelButton.enabled)
    yield "running", panel.parent
    wait(lambda: not ui.cancelButton.enabled)
    yield "done", panel.parent
    yield from reviews(panel, scene.scene)
    panel.tabs.currentIndex = 0
    empty = scene.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Not loaded")
    ui.movingVolumeSelector.setCurrentNode(empty)
    yield "bad pair", panel.parent
    panel.registerPanel.status.sayFailure(
        "The computing process ended.",
        "Close other programs, or crop the images.",
        "Killed: the computer ran out of memory",
    )
    ui.logButton.checked = True
    yield "error", panel.parent
    panel.tabs.currentIndex = 0
    there, Dependencies.missingPackages = (
        Dependencies.missingPackages,
        lambda: list(Dependencies.PACKAGES[:3]),
    )
    panel.setupCard.update()
    yield "set-up", panel.parent
    Dependencies.missingPackages = there
    panel.cleanup()


def guides(ui, scene) -> Iterator[tuple[str, object]]:
    """The section Guides: closed folds, and those of labels, channels and surfaces in use."""
    volumes = [
        selector.currentNode() for selector in (ui.fixedVolumeSelector, ui.movingVolumeSelector)
    ]
    organs = [segments(scene, volume) for volume in volumes]
    further = [
        slicer.util.addVolumeFromArray(body(shift), None, name)
        for name, shift in (("T2 in June", 0), ("T2 in January", 5))
    ]
    ui.guidesSection.collapsed = False
    window = ui.guidesSection.window()
    yield "guides", window
    ui.landmarksFold.collapsed = False
    yield "guides landmarks", window
    ui.landmarksFold.collapsed = True
    ui.addSurfaceButton.click()
    ui.addChannelButton.click()
    for side, organ, volume in zip(("fixed", "moving"), organs, further, strict=True):
        getattr(ui, f"{side}LabelsSelector").setCurrentNode(organ)
        getattr(ui, f"{side}SurfaceSelector").setCurrentNode(organ)
        getattr(ui, f"{side}ChannelSelector").setCurrentNode(volume)
    folds = (ui.labelsFold, ui.channelsFold, ui.surfacesFold)
    for fold in folds:
        fold.collapsed = False
    yield "guides in use", window
    for fold in folds:
        fold.collapsed = True
    ui.guidesClearButton.click()
    ui.guidesSection.collapsed = True
    for node in (*organs, *further):
        scene.RemoveNode(node)


def studies() -> Iterator[tuple[str, object]]:
    """The Batch panel: as it opens, and after a study in which one pair failed."""
    import NeuralRegistration

    scene = HeadlessScene()
    panel = NeuralRegistration.NeuralRegistrationWidget()
    panel.tabs.currentIndex = 4
    batch, ui = panel.batchPanel, panel.batchPanel.ui
    yield "batch fresh", panel.parent
    folder = Path(tempfile.gettempdir(), "heads")
    folder.mkdir()
    try:
        list(write_bodies(folder))
        images = sorted((folder / "train" / "images").iterdir())
        rows = [f"visit {n},{images[0]},{image},none" for n, image in enumerate(images[1:4], 1)]
        rows += [f"visit 4,{images[0]},{folder / 'moved elsewhere.nii.gz'},none"]
        Path(folder, "visits.csv").write_text("\n".join(["id,fixed,moving,prealign", *rows]))
        ui.batchTableEdit.text = str(folder / "visits.csv")
        ui.batchFolderEdit.text = str(folder / "study")
        ui.batchWorkersBox.value = 1
        ui.batchStartButton.click()
        wait(lambda: batch.study.count("done") >= 1 or batch.study.ended)
        yield "batch running", panel.parent
        wait(lambda: batch.study.ended)
        ui.batchRowsTable.selectRow(0)
        yield "batch done", panel.parent
        yield from groups(panel, scene.scene, folder)
    finally:
        panel.cleanup()
        shutil.rmtree(folder)
    scene.scene.Clear(True)


def groups(panel, scene, folder: Path) -> Iterator[tuple[str, object]]:
    """The sections for sequences and templates: before and after."""
    batch, ui = panel.batchPanel, panel.batchPanel.ui
    sequence = scene.AddNewNodeByClass("vtkMRMLSequenceNode", "Heart beat")
    for number, shift in enumerate((0, 3)):
        frame = slicer.vtkMRMLScalarVolumeNode()
        slicer.util.updateVolumeFromArray(frame, body(shift, 24))
        sequence.SetDataNodeAtValue(frame, str(number))
    browser = scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "Heart beat browser")
    browser.SetAndObserveMasterSequenceNodeID(sequence.GetID())
    for section in (ui.batchSequenceSection, ui.batchTemplateSection):
        section.collapsed = False
    ui.batchSequenceSelector.setCurrentNode(sequence)
    ui.batchSequenceToSelector.currentIndex = 2
    for number in (1, 2):
        node = slicer.util.addVolumeFromArray(body(number, 24), None, f"Mouse {number}")
        ui.batchTemplateSelector.setCheckState(node, slicer_qt().Qt.Checked)
    ui.batchTemplateFolderEdit.text = str(folder / "average")
    ui.batchTemplateRoundsBox.value = 0
    yield "batch groups", panel.parent
    ui.batchSequenceButton.click()
    wait(lambda: batch.sequences.job is None)
    ui.batchTemplateButton.click()
    wait(lambda: batch.templates.build.ended)
    yield "batch groups done", panel.parent


def trainings() -> Iterator[tuple[str, object]]:
    """The Train panel: as it opens, filled in, while a network learns, and after that."""
    import NeuralRegistration
    from NeuralRegistrationLib import Dependencies

    scene = HeadlessScene()
    panel = NeuralRegistration.NeuralRegistrationWidget()
    panel.tabs.currentIndex = 2
    train, ui = panel.trainPanel, panel.trainPanel.ui
    yield "train fresh", panel.parent
    volumes = [slicer.util.addVolumeFromArray(body(n), None, f"Knee {n}") for n in (1, 2, 3)]
    ui.trainSourceSelector.currentIndex = 1
    train.set({"volumes": volumes, "segmentations": [segments(scene.scene, v) for v in volumes]})
    ui.trainStartSelector.currentIndex = ui.trainStartSelector.findData("gradicon.unigradicon")
    ui.trainStartSelector.activated.emit(ui.trainStartSelector.currentIndex)
    yield "train scene", panel.parent
    train.set({"startFrom": "", "sizeX": 24, "sizeY": 24, "sizeZ": 24})
    folder = Path(tempfile.gettempdir(), "knees")
    folder.mkdir()
    try:
        yield from learning(panel.parent, train, folder)
    finally:
        shutil.rmtree(folder)
    there = Dependencies.missingForTraining
    Dependencies.missingForTraining = lambda: list(Dependencies.TRAINING[2:7])
    ui.runFolderEdit.text = "/tmp/knees/run 3"
    ui.startTrainingButton.click()
    yield "train packages", panel.parent
    Dependencies.missingForTraining = there
    panel.cleanup()


def learning(window, train, folder: Path) -> Iterator[tuple[str, object]]:
    """The panel before, during and after a training on images in a folder."""
    ui = train.ui
    ui.trainSourceSelector.currentIndex = 0
    ui.trainFolderEdit.text, ui.validFolderEdit.text = write_bodies(folder)
    ui.trainNameEdit.text, ui.runFolderEdit.text = "knees.first", str(Path(folder, "run 1"))
    Path(folder, "knees.yaml").write_text(RECIPE, encoding="utf-8")
    train.set({"recipe": str(Path(folder, "knees.yaml"))})
    yield "train filled", window
    ui.startTrainingButton.click()
    wait(lambda: train.view.steps > 90 or not train.training.busy)
    yield "train running", window
    wait(lambda: not train.training.busy)
    yield "train done", window
    next(folder.rglob("*.nii.gz")).write_bytes(b"broken")
    ui.runFolderEdit.text = str(Path(folder, "run 2"))
    ui.startTrainingButton.click()
    wait(lambda: not train.training.busy)
    yield "train problems", window


def reviews(panel, scene) -> Iterator[tuple[str, object]]:
    """The Review panel: as it opens, with a review, and with landmarks and a decision."""
    from NeuralRegistrationLib import Dependencies

    volumes = [panel.registerPanel.parameters.fixedVolume]
    volumes.append(panel.registerPanel.parameters.movingVolume)
    panel.registerPanel.ui.openReviewButton.click()
    review = panel.reviewPanel
    ui = review.ui
    yield "review fresh", panel.parent
    for selector, volume in zip(
        (ui.reviewFixedSegmentsSelector, ui.reviewMovingSegmentsSelector), volumes, strict=True
    ):
        selector.setCurrentNode(segments(scene, volume))
    ui.reviewButton.click()
    wait(lambda: review.findings.report is not None)
    yield "review first numbers", panel.parent
    wait(lambda: not review.jobs)
    ui.reviewLinesTable.selectRow(0)
    yield "review", panel.parent
    ui.reviewPlacesTable.selectRow(0)
    yield "review at work", panel.parent
    for section in (ui.reviewSection, ui.reviewResultSection):
        section.collapsed = False
    scene.AddNode(slicer.vtkMRMLLayoutNode())
    for selector, text in (
        (ui.reviewLayoutSelector, "Fixed above, moving below"),
        (ui.reviewOverlaySelector, "Checkerboard"),
    ):
        selector.currentIndex = selector.findText(text)
        selector.activated.emit(selector.currentIndex)
    review.viewControls.images = {}  # as in a scene that was read: numbers, but no images yet
    review.viewControls.apply()
    wait(lambda: "review first" in ui.reviewLookLabel.text)
    yield "review squares", panel.parent
    ui.reviewOtherWayButton.click()
    wait(lambda: not review.jobs)
    rows = [ui.reviewLinesTable.item(n, 0).text() for n in range(ui.reviewLinesTable.rowCount)]
    ui.reviewLinesTable.selectRow(next(n for n, text in enumerate(rows) if "Forward" in text))
    yield "review consistency", panel.parent
    points = [scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", n) for n in ("Fixed", "Moving")]
    ui.reviewFixedPointsSelector.setCurrentNode(points[0])
    ui.reviewMovingPointsSelector.setCurrentNode(points[1])
    for number, place in enumerate(((20, 20, 24), (28, 24, 20), (24, 30, 26)), start=1):
        points[0].AddControlPoint(place, f"Landmark {number}")
    points[1].SetNthControlPointPosition(1, 33.0, 25.0, 21.0)
    ui.reviewerEdit.text, ui.reviewNoteEdit.text = "Dr. Example", "good where it matters"
    ui.reviewDecisionSelector.currentIndex = 1
    ui.reviewDecideButton.click()
    for name in ("review", "reviewResult", "reviewPlaces"):
        getattr(ui, f"{name}Section").collapsed = True
    for name in ("reviewLandmarks", "reviewWorklist"):
        getattr(ui, f"{name}Section").collapsed = False
    yield "review decided", panel.parent
    there, Dependencies.missingForReports = (
        Dependencies.missingForReports,
        lambda: [*Dependencies.REPORT],
    )
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "report.html")
        review.report.write(review.subject, review.reviewed, review.decision.decision, path)
        wait(lambda: review.report.job is None)
    ui.reviewSection.collapsed = False
    yield "review pdf", panel.parent
    Dependencies.missingForReports = there
    yield from corrections(panel, review)


def corrections(panel, review) -> Iterator[tuple[str, object]]:
    """The section for corrections: while a partner is dragged, and after that."""
    ui = review.ui
    for name in ("review", "reviewLandmarks", "reviewDecision", "reviewWorklist", "reviewLook"):
        getattr(ui, f"{name}Section").collapsed = True
    review.set({"lock": review.parameters.fixedSegments})
    review.corrections.add((20.0, 24.0, 30.0))
    review.corrections.add((30.0, 20.0, 18.0))
    partners = review.parameters.correctionPartners
    place = np.zeros(3)
    partners.GetNthControlPointPosition(0, place)
    partners.SetNthControlPointPosition(0, *(place + (2.0, -3.0, 1.0)))
    yield "review correcting", panel.parent
    review.set({"lock": None})
    ui.reviewCorrectButton.click()
    wait(lambda: not review.jobs)
    ui.reviewCorrectionsTable.selectRow(0)
    ui.reviewDecisionSection.collapsed = False
    yield "review corrected", panel.parent


def main() -> None:
    """Write the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("screenshots"))
    parser.add_argument(
        "--only", choices=("register", "train", "batch"), help="only the panel of this name"
    )
    options = parser.parse_args()
    folder = options.output
    folder.mkdir(parents=True, exist_ok=True)
    uninstall = standin.install()
    slicer.app.setStyle("Fusion")
    for style, dark, letters, widths in PASSES:
        slicer.app.setPalette(palette(dark))
        set_letters(letters)
        only = {"register": states, "train": trainings, "batch": studies}.get(options.only)
        shown = only() if only else chain(states(), trainings(), studies())
        for state, window in shown:
            for width, pixels in widths.items():
                for _ in range(3):  # what wraps asks for its height after it got its width
                    window.resize(pixels, max(560, window.layout().totalHeightForWidth(pixels)))
                    slicer.app.processEvents()
                window.grab().save(str(folder / f"{state} {style} {width}.png"))
    uninstall()
    print(f"Pictures of the panels: {folder}")


if __name__ == "__main__":
    main()
