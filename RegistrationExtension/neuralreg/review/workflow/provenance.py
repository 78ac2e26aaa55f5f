"""Where the inputs of a result came from, so that another person can find and check them."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PureWindowsPath
from typing import Any

import SimpleITK as sitk

from neuralreg import __version__
from neuralreg.errors import UnreadableFile
from neuralreg.io.files import (
    container_of,
    path_from,
    require_existing,
    sha256_of,
    suffix_of,
)
from neuralreg.io.formats.dicom_identity import dicom_identity
from neuralreg.io.itk_images import WRITABLE, open_grid, open_image

RECORD = "result.json"  # what `neuralreg register` writes beside a transform
_PACKAGES = ("numpy", "scipy", "SimpleITK", "torch")


def provenance_of(inputs: Mapping[str, Path]) -> dict[str, Any]:
    """What was reviewed, with what, and when.

    Args:
        inputs: Files by their roles. Each is recorded by its name, hash and geometry, a DICOM
            series by hashes of its UIDs; never by what DICOM tags tell about the patient.

    Raises:
        UnreadableFile: A file is missing.
    """
    return {
        "inputs": {role: describe_file(path) for role, path in inputs.items()},
        "software": software(),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.system()} {platform.machine()}",
    }


def software() -> dict[str, str]:
    """The versions of what computes; packages that are not installed are left out."""
    versions = {"neuralreg": __version__, "Python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def describe_file(path: Path, *, plain_uids: bool = False) -> dict[str, Any]:
    """A file's name and hash, and the geometry of an image.

    Of DICOM also the hashes of patient, study, series and frame of reference, see
    `dicom_identity`, and their UIDs where asked for.
    """
    facts: dict[str, Any] = {"name": require_existing(path).name, "sha256": sha256_of(path)}
    if identity := dicom_identity(path, plain_uids=plain_uids):
        return {**facts, "dicom": identity}
    if suffix_of(path) in WRITABLE:
        try:
            facts |= _geometry(open_image(path))
        except UnreadableFile:  # what ITK alone cannot read, such as NIfTI-2
            facts |= open_grid(path)[0].to_record()
    return facts


def _geometry(image: sitk.ImageFileReader) -> dict[str, Any]:
    """As `Grid.to_record`, of a file that may have more than three axes."""
    return {
        "size": list(image.GetSize()),
        "spacing_mm": list(image.GetSpacing()),
        "origin_lps": list(image.GetOrigin()),
        "direction": list(image.GetDirection()),
    }


def describe_input(path: Path, folder: Path, *, plain_uids: bool = False) -> dict[str, Any]:
    """`describe_file` of an input of a registration, and where it is.

    Args:
        path: of the input.
        folder: of the record, from which the input is found when both were moved together.
        plain_uids: as `describe_file` takes it.
    """
    path, folder = path.resolve(), folder.resolve()
    where = {"path": str(path)}
    if path.drive == folder.drive:
        where["relative_path"] = Path(os.path.relpath(path, folder)).as_posix()
    return {**where, **describe_file(path, plain_uids=plain_uids)}


def locate_input(about: Mapping[str, Any], folder: Path) -> Path:
    """Where an input of a record is now.

    Args:
        about: of `describe_input`; the hash decides whether a file elsewhere is the one.
        folder: of the record.

    Returns:
        The path of the record where something is there; else that relative to the folder, or the
        file of its name in the folder, if it has the same content; else the path of the record.
    """
    named = path_from(folder, str(about["path"] if "path" in about else about["name"]))
    if container_of(named).exists():
        return named
    beside = PureWindowsPath(str(about.get("name", named.name))).name
    for name in (about.get("relative_path"), beside):
        path = folder / str(name)
        if name and container_of(path).exists() and sha256_of(path) == about.get("sha256"):
            return path
    return named


def registration_of(transform: Path) -> dict[str, Any] | None:
    """How a transform was made, by the record beside it; None without a record.

    The inputs are given by name and hash, without their folders, whose names may identify a
    patient.

    Raises:
        UnreadableFile: The record is broken.
    """
    record = transform.parent / RECORD
    if not record.is_file():
        return None
    try:
        facts: dict[str, Any] = json.loads(record.read_text(encoding="utf-8-sig"))
        if transform.name not in facts.get("files", ()):
            return None
        for about in facts["inputs"].values():
            about.pop("path", None)
            about.pop("relative_path", None)
    except (ValueError, LookupError, AttributeError) as error:
        raise UnreadableFile(f"{record} is no record", got=str(error)) from error
    facts.pop("output", None)
    return facts
