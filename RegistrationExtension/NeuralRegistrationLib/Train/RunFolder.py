"""The contents of a run's folder, read without loading any network."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from neuralreg.training.run_files import (
    CARD,
    CHECKPOINTS,
    CODE,
    CONFIGURATION,
    CURVES,
    PICTURE,
)


def holdsRun(folder: str) -> bool:
    """Whether a run was begun there."""
    return bool(folder) and Path(folder, CONFIGURATION).is_file()


def canContinue(folder: str) -> bool:
    """Whether a run there has saved where it was; a kill may have left any of its checkpoints."""
    return holdsRun(folder) and any(Path(folder, CHECKPOINTS).glob("*.pt"))


def untrustedCode(folder: str) -> dict[Path, str]:
    """SHA-256 of Python files that a run brought along and nobody has agreed to run here."""
    from neuralreg.zoo.own_code import untrusted_hashes
    from neuralreg.zoo.python_sources import read_source

    files = sorted(Path(folder, CODE).glob("*.py"))
    return untrusted_hashes([read_source(path) for path in files])


def model(folder: str) -> Path | None:
    """The card of the model that a run has made."""
    path = Path(folder, CARD)
    return path if folder and path.is_file() else None


def samples(folder: str) -> tuple[int, ...]:
    """How many samples x y z the model of a run sees; empty without one."""
    path = model(folder)
    if path is None:
        return ()
    card = json.loads(path.read_text(encoding="utf-8"))
    return tuple((card["input"].get("shape") or ())[::-1])


def picture(folder: str) -> Path | None:
    """The picture of a pair of the last validation that was drawn."""
    path = Path(folder, PICTURE)
    return path if folder and path.is_file() else None


def curves(folder: str) -> list[dict[str, float]]:
    """The epochs so far: epoch, step, rate, "train NAME", "valid NAME"; nothing for empty cells."""
    path = Path(folder, CURVES)
    if not folder or not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [{k: float(v) for k, v in line.items() if v} for line in csv.DictReader(file)]
