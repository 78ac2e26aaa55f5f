"""A scene as in Slicer, where no application runs: for tests, the demo and scripts.

    scene = HeadlessScene()          # needs the package slicer-core
    scene.load(Path("scene.mrb"), Path("cache"))

In Slicer itself there is `slicer.mrmlScene`.
"""

from __future__ import annotations

from pathlib import Path

import slicer
import vtk

_LOGICS = (
    "vtkSlicerSegmentationsModuleLogic",
    "vtkSlicerMarkupsLogic",
    "vtkSlicerVolumesLogic",
    "vtkSlicerTransformLogic",
    "vtkSlicerModelsLogic",
    "vtkSlicerSequencesLogic",
)


class HeadlessScene:
    """A scene with color tables, slice orientations and the logics that register node classes.

    Keep it as long as its nodes: the scene does not own its logics. It becomes `slicer.mrmlScene`.
    """

    def __init__(self) -> None:
        self.scene = slicer.vtkMRMLScene()
        self.application = slicer.vtkMRMLApplicationLogic()
        slicer.mrmlScene = self.scene
        self.application.SetMRMLScene(self.scene)
        self.application.GetColorLogic().SetMRMLScene(self.scene)
        self.application.SetSliceLogics(vtk.vtkCollection())
        self.application.SetViewLogics(vtk.vtkCollection())
        slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(self.scene, True)
        self.logics = {name: self._startLogic(name) for name in _LOGICS}

    def _startLogic(self, name: str):
        logic = getattr(slicer, name)()
        logic.SetMRMLApplicationLogic(self.application)
        logic.SetMRMLScene(self.scene)
        return logic

    def save(self, path: Path) -> None:
        """Write everything into one .mrb file."""
        if not self.scene.WriteToMRB(str(Path(path).resolve())):  # Slicer wants a full path
            raise OSError(f"Slicer could not write {path}")

    def load(self, path: Path, cache: Path) -> None:
        """Read an .mrb file into this scene; `cache` is a folder for what is unpacked."""
        self._cache, self._io = slicer.vtkCacheManager(), slicer.vtkDataIOManager()
        self._cache.SetRemoteCacheDirectory(str(Path(cache).resolve()))
        self._io.SetCacheManager(self._cache)
        self.scene.SetCacheManager(self._cache)
        self.scene.SetDataIOManager(self._io)
        if not self.scene.ReadFromMRB(str(Path(path).resolve()), True):
            raise OSError(f"Slicer could not read {path}")
