"""The page on Slicer's Python console, run as it stands."""

from __future__ import annotations

import SimpleITK as sitk
import slicer
import torch
from neuralreg.geometry.image import Image
from NeuralRegistrationLib.Scene import Scripting

from Testing.support.pages import run_page
from Testing.support.paths import DOCS
from Testing.support.phantom import CUBE, seen


def test_every_line_of_the_page_on_the_console_runs(a_scene, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    grid = CUBE.resize((24, 24, 24))
    for number, shift in ((1, [0.0, 0.0, 0.0]), (2, [5.0, -4.0, 3.0])):
        image = seen(grid, lambda p, shift=shift: p + shift)
        Scripting.volumeNodeFromImage(image, f"HeadScan{number}")
    a_scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Empty")
    labels = torch.zeros(1, *grid.shape, dtype=torch.uint8)
    labels[0, 8:14, 8:14, 8:14] = 1
    Scripting.segmentationNodeFromLabels(Image(labels, grid), "Tumor", {1: "Tumor"})
    landmarks = a_scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "Landmarks")
    landmarks.AddControlPoint(0.0, 0.0, 0.0)
    for name, at in (("Places", (0.0, 0.0, 0.0)), ("Partners", (6.0, 1.0, 0.0))):
        points = a_scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", name)
        points.AddControlPoint(*at, "stem")
    names = run_page(DOCS / "tutorial-console.md", getNode=slicer.util.getNode)
    assert sitk.ReadImage("for_itk.nii.gz").GetNumberOfComponentsPerPixel() == 3
    assert names["report"].lines
    assert names["corrected"].after_mm[0] < 0.1 < names["corrected"].before_mm[0]
    assert landmarks.GetParentTransformNode() is None
    assert "Empty failed" in capsys.readouterr().out
