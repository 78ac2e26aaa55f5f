"""What Slicer's DICOM module gives its plugins, over folders of files.

After Modules/Scripted/DICOMLib/DICOMPlugin.py (`DICOMLoadable`, `DICOMPlugin`),
Widgets/qSlicerDICOMExportable.h and ctkDICOMDatabase.h. Where SLICER_PYTHON names a folder of
Slicer's sources, its own DICOMPlugin.py is taken.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pydicom
import slicer


class Loadable:
    """`DICOMLoadable`: what a user may load."""

    def __init__(self) -> None:
        self.files: list[str] = []
        self.name, self.tooltip, self.warning = "Unknown", "", ""
        self.selected, self.confidence = False, 0.5


class Plugin:
    """`DICOMPlugin`: the base of all plugins."""

    def __init__(self) -> None:
        self.loadType = "Generic DICOM"
        self.tags = {"seriesDescription": "0008,103E", "seriesNumber": "0020,0011"}

    def addSeriesInSubjectHierarchy(self, loadable, dataNode) -> None:
        tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
        item = tree.CreateItem(tree.GetSceneItemID(), dataNode)
        uid = slicer.dicomDatabase.fileValue(loadable.files[0], "0020,000E")
        tree.SetItemUID(item, slicer.vtkMRMLSubjectHierarchyConstants.GetDICOMUIDName(), uid)


class Exportable:
    """`qSlicerDICOMExportable`: what a user may export."""

    def __init__(self) -> None:
        self.name = self.tooltip = self.pluginClass = self.directory = ""
        self.subjectHierarchyItemID, self.confidence = 0, 0.0
        self._tags: dict[str, str] = {}

    def setTag(self, name: str, value: str) -> None:
        self._tags[name] = value

    def tag(self, name: str) -> str:
        return self._tags.get(name, "")


class Database:
    """`ctkDICOMDatabase`, as far as plugins ask."""

    def __init__(self, folders: list[Path]) -> None:
        self._files = {
            str(path): pydicom.dcmread(path, stop_before_pixels=True)
            for folder in folders
            for path in sorted(folder.glob("*.dcm"))
        }

    def fileValue(self, file: str, tag: str) -> str:
        group, element = (int(part, 16) for part in tag.split(","))
        found = self._files[file].get((group, element))
        return "" if found is None else str(found.value)

    def fileForInstance(self, uid: str) -> str:
        return next((f for f, content in self._files.items() if content.SOPInstanceUID == uid), "")

    def filesForSeries(self, uid: str, count: int = -1) -> list[str]:
        all_files = [f for f, content in self._files.items() if content.SeriesInstanceUID == uid]
        return all_files if count < 0 else all_files[:count]


def library() -> ModuleType:
    """The module DICOMLib."""
    if own := os.environ.get("SLICER_PYTHON"):
        path = Path(own).parents[2] / "Modules/Scripted/DICOMLib/DICOMPlugin.py"
        spec = importlib.util.spec_from_file_location("DICOMLib", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
    module = ModuleType("DICOMLib")
    module.DICOMLoadable, module.DICOMPlugin = Loadable, Plugin
    return module


def install(monkeypatch, folders: list[Path]) -> None:
    """Put all of it where plugins look for it, for one test."""
    monkeypatch.setitem(sys.modules, "DICOMLib", library())
    monkeypatch.setattr(slicer, "dicomDatabase", Database(folders), raising=False)
    monkeypatch.setattr(slicer, "qSlicerDICOMExportable", Exportable, raising=False)
    settings = SimpleNamespace(
        displayPatientIDInSubjectHierarchyItemName=True,
        displayPatientBirthDateInSubjectHierarchyItemName=True,
        displayStudyIDInSubjectHierarchyItemName=True,
        displayStudyDateInSubjectHierarchyItemName=True,
    )
    handler = SimpleNamespace(instance=lambda: settings)
    monkeypatch.setattr(slicer, "qSlicerSubjectHierarchyPluginHandler", handler, raising=False)
    monkeypatch.delitem(sys.modules, "DICOMNeuralRegistrationPlugin", raising=False)
