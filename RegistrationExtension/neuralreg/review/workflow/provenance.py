"""Where the inputs of a result came from, so that another person can find and check them."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import SimpleITK as sitk

from neuralreg import __version__
from neuralreg.errors import UnreadableFile
from neuralreg.io.files import quiet_itk, require_existing, sha256_of, suffix_of
from neuralreg.io.itk_images import WRITABLE, open_image

RECORD = "result.json"  # what `neuralreg register` writes beside a transform
_PACKAGES = ("numpy", "scipy", "SimpleITK", "torch")


def provenance_of(inputs: Mapping[str, Path]) -> dict[str, Any]:
    """What was reviewed, with what, and when.

    inputs: files by their roles. Each is told by its name, hash and geometry, a DICOM series by
    its UID; never by what DICOM says about the patient.
    Raises UnreadableFile when a file is missing.
    """
    return {
        "inputs": {role: described(path) for role, path in inputs.items()},
        "software": software(),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.system()} {platform.machine()}",
    }


def software() -> dict[str, str]:
    """The versions of what computes; packages that are not there are left out."""
    found = {"neuralreg": __version__, "Python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def described(path: Path) -> dict[str, Any]:
    """A file's name and hash, and the geometry of an image."""
    facts: dict[str, Any] = {"name": require_existing(path).name, "sha256": sha256_of(path)}
    if path.is_dir():
        with quiet_itk():
            series = sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(path))
        return {**facts, "series_uid": ", ".join(series)}
    if suffix_of(path) in WRITABLE:
        facts |= geometry(open_image(path))
    return facts


def geometry(image: sitk.Image | sitk.ImageFileReader) -> dict[str, Any]:
    """Where an image lies."""
    return {
        "size": list(image.GetSize()),
        "spacing_mm": list(image.GetSpacing()),
        "origin_lps": list(image.GetOrigin()),
        "direction": list(image.GetDirection()),
    }


def registration_of(transform: Path) -> dict[str, Any] | None:
    """What the record beside a transform says about how it was made; None without a record.

    The inputs are told by name and hash, without their folders, whose names may tell a patient.
    """
    record = transform.parent / RECORD
    if not record.is_file():
        return None
    try:
        facts: dict[str, Any] = json.loads(record.read_text(encoding="utf-8"))
        if transform.name not in facts.get("files", ()):
            return None
        for about in facts["inputs"].values():
            about.pop("path", None)
    except (ValueError, LookupError, AttributeError) as error:
        raise UnreadableFile(f"{record} is no record", got=str(error)) from error
    facts.pop("output", None)
    return facts
