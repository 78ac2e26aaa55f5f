"""What `neuralreg info` says of results of a registration, of points, and of segmentations."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

Facts = dict[str, object]


def is_record(file: Path) -> bool:
    """Whether a path is the folder or the record that `neuralreg register` writes."""
    from neuralreg.review.workflow.provenance import RECORD

    return (file / RECORD).is_file() if file.is_dir() else file.name == RECORD


def facts_of_record(file: Path) -> Facts:
    """How a registration was made and came out, and which of its files are as they were."""
    from neuralreg.cli.rerun import registration_in

    record, folder = registration_in(file)
    outcome = record.get("outcome", {})
    provenance = record.get("provenance", {})
    return {
        "kind": "results of a registration",
        "made": record.get("time"),
        "neuralreg": record.get("neuralreg"),
        "model": record.get("model"),
        "choice": provenance.get("choice"),
        **{role: _state_of_input(about, folder) for role, about in record["inputs"].items()},
        **{name.replace(" ", "_"): value for name, value in outcome.items()},
        "seconds": round(sum(record.get("timings_s", {}).values()), 1),
        "files": [_state_of_file(name, folder, record) for name in record.get("files", ())],
        "warnings": record.get("warnings", []),
    }


def _state_of_input(about: dict[str, Any], folder: Path) -> str:
    from neuralreg.io.files import container_of, sha256_of
    from neuralreg.review.workflow.provenance import locate_input

    path = Path(os.path.normpath(locate_input(about, folder)))
    if not container_of(path).exists():
        return f"{path} (missing)"
    same = sha256_of(path) == about.get("sha256")
    return f"{path}" + ("" if same else " (changed since)")


def _state_of_file(name: str, folder: Path, record: dict[str, Any]) -> str:
    from neuralreg.errors import RegistrationError
    from neuralreg.review.geometry.deformation import Deformation

    path = folder / name
    if not path.is_file():
        return f"{name} (missing)"
    if not name.startswith("fixed_to_moving"):
        return name
    try:
        same = Deformation.from_file(path).sha256 == record["transform_sha256"]
    except RegistrationError:
        return f"{name} (damaged)"
    return name if same else f"{name} (changed since)"


def facts_of_points(file: Path, notes: list[str]) -> Facts:
    """How many points a file of landmarks, a mesh or streamlines has, and where they lie."""
    from neuralreg.io.point_sets.point_files import read_points

    points = read_points(file, notes).points
    return {
        "kind": f"points in {points.shape[1]}D",
        "points": len(points),
        "lowest_lps": points.min(0).tolist(),
        "highest_lps": points.max(0).tolist(),
        "center_lps": points.mean(0).tolist(),
    }


def facts_of_segmentation(file: Path) -> Facts:
    """The segments of a .seg.nrrd, with the layer and label of each."""
    from neuralreg.geometry.grid import Grid
    from neuralreg.io.formats.segmentations import read_segmentation

    given = read_segmentation(file)
    numbers = sorted(
        {int(key[7:].split("_")[0]) for key in given.metadata if re.match(r"Segment\d+_", key)}
    )
    segments = [
        f"{given.metadata.get(f'Segment{n}_Name', f'Segment{n}')} "
        f"(layer {given.metadata.get(f'Segment{n}_Layer', '0')}, "
        f"label {given.metadata.get(f'Segment{n}_LabelValue', '1')})"
        for n in numbers
    ]
    return {
        "kind": "segmentation of 3D Slicer",
        "layers": len(given.layers),
        "segments": segments,
        **Grid.of(given.layers[0]).to_record(),
    }


def facts_of_series(folder: Path) -> dict[str, Any]:
    """The series of images in a folder that holds several; none of a folder with one."""
    from neuralreg.io.files import SERIES_MARK
    from neuralreg.io.formats.dicom_series import list_series

    images = [one for one in list_series(folder) if one.shows]
    if len(images) < 2:
        return {}
    series = [
        {"number": one.number, "description": one.description, "uid": one.uid,
         "files": len(one.names)}
        for one in images
    ]  # fmt: skip
    name = images[0].number or images[0].uid
    return {
        "kind": f"folder with {len(images)} DICOM series",
        "series": series,
        "name_one": f"{folder}{SERIES_MARK}{name} (by number, description or UID)",
    }
