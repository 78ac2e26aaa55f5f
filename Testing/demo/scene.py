"""The demo's scene: a person's head as it lies in a scanner, and an atlas with labels."""

from __future__ import annotations

import dataclasses
from functools import cached_property
from pathlib import Path

import neuralreg
import numpy as np
import SimpleITK as sitk
import slicer
from neuralreg.geometry.linear import LinearTransform
from neuralreg.io.itk import image_to_itk
from NeuralRegistrationLib.Register import Logic
from NeuralRegistrationLib.Scene import Geometry, Scripting
from NeuralRegistrationLib.Scene.Headless import HeadlessScene

from Testing.demo.atlas_labels import HARVARD_OXFORD

# The person's file lies in the atlas's pose already. A scanner would not: the head is nodded,
# turned and shifted by a transform above the volume, as Slicer users do, so that both matter:
# finding the pose, and parent transforms.
_NOD_DEG, _TURN_DEG, _TILT_DEG = 11.0, 4.0, 6.0
_SHIFT_MM = (9.0, -14.0, 22.0)


class Demo:
    """Two heads in a scene, registered on demand."""

    def __init__(self, atlas: Path, mask: Path, labels: Path, person: Path) -> None:
        self.world = HeadlessScene()
        self.fixed = self._volume(person, "Person")
        self.moving = self._volume(atlas, "Atlas")
        self._mask = neuralreg.read_image(mask)
        self.labels = Scripting.segmentationNodeFromLabels(
            neuralreg.read_image(labels), "Cortical regions", HARVARD_OXFORD, self.moving
        )
        self._lay_in_scanner()

    def _volume(self, path: Path, name: str):
        node = Scripting.volumeNodeFromImage(neuralreg.read_image(path), name)
        gray = node.GetDisplayNode()
        gray.SetAutoWindowLevel(False)
        values = Scripting.imageFromVolumeNode(node).data.numpy()
        bright = float(np.percentile(values[values > values.mean()], 90))
        gray.SetWindowLevelMinMax(0.05 * bright, 1.25 * bright)
        return node

    def _lay_in_scanner(self) -> None:
        pose = sitk.Euler3DTransform((0.0, 0.0, 0.0), *np.radians((_NOD_DEG, _TILT_DEG, _TURN_DEG)))
        matrix = np.eye(4)
        matrix[:3, :3] = np.reshape(pose.GetMatrix(), (3, 3))
        matrix[:3, 3] = _SHIFT_MM
        self.pose = self.world.scene.AddNewNodeByClass("vtkMRMLTransformNode", "Scanner position")
        self.pose.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
        self.fixed.SetAndObserveTransformNodeID(self.pose.GetID())

    def register(self, progress) -> None:
        """The job itself: three lines in Slicer's console."""
        self.registered = Logic.register(
            self.fixed, self.moving, segmentations=[self.labels], progress=progress
        )

    @cached_property
    def _grid(self):
        return Scripting.imageFromVolumeNode(self.fixed).grid

    def _atlas_by(self, field, image=None, *, nearest=False) -> sitk.Image:
        moving = image or Scripting.imageFromVolumeNode(self.moving)
        how = "nearest" if nearest else "linear"
        warped = neuralreg.warp(moving, field, self._grid, interpolation=how)
        return sitk.Cast(image_to_itk(warped), sitk.sitkUInt8 if nearest else sitk.sitkFloat32)

    def numbers(self) -> dict:
        """Agreement in the person's brain before, after the linear stage, and after; and more."""
        from Testing.demo.agreement import agreement

        result = self.registered.result
        steps = {
            "before": LinearTransform.identity(3),
            "linear": result.linear,
        }
        fields = {
            name: neuralreg.DisplacementField.from_linear(step, self._grid.pad(1))
            for name, step in steps.items()
        }
        fields["after"] = result.field
        person = sitk.Cast(
            image_to_itk(Scripting.imageFromVolumeNode(self.fixed)), sitk.sitkFloat32
        )
        brain = self._atlas_by(result.field, self._mask, nearest=True)
        found = {n: agreement(person, self._atlas_by(f), brain) for n, f in fields.items()}
        return {
            **found,
            "outcome": dataclasses.asdict(result.outcome),
            "seconds": dict(result.timings),
            "model": result.model,
        }

    def write(self, out: Path) -> None:
        """Transforms, warped images, and the scene."""
        result = self.registered.result
        neuralreg.write_transform(result.field, out / "fixed_to_moving.nii.gz")
        neuralreg.write_transform(result.inverse_field, out / "moving_to_fixed.nii.gz")
        warped = Scripting.imageFromVolumeNode(self.registered.warpedVolumeNode)
        neuralreg.write_image(warped, out / "warped.nii.gz")
        (segmentation,) = self.registered.warpedSegmentationNodes
        labels, _ = Scripting.labelsFromSegmentationNode(segmentation, self._grid)
        neuralreg.write_image(labels, out / "warped_seg.nii.gz")
        self.world.save(out / "scene.mrb")

    def pictures(self) -> dict[str, list[bytes]]:
        """One picture per plane for each caption."""
        from Testing.demo.pictures import DemoPictures, hide

        done = self.registered
        (regions,) = done.warpedSegmentationNodes
        hide([self.labels, regions])
        draw = DemoPictures(self.world, self.fixed, self._looking_point())
        taken = {
            "person": draw.planes(self.fixed),
            "warped": draw.planes(done.warpedVolumeNode),
            "before": draw.blend(self.moving),
            "after": draw.blend(done.warpedVolumeNode),
            "grid": draw.grid(self._bending(), self.fixed),
            "regions": draw.outlined(regions, self.fixed),
        }
        draw.view.close()
        return taken

    def _bending(self):
        """A transform node of what the registration does beyond finding the pose."""
        result = self.registered.result
        bending = neuralreg.compose(result.field, result.linear.inverse())
        node = self.world.scene.AddNewNodeByClass("vtkMRMLTransformNode", "Bending")
        node.SetAndObserveTransformFromParent(Scripting.gridTransformFromField(bending))
        return node

    def _looking_point(self):
        """RAS of a point by the ventricles, where all planes show much."""
        in_atlas = np.array([[4.0, 18.0, 10.0]])  # LPS, off the midline
        return Geometry.flip(self.registered.result.inverse_field(in_atlas))[0]
