"""The maps of all subjects of a study in one space, for statistics elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neuralreg.errors import InvalidOption, UnreadableFile
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.typing import Array
from neuralreg.io.files import draft_folder, require_existing
from neuralreg.io.image_files import read_grid, read_labels
from neuralreg.io.itk_images import write_itk_image
from neuralreg.io.resample import warp
from neuralreg.io.tables import Table, format_table, read_table
from neuralreg.io.volume import to_image
from neuralreg.progress import Progress, silent
from neuralreg.review.geometry.deformation import Deformation
from neuralreg.review.geometry.local_deformation import determinant_of, log_determinant
from neuralreg.studies.accounts.study_status import read_status
from neuralreg.studies.execution.row_records import DONE, StudyFolder

_TEMPLATE, _RECORD = "template.nii.gz", "result.json"
MAPS = ("log_jacobian", "displacement_mm", "images")


@dataclass(frozen=True)
class SubjectFiles:
    """What a study knows of one subject.

    Attributes:
        id: names it in the tables.
        transform: from the space of the study to the subject.
        image: of the subject.
    """

    id: str
    transform: Path
    image: Path


@dataclass(frozen=True)
class StudySpace:
    """Subjects that were registered to one image.

    Attributes:
        image: on whose voxels the maps come.
        subjects: in the order of the maps.
        notes: who is missing and why, in words.
    """

    image: Path
    subjects: tuple[SubjectFiles, ...]
    notes: tuple[str, ...] = ()


def read_space(folder: Path) -> StudySpace:
    """The subjects of a study with one fixed image, or of a template.

    Args:
        folder: of `neuralreg batch` or `neuralreg template`.

    Raises:
        UnreadableFile: it is neither, or nothing in it is done.
        InvalidOption: the rows of the study have different fixed images.
    """
    if (folder / _TEMPLATE).is_file():
        return _space_of_template(folder)
    study, status = StudyFolder(folder), read_status(folder)
    done = [record for record in status.records if record.state == DONE]
    missing = [record.id for record in status.records if record.state != DONE]
    notes = (f"without a result, left out: {', '.join(missing)}",) if missing else ()
    if not done:
        raise UnreadableFile(f"{folder} holds no row that is done", remedy="Run it first.")
    spaces = {record.inputs["fixed"]["sha256"]: record.inputs["fixed"]["path"] for record in done}
    if len(spaces) > 1:
        raise InvalidOption(
            "maps of one space need one fixed image for all rows", where=str(folder),
            got=f"{len(spaces)} different ones", remedy="Register with --all-to TEMPLATE.",
        )  # fmt: skip
    subjects = tuple(
        SubjectFiles(
            record.id,
            study.results(record.id) / "fixed_to_moving.nii.gz",
            Path(record.inputs["moving"]["path"]),
        )
        for record in done
    )
    return StudySpace(Path(next(iter(spaces.values()))), subjects, notes)


def _space_of_template(folder: Path) -> StudySpace:
    try:
        record: dict[str, Any] = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
        rows = read_table(folder / "subjects.csv").rows[1:]
        if record["command"] not in ("template", "longitudinal"):
            raise ValueError(f"made by {record['command']}")
    except (OSError, ValueError, LookupError) as error:
        raise UnreadableFile(f"{folder} is no template", got=str(error)) from error
    subjects = tuple(
        SubjectFiles(
            row.cells[0], folder / f"{row.cells[0]}_template_to_subject.nii.gz", Path(row.cells[1])
        )
        for row in rows
    )
    return StudySpace(folder / _TEMPLATE, subjects)


def write_maps(
    space: StudySpace,
    folder: Path,
    *,
    labels: Path | None = None,
    design: Path | None = None,
    progress: Progress = silent,
) -> list[str]:
    """Write one series for each map, a frame for each subject, and a table.

    Args:
        space: the subjects.
        folder: that exists; it gets log_jacobian.nii.gz, displacement_mm.nii.gz, images.nii.gz and
            subjects.csv (with the columns of the design), and with labels regions.csv: the mean of
            each map over each region, the ratio of volumes included.
        labels: regions in the space of the study.
        design: a table with the column id and whatever describes the subjects.
        progress: called with a fraction and a message.

    Returns:
        The names of the files.

    Raises:
        InvalidOption: the labels lie on another grid, or the design lacks a subject.
        UnreadableFile: a file of the study is missing or damaged.
    """
    grid = read_grid(require_existing(space.image))
    regions = None if labels is None else _regions(labels, grid)
    header, columns = _design_of(design, space.subjects)
    rows: list[list[str]] = []
    with draft_folder(folder, last="subjects.csv") as draft:
        for number, name in enumerate(MAPS):
            frames = np.empty((len(space.subjects), *grid.shape), np.float32)
            for n, values in enumerate(_values_of(name, space, grid)):
                step = (number * len(space.subjects) + n) / (len(MAPS) * len(space.subjects))
                progress(step, f"{name}: {space.subjects[n].id}")
                frames[n] = values
                rows += _rows_of(space.subjects[n].id, name, values, regions)
            _write_frames(frames, grid, draft / f"{name}.nii.gz")
        table = [[one.id, str(one.image), *columns[one.id]] for one in space.subjects]
        text = format_table(("id", "image", *header), table)
        (draft / "subjects.csv").write_text(text, "utf-8")
        if regions is not None:
            text = format_table(("id", "region", "measure", "mean"), rows)
            (draft / "regions.csv").write_text(text, "utf-8")
        return sorted(path.name for path in draft.iterdir())


def _values_of(name: str, space: StudySpace, grid: Grid) -> Iterator[Array]:
    for subject in space.subjects:
        path = require_existing(subject.transform)
        if name == "images":
            image = warp(require_existing(subject.image), path, space.image)
            yield image.data[0].float().numpy()
            continue
        deformation = Deformation.from_file(path)
        if name == "displacement_mm":
            yield np.linalg.norm(deformation.on(grid), axis=-1)
        else:
            yield log_determinant(determinant_of(deformation, grid))


def _regions(labels: Path, grid: Grid) -> dict[int, Array]:
    given = read_labels(labels)
    if not given.grid.is_close(grid):
        raise InvalidOption(
            "regions lie on the voxels of the fixed image or template", where=str(labels),
            got=str(given.grid.size), wanted=str(grid.size),
        )  # fmt: skip
    values = given.data[0].numpy()
    return {int(name): values == name for name in np.unique(values) if name != 0}


def _rows_of(
    subject: str, name: str, values: Array, regions: dict[int, Array] | None
) -> list[list[str]]:
    rows = []
    for region, inside in (regions or {}).items():
        rows.append([subject, str(region), name, f"{values[inside].mean():.6g}"])
        if name == "log_jacobian":
            ratio = float(np.exp(values[inside]).mean())
            rows.append([subject, str(region), "volume_ratio", f"{ratio:.6g}"])
    return rows


def _design_of(
    design: Path | None, subjects: Sequence[SubjectFiles]
) -> tuple[list[str], dict[str, list[str]]]:
    """The names of the columns that describe subjects, and those of each."""
    if design is None:
        return [], {one.id: [] for one in subjects}
    table: Table = read_table(design)
    header = list(table.rows[0].cells) if table.rows else []
    if "id" not in header:
        raise InvalidOption(
            "a design has the column id", where=str(design), got=", ".join(header) or "nothing"
        )
    at = header.index("id")
    known = {row.cells[at]: [c for n, c in enumerate(row.cells) if n != at] for row in table.rows}
    if missing := [one.id for one in subjects if one.id not in known]:
        raise InvalidOption(
            "the design describes every subject", where=str(design),
            got=f"no row for {', '.join(missing)}",
        )  # fmt: skip
    return [name for n, name in enumerate(header) if n != at], known


def _write_frames(frames: Array, grid: Grid, path: Path) -> None:
    import SimpleITK as sitk

    write_itk_image(sitk.JoinSeries([to_image(values, grid) for values in frames]), path)
