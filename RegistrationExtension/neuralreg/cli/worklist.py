"""`neuralreg worklist`: many transforms, the riskiest first."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from neuralreg.cli.common_options import AsJson, Quiet

if TYPE_CHECKING:
    from neuralreg.review.limits import Profile
    from neuralreg.review.report_model import QualityReport
    from neuralreg.review.workflow.worklist import Entry


def worklist(
    source: Annotated[
        Path,
        typer.Argument(help="A folder of results of `neuralreg register`, or a CSV of transforms."),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="The CSV to write; the source, or worklist.csv in it, unless given.",
        ),
    ] = None,
    profile: Annotated[Path | None, typer.Option(help="Limits instead of TG-132's.")] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Review all, also those reviewed before.")
    ] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Review many transforms and list them, the riskiest first.

    The CSV is written after each one: stopped work resumes there, and decisions are kept. What
    failed is tried again.
    Exit codes: 0 nothing needs attention, 1 something does, 2 nothing could be reviewed.
    """
    from dataclasses import asdict, replace

    from neuralreg.cli.terminal import print_result, show_progress, warn
    from neuralreg.review.limits import read_profile
    from neuralreg.review.workflow.worklist import WorklistFile, read_worklist, work_through
    from neuralreg.review.workflow.worklist_start import entries_in, recheck

    target = output or (source / "worklist.csv" if source.is_dir() else source)
    listed = entries_in(source) if source.is_dir() else read_worklist(source)
    broken = {e.transform for e in listed if source.is_dir() and e.is_reviewed}
    known = read_worklist(target) if target.is_file() else []
    entries = [
        replace(e, verdict="")
        if (again or e.verdict == "error") and e.transform not in broken
        else e
        for e in recheck(_resume(listed, known), _hash_of)
    ]
    limits = read_profile(profile)
    file = WorklistFile(target, known)
    with show_progress(quiet) as progress:
        done = work_through(entries, lambda entry: _review(entry, limits), file.write, progress)
    done = file.write(done)
    notes = _notes(done)
    warn(notes)
    facts = {
        "worklist": str(target),
        "entries": [asdict(entry) for entry in done],
        "warnings": notes,
    }
    print_result(facts, as_json, lambda: _in_words(done, target))
    if any(entry.verdict != "pass" for entry in done):
        raise typer.Exit(1)


def _resume(entries: list[Entry], known: list[Entry]) -> list[Entry]:
    """The entries, with what an earlier list of them knows."""
    from neuralreg.review.workflow.worklist_start import resume

    return resume(entries, known, _hash_of) if known else entries


def _notes(entries: list[Entry]) -> list[str]:
    """What in a list is no decision, what is void, and what is gone, in words."""
    from neuralreg.review.workflow.decision import DECISIONS

    unknown = [
        f"{e.case}: '{e.decision}' is no decision; those are {', '.join(DECISIONS)}"
        for e in entries
        if e.decision and not e.is_decided
    ]
    void = [f"{e.case}: {e.note}" for e in entries if not e.decision and e.note.startswith("void,")]
    gone = [
        f"{e.case}: {e.transform} is not there; the review is of before"
        for e in entries
        if e.verdict != "error" and not Path(e.transform).exists()
    ]
    return unknown + void + gone


def _hash_of(entry: Entry) -> str:
    """The hash of a transform; "" where it cannot be read, which its review will tell."""
    from neuralreg.errors import RegistrationError
    from neuralreg.io.exchange.sides import Sides
    from neuralreg.review.geometry.deformation import Deformation

    try:
        sides = Sides(*(Path(image) if image else None for image in (entry.fixed, entry.moving)))
        return Deformation.from_file(Path(entry.transform), sides, entry.format or None).sha256
    except RegistrationError:
        return ""


def _review(entry: Entry, limits: Profile) -> QualityReport:
    from neuralreg.review.assess import assess

    return assess(
        entry.transform,
        fixed=entry.fixed or None,
        moving=entry.moving or None,
        inverse=entry.inverse or None,
        fixed_labels=entry.fixed_seg or None,
        moving_labels=entry.moving_seg or None,
        landmarks=entry.landmarks or None,
        mask=entry.mask or None,
        source=entry.format or None,
        profile=limits,
    )


def _in_words(entries: list[Entry], path: Path) -> str:
    from neuralreg.cli.terminal import columns

    rows = [
        (e.case, f"{e.verdict:<10} {e.risk:6.2f}  {e.decision:<10}  {e.findings[:90]}".rstrip())
        for e in entries
    ]
    return f"{columns(rows)}\n\n{path}"
