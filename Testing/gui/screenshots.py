"""Pictures of every state of the panels, light and dark, narrow and wide: `make screenshots`."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
# The pictures show neither who made them nor what this machine has downloaded.
os.environ["NEURALREG_CACHE"] = "/tmp/weights"
ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
import slicer  # noqa: E402
from NeuralRegistrationLib.Headless import HeadlessScene  # noqa: E402

from Testing.gui import standin  # noqa: E402

WIDTHS = {"narrow": 350, "wide": 520}
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
    panel = NeuralRegistration.NeuralRegistrationWidget()
    ui = panel.registerPanel.ui
    yield "fresh", panel.parent
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
    panel.registerPanel.status.failed(
        "The computing process ended.",
        "Close other programs, or crop the images.",
        "Killed: the computer ran out of memory",
    )
    ui.logButton.checked = True
    yield "error", panel.parent
    panel.tabs.currentIndex = 2
    yield "models", panel.parent
    panel.tabs.currentIndex = 0
    there, Dependencies.missing = Dependencies.missing, lambda: list(Dependencies.PACKAGES[:3])
    panel.setupCard.update()
    yield "set-up", panel.parent
    Dependencies.missing = there
    panel.cleanup()


def reviews(panel, scene) -> Iterator[tuple[str, object]]:
    """The Review panel: as it opens, with a review, and with landmarks and a decision."""
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
    wait(lambda: review.result.report is not None)
    yield "review first numbers", panel.parent
    wait(lambda: not review._jobs)
    ui.reviewLinesTable.selectRow(0)
    yield "review", panel.parent
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
    parser.add_argument("--output", type=Path, default=ROOT / "screenshots")
    folder = parser.parse_args().output
    folder.mkdir(parents=True, exist_ok=True)
    uninstall = standin.install()
    slicer.app.setStyle("Fusion")
    for style in ("light", "dark"):
        slicer.app.setPalette(palette(style == "dark"))
        for state, window in states():
            for width, pixels in WIDTHS.items():
                for _ in range(3):  # what wraps asks for its height after it got its width
                    window.resize(pixels, max(560, window.layout().totalHeightForWidth(pixels)))
                    slicer.app.processEvents()
                window.grab().save(str(folder / f"{state} {style} {width}.png"))
    uninstall()
    print(f"Pictures of the panels: {folder}")


if __name__ == "__main__":
    main()
