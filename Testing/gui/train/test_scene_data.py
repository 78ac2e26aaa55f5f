"""Volumes of the scene as data: written where they lie, labels by the names of segments."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
import slicer
import vtk
from neuralreg.errors import InvalidOption

from Testing.support.review_scene import a_segmentation


@pytest.fixture
def scene_data(the_application):
    from NeuralRegistrationLib.Scene import SceneData

    return SceneData


def shifted(volume, mm: float):
    """A transform above a volume, as a user puts one there."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "shift")
    matrix = vtk.vtkMatrix4x4()
    matrix.SetElement(0, 3, mm)
    node.SetMatrixTransformToParent(matrix)
    volume.SetAndObserveTransformNodeID(node.GetID())
    return node


def test_the_volumes_are_written_and_checked_and_segments_of_one_name_are_one_label(
    panel, a_volume, idle, tmp_path
):
    volumes = [a_volume(f"knee {n}") for n in range(4)]
    drawn = [
        a_segmentation(volumes[0], "one", ("Liver", "Spleen")),
        a_segmentation(volumes[1], "two", ("Spleen", "Liver")),
        a_segmentation(volumes[2], "three", ("Liver", "Spleen")),
        a_segmentation(volumes[3], "four", ("Liver", "Spleen")),
    ]
    shift = shifted(volumes[2], 40.0)
    drawn[2].SetAndObserveTransformNodeID(shift.GetID())
    for volume, node in zip(volumes, drawn, strict=True):
        node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    ui = panel.ui
    ui.trainSourceSelector.currentIndex = 1
    assert ui.trainFoldersBox.isHidden()
    panel.set({"volumes": volumes, "segmentations": drawn})
    assert len(ui.trainVolumesSelector.checkedNodes()) == 4
    ui.validCountSpinBox.value = 2
    ui.runFolderEdit.text = str(tmp_path / "run")
    for axis in "XYZ":
        getattr(ui, f"trainSize{axis}SpinBox").value = 16
    ui.checkDataButton.click()
    idle(panel)
    assert ui.trainStatusLabel.text == "The data can be trained on.", ui.trainDataLabel.text
    assert "Training: 2 images, 1 pairs" in ui.trainDataLabel.text
    assert "Validation: 2 images, 1 pairs" in ui.trainDataLabel.text
    data = tmp_path / "run" / "data"
    image = sitk.ReadImage(str(data / "train" / "images" / "knee_0.nii.gz"))
    assert np.array_equal(sitk.GetArrayFromImage(image), slicer.util.arrayFromVolume(volumes[0]))
    moved = sitk.ReadImage(str(data / "valid" / "images" / "knee_2.nii.gz"))
    assert np.subtract(moved.GetOrigin(), image.GetOrigin()) == pytest.approx([-40, 0, 0])
    spleen = {}
    for name, split in (("knee_0", "train"), ("knee_1", "train"), ("knee_2", "valid")):
        labels = sitk.GetArrayFromImage(
            sitk.ReadImage(str(data / split / "labels" / f"{name}.nii.gz"))
        )
        spleen[name] = labels == 2
        assert set(np.unique(labels)) == {0, 1, 2}
    assert spleen["knee_0"][6:9, 3:8, 3:8].all()
    assert spleen["knee_0"].sum() == 75
    assert spleen["knee_1"][2:5, 3:8, 3:8].all()
    assert np.array_equal(spleen["knee_2"], spleen["knee_0"])


def test_volumes_that_are_deleted_are_no_longer_asked_for(panel, a_volume, a_scene):
    volumes = [a_volume(f"v{n}") for n in range(3)]
    panel.ui.trainSourceSelector.currentIndex = 1
    panel.set({"volumes": volumes})
    for volume in volumes[1:]:
        a_scene.RemoveNode(volume)
    panel.ui.runFolderEdit.text = "/nowhere"
    panel.ui.startTrainingButton.click()
    assert "needs two volumes at least" in panel.ui.trainStatusLabel.text


def test_stop_ends_the_writing_and_nothing_is_trained(panel, a_volume, idle, tmp_path):
    panel.ui.trainSourceSelector.currentIndex = 1
    panel.set({"volumes": [a_volume(f"v{n}") for n in range(2)]})
    panel.ui.runFolderEdit.text = str(tmp_path / "run")
    panel.ui.startTrainingButton.click()
    assert panel.training.busy
    panel.ui.stopTrainingButton.click()
    idle(panel)
    assert panel.ui.trainStatusLabel.text == "Stopped. Nothing was trained."
    assert not (tmp_path / "run").exists()


def test_labels_belong_to_a_volume_by_their_source_or_by_their_name(scene_data, a_volume):
    volumes = [a_volume("CT 1"), a_volume("CT 12")]
    ofFirst = a_segmentation(volumes[0], "anything")
    ofFirst.SetReferenceImageGeometryParameterFromVolumeNode(volumes[0])
    byName = slicer.util.addVolumeFromArray(
        np.ones((3, 3, 3), np.uint8), None, "CT 12 labels", "vtkMRMLLabelMapVolumeNode"
    )
    found = scene_data.cases(volumes, [ofFirst, byName])
    assert [(case.volume, case.labels) for case in found] == [
        (volumes[0], ofFirst),
        (volumes[1], byName),
    ]
    assert [case.name for case in found] == ["CT_1", "CT_12"]


def test_validation_needs_two_volumes_and_leaves_two(scene_data, a_volume):
    volumes = [a_volume(f"v{n}") for n in range(4)]
    for count in (1, 3, 4):
        with pytest.raises(InvalidOption, match="a validation takes 2 to 2"):
            scene_data.cases(volumes, [], count)
    assert len(scene_data.cases(volumes, [], 2)) == 4


@pytest.mark.parametrize(
    ("count", "labels", "said"),
    [(1, [], "two volumes"), (2, ["stray"], "belong to one"), (2, ["v0 seg"], "all volumes")],
)
def test_what_does_not_go_together_is_refused_in_words(scene_data, a_volume, count, labels, said):
    volumes = [a_volume(f"v{n}") for n in range(count)]
    made = [
        slicer.util.addVolumeFromArray(
            np.ones((3, 3, 3), np.uint8), None, name, "vtkMRMLLabelMapVolumeNode"
        )
        for name in labels
    ]
    with pytest.raises(InvalidOption, match=said):
        scene_data.cases(volumes, made)
