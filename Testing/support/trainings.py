"""Configurations of small trainings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from neuralreg.training.config.schema import Configuration


def training_values(folder: Path, **changes: Any) -> dict[str, Any]:
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
        *keys, last = key.split("__")
        part = values
        for step in keys:
            part = part.setdefault(step, {})
        part[last] = value
    return values


def training_config(folder: Path, **changes: Any) -> Configuration:
    """The same as a checked configuration."""
    return Configuration.model_validate(training_values(folder, **changes))
