"""One picture of the demo for the README and the Extensions Manager.

Without the Harvard-Oxford regions: their license does not let everybody publish them.
"""

from __future__ import annotations

from pathlib import Path

import vtk

ROWS = ("before", "after", "grid")


def write_screenshot(path: Path, pictures: dict[str, list[bytes]]) -> None:
    """A JPEG of at most 300 kB: before, after and the bent grid in three planes."""
    rows = [_joined([_decoded(png) for png in pictures[row]], axis=0) for row in ROWS]
    writer = vtk.vtkJPEGWriter()
    writer.SetInputData(_joined(rows[::-1], axis=1))  # VTK counts rows from below
    writer.SetFileName(str(path))
    for quality in range(92, 50, -6):
        writer.SetQuality(quality)
        writer.Write()
        if path.stat().st_size <= 300_000:
            return


def _decoded(png: bytes) -> vtk.vtkImageData:
    reader = vtk.vtkPNGReader()
    reader.SetMemoryBuffer(png)
    reader.SetMemoryBufferLength(len(png))
    reader.Update()
    colors = vtk.vtkImageExtractComponents()
    colors.SetInputData(reader.GetOutput())
    colors.SetComponents(0, 1, 2)
    colors.Update()
    return colors.GetOutput()


def _joined(images: list[vtk.vtkImageData], axis: int) -> vtk.vtkImageData:
    join = vtk.vtkImageAppend()
    join.SetAppendAxis(axis)
    for image in images:
        join.AddInputData(image)
    join.Update()
    return join.GetOutput()
