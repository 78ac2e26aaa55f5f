"""Measurements, each a command of its own: `python -m benchmarks.warp`. See README.md here."""

from pathlib import Path

RESULTS = Path(__file__).parent / "results"  # as JSON; not part of the repository
