"""Small data sets on disk, and configurations for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from neuralreg.training.config.schema import Configuration
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


def plain(folder: Path, **changes: Any) -> dict[str, Any]:
    """A quick 2D training as plain values; a change is named by its key, with __ for dots."""
    values: dict[str, Any] = {
        "dataset": {
            "type": "unpaired",
            "size": [24, 20],
            **{
                split: {"dir": str(folder / split), "labeled": True}
                for split in ("train", "valid", "test")
            },
        },
        "model": {"method": "displacement", "backbone": {"name": "dirnet", "width": 4}},
        "loss": {
            "image": {"name": "ssd"},
            "deformation": {"name": "gradient", "weight": 0.1},
        },
        "training": {
            "epochs": 2,
            "batch_size": 2,
            "device": "cpu",
            "threads": 1,
            "pictures": 0,
            "optimizer": {"name": "Adam", "lr": 0.01},
        },
    }
    for key, value in changes.items():
        *way, last = key.split("__")
        place = values
        for step in way:
            place = place.setdefault(step, {})
        place[last] = value
    return values


def configured(folder: Path, **changes: Any) -> Configuration:
    """The same as a checked configuration."""
    return Configuration.model_validate(plain(folder, **changes))


@pytest.fixture
def write_yaml(tmp_path):
    """Writes plain values to a file."""

    def write(values: Any, name: str = "study.yaml") -> Path:
        path = tmp_path / name
        path.write_text(values if isinstance(values, str) else yaml.safe_dump(values))
        return path

    return write
