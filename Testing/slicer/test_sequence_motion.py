"""A sequence whose frames moved by a known amount stands still while it is browsed."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
import slicer
import vtk
from neuralreg.errors import InvalidOption
from NeuralRegistrationLib import registerSequence

SHIFTS = (0.0, 4.0, -3.0)  # mm to the left, of each frame
SPACING = 4.0
TIMES = ("0", "0.35", "0.7")


def a_frame(shift: float):
    """A textured ellipsoid in 20 voxels of 4 mm."""
    k, j, i = (np.mgrid[:20, :20, :20] - 9.5) * SPACING
    x = i - shift
    inside = (x / 24) ** 2 + (j / 30) ** 2 + (k / 27) ** 2
    texture = 100 + 30 * np.sin(x / 7) * np.cos(j / 9) + 20 * np.sin(k / 6 + 1)
    return (texture / (1 + np.exp(8 * (inside - 1)))).astype(np.float32)


@pytest.fixture
def sequence(a_headless_scene):
    """Three frames in a browser that shows the second one, as Slicer loads a series."""
    scene = a_headless_scene.scene
    node = scene.AddNewNodeByClass("vtkMRMLSequenceNode", "Cine")
    node.SetIndexName("time")
    node.SetIndexUnit("s")
    for shift, time in zip(SHIFTS, TIMES, strict=True):
        volume = slicer.vtkMRMLScalarVolumeNode()
        volume.SetSpacing(SPACING, SPACING, SPACING)
        slicer.util.updateVolumeFromArray(volume, a_frame(shift))
        node.SetDataNodeAtValue(volume, time)
    browser = scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "Browser")
    browser.SetAndObserveMasterSequenceNodeID(node.GetID())
    browse(a_headless_scene, browser, 1)
    return node


def browse(headless, browser, number: int) -> None:
    """What Slicer does when the slider of a browser is moved."""
    browser.SetSelectedItemNumber(number)
    headless.logics["vtkSlicerSequencesLogic"].UpdateProxyNodesFromSequences(browser)


def displayed_values(volume):
    """A volume as the world sees it: resampled by SimpleITK through VTK's matrix of the node."""
    matrix = vtk.vtkMatrix4x4()
    slicer.vtkMRMLTransformNode.GetMatrixTransformBetweenNodes(
        None, volume.GetParentTransformNode(), matrix
    )
    flip = np.diag([-1.0, -1.0, 1.0, 1.0])
    toLocal = flip @ slicer.util.arrayFromVTKMatrix(matrix) @ flip
    image = sitk.GetImageFromArray(slicer.util.arrayFromVolume(volume))
    image.SetSpacing((SPACING,) * 3)
    image.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))
    affine = sitk.AffineTransform(3)
    affine.SetMatrix(toLocal[:3, :3].ravel().tolist())
    affine.SetTranslation(toLocal[:3, 3].tolist())
    return sitk.GetArrayFromImage(sitk.Resample(image, affine))[3:-3, 3:-3, 4:-4]


def test_playing_the_sequence_shows_it_standing_still(sequence, a_headless_scene):
    browser = slicer.util.getNode("Browser")
    volume = browser.GetProxyNode(sequence)
    organs = a_headless_scene.scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "organs")
    names = node_names(a_headless_scene.scene)
    done = registerSequence(sequence, to="frame", along=[organs])
    motion = done.transformSequenceNode
    values = [motion.GetNthIndexValue(n) for n in range(motion.GetNumberOfDataNodes())]
    assert values == list(TIMES)
    assert (motion.GetIndexName(), motion.GetIndexUnit()) == ("time", "s")
    assert browser.IsSynchronizedSequenceNode(motion)
    assert volume.GetParentTransformNode() is done.transformNode
    assert organs.GetParentTransformNode() is done.transformNode
    still = slicer.util.arrayFromVolume(sequence.GetNthDataNode(1))[3:-3, 3:-3, 4:-4]
    for number, shift in enumerate(SHIFTS):
        browse(a_headless_scene, browser, number)
        assert volume.GetParentTransformNode() is done.transformNode
        matrix = slicer.util.arrayFromTransformMatrix(done.transformNode)
        assert matrix[0, 3] == pytest.approx(SHIFTS[1] - shift, abs=0.25)
        moved = np.abs(slicer.util.arrayFromVolume(volume)[3:-3, 3:-3, 4:-4] - still).mean()
        assert np.abs(displayed_values(volume) - still).mean() < max(0.25 * moved, 1.0)
    table = done.tableNode.GetTable()
    left = [table.GetValueByName(n, "Left (mm)").ToDouble() for n in range(3)]
    assert left == pytest.approx([4, 0, 7], abs=0.3)  # against the frame that was shown
    assert done.revert() == ()
    assert node_names(a_headless_scene.scene) == names
    assert volume.GetParentTransformNode() is organs.GetParentTransformNode() is None
    assert browser.GetNumberOfSynchronizedSequenceNodes(False) == 0


