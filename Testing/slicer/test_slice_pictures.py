"""Off-screen slice views: real pictures, and no trace of them in the scene."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
import vtk
from NeuralRegistrationLib.Scene import Scripting
from vtk.util.numpy_support import vtk_to_numpy


@pytest.fixture
def some_pictures(a_headless_scene):
    try:
        ctypes.CDLL("libEGL.so.1")
    except OSError:
        pytest.skip("off-screen views need libEGL: apt-get install libegl1 libgl1-mesa-dri")
    from NeuralRegistrationLib.Scene.SlicePictures import SlicePictures

    return SlicePictures(a_headless_scene.scene, a_headless_scene.application, (96, 96))


def pixels(png, path):
    path.write_bytes(png)
    reader = vtk.vtkPNGReader()
    reader.SetFileName(str(path))
    reader.Update()
    values = vtk_to_numpy(reader.GetOutput().GetPointData().GetScalars())
    return values.reshape(96, 96, -1)[..., :3].astype(float)


def test_a_picture_shows_the_volume(some_pictures, a_fixed_node, tmp_path):
    center = np.array(Scripting.imageFromVolumeNode(a_fixed_node).grid.center) * [-1, -1, 1]
    some_pictures.show(a_fixed_node)
    pictures = []
    for plane in ("Axial", "Coronal", "Sagittal"):
        some_pictures.look(plane, a_fixed_node, center)
        pictures.append(pixels(some_pictures.png(), tmp_path / "p.png"))
    assert all(picture[30:66, 30:66].std() > 10 for picture in pictures)
    assert np.abs(pictures[0] - pictures[1]).mean() > 5
    assert np.abs(pictures[1] - pictures[2]).mean() > 5


def test_an_outline_is_drawn_over_the_volume(
    some_pictures, a_volume_node, a_segmentation_node, tmp_path
):
    center = np.array(Scripting.imageFromVolumeNode(a_volume_node).grid.center) * [-1, -1, 1]
    some_pictures.show(a_volume_node)
    some_pictures.look("Axial", a_volume_node, center)
    a_segmentation_node.GetDisplayNode().SetVisibility(False)
    plain = pixels(some_pictures.png(), tmp_path / "p.png")
    a_segmentation_node.GetDisplayNode().SetVisibility(True)
    drawn = pixels(some_pictures.png(), tmp_path / "p.png")
    colored = lambda picture: (np.ptp(picture, axis=-1) > 20).sum()  # noqa: E731
    assert colored(plain) == 0
    assert colored(drawn) > 20


def test_closing_leaves_no_node_behind(a_headless_scene, some_pictures, a_fixed_node):
    names = lambda: {  # noqa: E731
        a_headless_scene.scene.GetNthNode(i).GetClassName()
        for i in range(a_headless_scene.scene.GetNumberOfNodes())
    }
    some_pictures.show(a_fixed_node)
    some_pictures.png()
    assert "vtkMRMLSliceNode" in names()
    some_pictures.close()
    assert not {"vtkMRMLSliceNode", "vtkMRMLSliceCompositeNode"} & names()


def test_the_crosshair_of_the_application_is_off_while_a_picture_is_drawn(
    a_headless_scene, some_pictures, a_fixed_node
):
    scene, seen = a_headless_scene.scene, []
    crosshair = scene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
    crosshair = crosshair or scene.AddNewNodeByClass("vtkMRMLCrosshairNode")
    crosshair.SetCrosshairMode(crosshair.ShowBasic)
    some_pictures.show(a_fixed_node)
    some_pictures._window.AddObserver(
        "StartEvent", lambda *_: seen.append(crosshair.GetCrosshairMode())
    )
    some_pictures.png()
    assert seen == [crosshair.NoCrosshair]
    assert crosshair.GetCrosshairMode() == crosshair.ShowBasic
    some_pictures.close()
