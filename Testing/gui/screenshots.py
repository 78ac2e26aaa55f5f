"""Pictures of every state of the panels, light and dark, narrow, wide and with large letters."""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
# The pictures show neither who made them nor what this machine has downloaded.
os.environ["NEURALREG_CACHE"] = "/tmp/weights"

import numpy as np
import slicer
from NeuralRegistrationLib.Scene.Headless import HeadlessScene

from Testing.gui import standin

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
LETTERS_PT = 9.0
PATIENCE_S = 300


def body(shift: float, size: int = 48) -> np.ndarray:
    """A textured ellipsoid, shifted and bent by some voxels."""
    k, j, i = np.mgrid[:size, :size, :size] - (size - 1) / 2
    x = i - shift - shift / 2 * np.sin(j / 7) * np.cos(k / 9)
    inside = (x / 17) ** 2 + (j / 19) ** 2 + (k / 15) ** 2 < 1
    return inside * (100 + 30 * np.sin(x / 2.5) * np.cos(j / 3) + 20 * np.sin(k / 2 + 1))


def palette(dark: bool):
    """Qt's own light colors, or those of Slicer's dark style."""
    import qt

    colors = qt.QPalette()
    if not dark:
        return slicer.app.style().standardPalette()
    roles = {
        "Window": "#2d2d2d",
        "WindowText": "#e6e6e6",
        "Base": "#1e1e1e",
        "AlternateBase": "#262626",
        "Text": "#e6e6e6",
        "Button": "#3a3a3a",
        "ButtonText": "#e6e6e6",
        "ToolTipBase": "#3a3a3a",
        "ToolTipText": "#e6e6e6",
        "Highlight": "#2f65ca",
        "HighlightedText": "#ffffff",
        "Link": "#6ea8ff",
        "PlaceholderText": "#9a9a9a",
    }
    for role, color in roles.items():
        colors.setColor(getattr(qt.QPalette, role), qt.QColor(color))
    for role in ("WindowText", "Text", "ButtonText"):
        colors.setColor(qt.QPalette.Disabled, getattr(qt.QPalette, role), qt.QColor("#7d7d7d"))
    return colors


def set_letters(factor: float) -> None:
    """Letters so many times as large as usual."""
    font = slicer.app.font()
    font.setPointSizeF(factor * LETTERS_PT)
    slicer.app.setFont(font)


def wait(condition: Callable[[], bool]) -> None:
    """Let the panel live until something holds."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError("a state of the panel was not reached")
        slicer.app.processEvents()
        time.sleep(0.005)


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
        ui.batchStartButton.click()
        wait(lambda: batch.study.count("done") == 1)
        yield "batch running", panel.parent
        wait(lambda: batch.study.ended)
        ui.batchRowsTable.selectRow(0)
        yield "batch done", panel.parent
    finally:
        panel.cleanup()
        shutil.rmtree(folder)
    scene.scene.Clear(True)


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


def write_bodies(folder: Path) -> Iterator[str]:
    """Folders for training and validation, with bodies that differ in shape and place."""
    import SimpleITK as sitk

    z, y, x = np.mgrid[:40, :40, :40] - 19.5
    for split, shifts in (("train", range(-4, 6)), ("valid", (-3, 4))):
        images = folder / split / "images"
        images.mkdir(parents=True)
        for number, n in enumerate(shifts):
            outer = np.sqrt(((x - n) / (13 + n / 2)) ** 2 + (y / (14 - n / 2)) ** 2 + (z / 12) ** 2)
            inner = np.sqrt(((x - n - 2) / 5) ** 2 + ((y + 2) / (6 - n / 4)) ** 2 + (z / 5) ** 2)
            values = 100 / (1 + np.exp(12 * (outer - 1))) + 80 / (1 + np.exp(8 * (inner - 1)))
            image = sitk.GetImageFromArray(values.astype(np.float32))
            sitk.WriteImage(image, str(images / f"knee{number:02d}.nii.gz"))
        yield str(folder / split)


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


def segments(scene, volume):
    """Two structures of a body, drawn by its gray values."""
    values = slicer.util.arrayFromVolume(volume)
    labels = np.where(values > 110, 2, 0).astype(np.uint8)
    labels[(values > 60) & (values <= 90)] = 1
    drawn = slicer.util.addVolumeFromArray(labels, None, "drawn", "vtkMRMLLabelMapVolumeNode")
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", f"Organs of {volume.GetName()}")
    node.CreateDefaultDisplayNodes()
    slicer.vtkSlicerSegmentationsModuleLogic.ImportLabelmapToSegmentationNode(drawn, node)
    for number, name in enumerate(("Cortex", "White matter")):
        node.GetSegmentation().GetNthSegment(number).SetName(name)
    scene.RemoveNode(drawn)
    return node


def slicer_qt():
    """`qt`, which is there only after the stand-in was installed."""
    import qt

    return qt


def main() -> None:
    """Write the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("screenshots"))
    parser.add_argument("--only", choices=("train", "batch"), help="only the panel of this name")
    options = parser.parse_args()
    folder = options.output
    folder.mkdir(parents=True, exist_ok=True)
    uninstall = standin.install()
    slicer.app.setStyle("Fusion")
    for style, dark, letters, widths in PASSES:
        slicer.app.setPalette(palette(dark))
        set_letters(letters)
        only = {"train": trainings, "batch": studies}.get(options.only)
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
