"""What is wrong with the files of a study, before anything is computed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from neuralreg.errors import RegistrationError
from neuralreg.geometry.grid import Grid
from neuralreg.io.files import container_of
from neuralreg.io.itk_images import open_grid
from neuralreg.progress import Progress, silent
from neuralreg.studies.table.study_rows import Fault, StudyRow

Headers = dict[Path, Grid | str]  # what the header of a file says, or why it cannot be read
_IMAGES = ("fixed", "moving", "fixed_seg", "moving_seg", "fixed_mask", "moving_mask",
           "fixed_weight", "moving_weight", "fixed_exclude", "moving_exclude",
           "sliding")  # fmt: skip


def check_files(
    rows: Sequence[StudyRow], progress: Progress = silent
) -> tuple[list[Fault], Headers]:
    """Read every header once, and name what will not do.

    Args:
        rows: of the study.
        progress: called with a fraction and a message.

    Returns:
        Faults with row and column, and what the headers say, by path.
    """
    headers: Headers = {}
    faults: list[Fault] = []
    for number, row in enumerate(rows):
        progress(number / len(rows), f"reading headers of {row.id}")
        for role in _IMAGES:
            if role in row.inputs and row.inputs[role] not in headers:
                headers[row.inputs[role]] = _header(row.inputs[role])
        faults += _faults_of(row, headers)
    return faults, headers


def _header(path: Path) -> Grid | str:
    try:
        return open_grid(path)[0]
    except RegistrationError as error:
        return str(error)


def _faults_of(row: StudyRow, headers: Headers) -> list[Fault]:
    faults = []
    axes: dict[str, int] = {}
    for role, path in row.inputs.items():
        header = headers.get(path)
        if isinstance(header, str):
            faults.append(Fault(header, row.line, role, "file"))
        elif header is not None:
            axes[role] = header.dimension
        elif not container_of(path).exists():
            faults.append(
                Fault(f"{path} cannot be opened: got no such file", row.line, role, "file")
            )
    if row.inputs["fixed"].absolute() == row.inputs["moving"].absolute():
        faults.append(Fault("is the fixed image as well", row.line, "moving", "file"))
    wanted = axes.get("fixed")
    for role, dimension in axes.items():
        if wanted is not None and dimension != wanted:
            what = f"{row.inputs[role]} has {dimension} axes, the fixed image {wanted}"
            faults.append(Fault(what, row.line, role, "file"))
    return faults
