"""Small data sets on disk, and configurations for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from neuralreg.training.data.toy_datasets import make_shapes, make_volumes


@pytest.fixture(scope="session")
def shapes(tmp_path_factory) -> Path:
    """Pictures with label maps: train, valid and test."""
    folder = tmp_path_factory.mktemp("shapes")
    make_shapes(folder, count=20)
    return folder


@pytest.fixture(scope="session")
def volumes(tmp_path_factory) -> Path:
    """Volumes in groups of three, with label maps."""
    folder = tmp_path_factory.mktemp("volumes")
    make_volumes(folder, count=30, size=16)
    return folder


@pytest.fixture
def write_yaml(tmp_path):
    """Writes plain values to a file."""

    def write(values: Any, name: str = "study.yaml") -> Path:
        path = tmp_path / name
        path.write_text(values if isinstance(values, str) else yaml.safe_dump(values))
        return path

    return write
