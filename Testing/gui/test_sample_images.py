"""Pairs to try, in Slicer's module Sample Data."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import slicer

from Testing.gui.standin.sample_data import sample_data_module


@pytest.fixture
def sources(a_scene, monkeypatch):
    """What Sample Data lists by category, once the application has started."""
    import NeuralRegistration

    monkeypatch.setitem(sys.modules, "SampleData", sample_data_module())
    monkeypatch.setattr(slicer, "modules", SimpleNamespace(sampledata=object()))
    NeuralRegistration.introduce()
    NeuralRegistration.introduce()  # as after "Reload"
    return slicer.modules.sampleDataSources


def test_pairs_to_try_are_listed_once_with_names_and_a_picture(sources):
    pairs = sources["Registration"]
    assert [pair.sampleName for pair in pairs] == ["HeadTwoScans", "HeadCTAndMR"]
    for pair in pairs:
        assert len(pair.nodeNames) == 2
        assert Path(pair.thumbnailFileName).is_file()


def test_each_file_is_fetched_from_slicer_s_own_store_by_its_hash(sources):
    """The address has the hash in it, by which Slicer checks the file."""
    store = "https://github.com/Slicer/SlicerTestingData/releases/download/SHA256/"
    for pair in sources["Registration"]:
        for address, checksum, name in zip(pair.uris, pair.checksums, pair.fileNames, strict=True):
            digest = checksum.removeprefix("SHA256:")
            assert re.fullmatch("[0-9a-f]{64}", digest)
            assert address == store + digest
            assert name.endswith(".nrrd")


def test_an_application_without_sample_data_starts_as_well(a_scene, monkeypatch):
    import NeuralRegistration

    monkeypatch.setattr(slicer, "modules", SimpleNamespace())
    NeuralRegistration.introduce()
    assert not hasattr(slicer.modules, "sampleDataSources")
