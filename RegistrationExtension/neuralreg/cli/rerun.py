"""`neuralreg rerun`: the same registration again, and whether it comes out the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from neuralreg.cli.common_options import AsJson, Overwrite, Quiet
from neuralreg.errors import InvalidOption, UnreadableFile

if TYPE_CHECKING:
    from neuralreg.worker.file_jobs.job_files import Job


def rerun(
    record: Annotated[
        Path,
        typer.Argument(help="A result.json, its folder, or the .json of a review's report."),
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Keep the new results in this folder.")
    ] = None,
    tolerance_mm: Annotated[float, typer.Option(help="Difference that counts as the same.")] = 0.1,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Repeat a registration from its record and compare.

    The inputs must be the ones that the record names, by their hashes. Exit codes: 0 the same
    transform comes out, 1 another one does, 2 it could not be repeated.
    """
    import tempfile
    from contextlib import nullcontext

    from neuralreg.cli.outputs import folder_for
    from neuralreg.cli.repair_job import repeat_corrected
    from neuralreg.cli.terminal import print_result, show_progress, warn
    from neuralreg.worker.file_jobs.file_job import FILES, run

    facts, folder = registration_in(record)
    job = job_of(facts, folder)
    with tempfile.TemporaryDirectory() as scratch:
        target = output or Path(scratch)
        inputs = [*job.inputs().values(), record]
        context = folder_for(FILES, output, overwrite, inputs) if output else nullcontext()
        with context, show_progress(quiet) as progress:
            if facts.get("repair"):
                again = repeat_corrected(job, facts, folder, target, progress, overwrite)
            else:
                again = run(job, target, progress, overwrite=overwrite).facts()
        gap_mm = _difference(again, facts, target, folder)
    same = gap_mm is not None and gap_mm <= tolerance_mm
    changed = _changes(again, facts)
    warn(changed)
    result = {"same": same, "largest_difference_mm": gap_mm, "changed": changed}
    print_result(result, as_json, lambda: _in_words(gap_mm, same))
    if not same:
        raise typer.Exit(1)


def registration_in(record: Path) -> tuple[dict[str, Any], Path]:
    """The record of a registration in a file, and the folder of its files.

    Raises:
        UnreadableFile: when there is none in it.
    """
    from neuralreg.review.workflow.provenance import RECORD

    path = record / RECORD if record.is_dir() else record
    try:
        facts = json.loads(path.read_text(encoding="utf-8-sig"))
        facts = facts.get("provenance", {}).get("registration", facts)
        if not {"inputs", "options", "transform_sha256"} <= set(facts):
            raise ValueError("it has no inputs, options and transform_sha256")
    except OSError as error:
        raise UnreadableFile(f"{path} cannot be opened", got=error.strerror or "") from error
    except (ValueError, AttributeError) as error:
        raise UnreadableFile(
            f"{path} is no record of a registration",
            got=str(error),
            wanted="the result.json that `neuralreg register` writes",
        ) from error
    return facts, path.parent


def job_of(facts: dict[str, Any], folder: Path) -> Job:
    """The job of a record; inputs without a path are looked for in its folder.

    Raises:
        UnreadableFile: when an input is missing or changed.
    """
    from neuralreg.io.files import require_existing, sha256_of
    from neuralreg.registration.options import RegistrationOptions
    from neuralreg.review.workflow.provenance import locate_input
    from neuralreg.worker.file_jobs.job_files import Job

    paths = {}
    for name, about in facts["inputs"].items():
        path = require_existing(locate_input(about, folder))
        if sha256_of(path) != about["sha256"]:
            raise UnreadableFile(
                f"{path} is not the file that the record was made from",
                got="another hash",
                wanted=about["sha256"],
                remedy="Put the original file there.",
            )
        paths[name] = path
    record = {**facts["options"], "model": facts["model"]}
    try:
        options = RegistrationOptions.from_record(record)
    except InvalidOption as error:
        raise UnreadableFile("the record is of another version", got=str(error)) from error
    return Job.of(paths, options, facts.get("initial_format"))


def _difference(
    again: dict[str, object], facts: dict[str, Any], new: Path, old: Path
) -> float | None:
    """The largest distance between where both transforms take points, in mm; None when unknown."""
    import numpy as np

    from neuralreg.review.geometry.deformation import Deformation
    from neuralreg.worker.file_jobs.file_job import FIXED_TO_MOVING

    if again["transform_sha256"] == facts["transform_sha256"]:
        return 0.0
    if not (old / FIXED_TO_MOVING).is_file():
        return None
    first, second = (Deformation.of(folder / FIXED_TO_MOVING) for folder in (old, new))
    if first.grid is None or second.grid is None:  # neither is written without one
        return None
    gap = first.on(first.grid) - second.on(first.grid)
    return float(np.linalg.norm(gap, axis=-1).max())


def _changes(again: dict[str, Any], facts: dict[str, Any]) -> list[str]:
    """What is different about the program that ran, in words."""
    now, then = again["software"], facts.get("software", {})
    other = [name for name in then if now.get(name) != then[name]]
    changed = [f"{name} was {then[name]}, is {now.get(name)}" for name in other]
    if again["weights_sha256"] != facts.get("weights_sha256"):
        changed.append("the model's weights are other ones")
    return changed


def _in_words(gap_mm: float | None, same: bool) -> str:
    if gap_mm is None:
        return "another transform came out; the old one is not there to compare with"
    if gap_mm == 0:
        return "the same transform came out"
    return f"{'the same' if same else 'another'} transform came out: {gap_mm:.3g} mm apart at most"
