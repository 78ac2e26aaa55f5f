"""The record of what was done to more than a pair of images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from neuralreg.review.workflow.provenance import describe_input, software


def record_of(
    command: str, inputs: Iterable[Path], options: Mapping[str, Any], folder: Path
) -> dict[str, Any]:
    """What was done, with what and when, as plain values for `result.json`."""
    return {
        "command": command,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "software": software(),
        "options": dict(options),
        "inputs": [describe_input(path, folder) for path in inputs],
    }