def node_names(scene):
    return sorted(scene.GetNthNode(n).GetName() or "" for n in range(scene.GetNumberOfNodes()))


def test_a_browser_with_its_transforms_comes_back_with_the_scene(
    sequence, a_headless_scene, tmp_path
):
    sequence.RemoveDataNodeAtValue(TIMES[0])
    browse(a_headless_scene, slicer.util.getNode("Browser"), 0)
    registerSequence(sequence, to="frame")
    a_headless_scene.save(tmp_path / "s.mrb")
    a_headless_scene.scene.Clear(True)
    a_headless_scene.load(tmp_path / "s.mrb", tmp_path / "cache")
    browser = slicer.util.getNode("Browser")
    volume = browser.GetProxyNode(browser.GetMasterSequenceNode())
    browse(a_headless_scene, browser, 1)
    (motion,) = slicer.util.getNodesByClass("vtkMRMLSequenceNode")[1:]
    transform = browser.GetProxyNode(motion)
    assert volume.GetParentTransformNode() is transform
    matrix = slicer.util.arrayFromTransformMatrix(transform)
    assert matrix[0, 3] == pytest.approx(7, abs=0.25)


def test_a_parent_of_the_volume_stays_above_its_effect(sequence, a_headless_scene):
    browser = slicer.util.getNode("Browser")
    sequence.RemoveDataNodeAtValue(TIMES[0])
    browse(a_headless_scene, browser, 0)
    volume = browser.GetProxyNode(sequence)
    patient = a_headless_scene.scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "patient")
    turn = np.diag([1.0, 1.0, 1.0, 1.0])
    turn[:2, :2] = [[0, -1], [1, 0]]
    patient.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(turn))
    volume.SetAndObserveTransformNodeID(patient.GetID())
    done = registerSequence(sequence, to="frame")
    browse(a_headless_scene, browser, 1)
    matrix = slicer.util.arrayFromTransformMatrix(done.transformNode)
    assert matrix[:3, 3] == pytest.approx([0, 7, 0], abs=0.3)  # turned as the patient is
    done.revert()
    assert volume.GetParentTransformNode() is patient


def test_frames_may_bend_and_one_that_shows_nothing_is_named(sequence, a_headless_scene):
    from neuralreg.registration.options import RegistrationOptions

    slicer.util.arrayFromVolume(sequence.GetNthDataNode(2))[:] = 0
    options = RegistrationOptions(model="convex", linear="none", refinement=None)
    done = registerSequence(sequence, to="frame", deformation="deformable", options=options)
    kinds = [
        done.transformSequenceNode.GetNthDataNode(n).GetTransformFromParent().GetClassName()
        for n in range(3)
    ]
    assert kinds == ["vtkOrientedGridTransform", "vtkTransform", "vtkTransform"]
    assert list(done.failures) == [2]
    assert np.isnan(done.tableNode.GetTable().GetValueByName(2, "Left (mm)").ToDouble())


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"to": "chain", "deformation": "deformable"}, "a chain is rigid or affine"),
        ({"to": "middle"}, "target of a sequence"),
        ({"frame": 9, "to": "frame"}, "no such frame"),
    ],
)
def test_what_cannot_be_registered_is_said(sequence, a_headless_scene, how, words):
    before = node_names(a_headless_scene.scene)
    with pytest.raises(InvalidOption, match=words):
        registerSequence(sequence, **how)
    assert node_names(a_headless_scene.scene) == before


def test_a_sequence_without_a_browser_is_refused(a_scene):
    node = a_scene.AddNewNodeByClass("vtkMRMLSequenceNode", "alone")
    with pytest.raises(InvalidOption, match="a sequence browser shows"):
        registerSequence(node)
