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

    The CSV is written after each one: stopped work resumes there, and decisions are kept.
    Exit codes: 0 nothing needs attention, 1 something does, 2 nothing could be reviewed.
    """
    from dataclasses import asdict, replace

    from neuralreg.cli.terminal import print_result, show_progress
    from neuralreg.review.limits import read_profile
    from neuralreg.review.workflow.worklist import (
        entries_in,
        read_worklist,
        work_through,
        write_worklist,
    )

    target = output or (source / "worklist.csv" if source.is_dir() else source)
    entries = entries_in(source) if source.is_dir() else read_worklist(source)
    entries = _resume(entries, target)
    if again:
        entries = [replace(entry, verdict="") for entry in entries]
    limits = read_profile(profile)
    with show_progress(quiet) as progress:
        done = work_through(
            entries,
            lambda entry: _review(entry, limits),
            lambda entries: write_worklist(entries, target),
            progress,
        )
    write_worklist(done, target)
    facts = {"worklist": str(target), "entries": [asdict(entry) for entry in done]}
    print_result(facts, as_json, lambda: _in_words(done, target))
    if any(entry.verdict != "pass" for entry in done):
        raise typer.Exit(1)


def _resume(entries: list[Entry], path: Path) -> list[Entry]:
    """The entries, with what an earlier list of them knows."""
    from neuralreg.review.workflow.worklist import read_worklist

    if not path.is_file():
        return entries
    earlier = {entry.transform: entry for entry in read_worklist(path)}
    return [earlier.get(entry.transform, entry) for entry in entries]


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
        profile=limits,
    )


def _in_words(entries: list[Entry], path: Path) -> str:
    from neuralreg.cli.terminal import columns

    rows = [(e.case, f"{e.verdict:<10} {e.risk:6.2f}  {e.findings[:90]}") for e in entries]
    return f"{columns(rows)}\n\n{path}"
