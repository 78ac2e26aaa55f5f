"""What a person or a program sees while a command works."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import typer

from neuralreg.progress import Progress, silent

_LINE_EVERY = 0.1  # of the work, between lines where there is no bar


@contextmanager
def show_progress(quiet: bool) -> Iterator[Progress]:
    """A progress on standard error: a bar on a terminal, plain lines elsewhere."""
    if quiet:
        yield silent
    elif not sys.stderr.isatty():
        yield _lines()
    else:
        with _bar() as progress:
            yield progress


def _lines() -> Progress:
    last: list[tuple[float, str]] = []

    def report(fraction: float, message: str) -> None:
        if last and message == last[0][1] and fraction < last[0][0] + _LINE_EVERY:
            return
        last[:] = [(fraction, message)]
        typer.echo(f"{100 * fraction:3.0f} % {message}", err=True)

    return report


@contextmanager
def _bar() -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    text = TextColumn("{task.description}", markup=False)
    columns = (text, BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task("", total=1.0)
        yield lambda fraction, message: bars.update(task, completed=fraction, description=message)


def print_result(facts: Mapping[str, object], as_json: bool, human: Callable[[], str]) -> None:
    """The result of a command on standard output, for a program or for a person."""
    typer.echo(json.dumps(facts, indent=2, allow_nan=False) if as_json else human())


def warn(warnings: list[str]) -> None:
    """Each warning on a line of standard error."""
    for warning in warnings:
        typer.echo(f"warning: {warning}", err=True)


def columns(rows: list[tuple[str, str]]) -> str:
    """Names and values in two columns."""
    width = max((len(name) for name, _ in rows), default=0)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)


def words(value: object) -> str:
    """A value as a person would write it: lists with commas, numbers with six digits."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {words(part)}" for key, part in value.items()) or "none"
    if isinstance(value, list):
        return ", ".join(map(words, value)) or "none"
    if value is None:
        return "none"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
