"""`neuralreg runs`: the trainings below a folder beside each other."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from neuralreg.cli.common_options import AsJson

if TYPE_CHECKING:
    from neuralreg.training.results.runs_table import RunSummary


def runs(
    folder: Annotated[Path, typer.Argument(help="A folder with folders of `neuralreg train`.")],
    as_json: AsJson = False,
) -> None:
    """List trainings: state, epoch, best figure, and what differs in their configurations."""
    from neuralreg.cli.terminal import print_result
    from neuralreg.cli.train import require_training

    require_training()
    from neuralreg.training.results.runs_table import list_runs

    summaries = list_runs(folder)
    facts = {"runs": [asdict(summary) for summary in summaries]}
    print_result(facts, as_json, lambda: _table(summaries))


def _table(summaries: list[RunSummary]) -> str:
    keys = dict.fromkeys(key for summary in summaries for key in summary.settings)
    head = ["run", "state", "epoch", "step", "best", *keys]
    rows = [head]
    rows += [[*_cells(one), *(str(one.settings.get(key, "")) for key in keys)] for one in summaries]
    widths = [max(len(row[n]) for row in rows) for n in range(len(head))]
    lines = ("  ".join(f"{cell:<{w}}" for cell, w in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def _cells(summary: RunSummary) -> list[str]:
    best = ""
    if summary.best is not None:
        best = f"{summary.figure} {summary.best:.4g} at {summary.best_epoch}"
    progress = f"{summary.epoch}/{summary.epochs}" if summary.epochs else ""
    return [summary.folder, summary.state, progress, str(summary.step), best]
