"""The module `SampleData`: the list of images to try, without its downloads."""

from __future__ import annotations

import os
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import slicer


class SampleDataSource:
    """What is fetched together; each list has one entry for each file."""

    def __init__(self, sampleName, uris, fileNames, nodeNames, checksums, thumbnailFileName):
        lists = uris, fileNames, nodeNames, checksums
        if len(set(map(len, lists))) != 1:
            raise ValueError("All fields of sample data source must have the same length")
        self.sampleName, self.thumbnailFileName = sampleName, thumbnailFileName
        self.uris, self.fileNames, self.nodeNames, self.checksums = lists

    def __eq__(self, other):
        return vars(self) == vars(other)


class SampleDataLogic:
    """Registration, as modules do it when the application has started."""

    @staticmethod
    def registerCustomSampleDataCategory(category, title):
        vars(slicer.modules).setdefault("sampleDataSourceCategories", {})[category] = title

    @staticmethod
    def registerCustomSampleDataSource(category="Custom", **facts):
        sources = vars(slicer.modules).setdefault("sampleDataSources", {})
        source = SampleDataSource(**facts)
        if source not in sources.setdefault(category, []):
            sources[category].append(source)


def sample_data_module() -> ModuleType:
    """The module; Slicer's own one where SLICER_PYTHON names a folder of its sources."""
    if own := os.environ.get("SLICER_PYTHON"):
        folder = Path(own).parents[2] / "Modules" / "Scripted" / "SampleData"
        spec = spec_from_file_location("SampleData", folder / "SampleData.py")
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
    module = ModuleType("SampleData")
    module.SampleDataSource, module.SampleDataLogic = SampleDataSource, SampleDataLogic
    return module
