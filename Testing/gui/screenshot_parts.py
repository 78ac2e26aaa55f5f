"""What the pictures of the panels are made of: bodies, colors, letters, and patience."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import slicer

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
