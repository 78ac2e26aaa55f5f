"""Folders of the repository, and the data beside it that not everybody has."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EXTENSION = ROOT / "RegistrationExtension"
RESOURCES = ROOT / "Resources"
DOCS = ROOT / "docs"
TEST_DATA = ROOT / "Testing" / "data"
SHARED = ROOT.parent / "shared"
PAIRS = SHARED / "data" / "dev"
WEIGHTS = SHARED / "weights"
NO_SHARED = "no shared data beside the repository"  # why a test is skipped
