"""`neuralreg train`: from a configuration to a trained model."""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from neuralreg.cli.common_options import AsJson, Overwrite, Quiet, TrustCode
from neuralreg.errors import Cancelled, InvalidOption, PackageMissing
from neuralreg.worker.processes import lower_priority

if TYPE_CHECKING:
    from neuralreg.training.loop.run import TrainedRun
    from neuralreg.training.loop.training_loop import Report, Watcher

LEVEL = "NEURALREG_LOG_LEVEL"
_LEVELS = {
    "0": "DEBUG", "1": "DEBUG", "2": "INFO", "3": "WARNING", "4": "ERROR", "5": "CRITICAL",
}  # fmt: skip
_NEEDED = ("omegaconf", "yaml", "pandas", "tensorboard", "monai")

Configurations = Annotated[
    list[Path], typer.Argument(help="YAML files, merged from left to right; the last one wins.")
]
Set = Annotated[
    list[str] | None, typer.Option("--set", help="key.of.something=value, over all files.")
]


def train(
    configs: Configurations,
    output: Annotated[Path, typer.Option("--output", "-o", help="The run's folder.")],
    set_: Set = None,
    resume: Annotated[bool, typer.Option("--resume", help="Resume the run in the folder.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Check all files of the dataset, and stop.")
    ] = False,
    check_first: Annotated[
        bool,
        typer.Option("--check-first", help="Check them first, and train without errors."),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Try a step, forecast time and memory, write nothing."),
    ] = False,
    trust_code: TrustCode = None,
    overwrite: Overwrite = False,
    attended: Annotated[
        bool,
        typer.Option(
            "--attended",
            help="For a program with a window: run at a lower priority, stop and save when "
            "standard input sends `stop`, or ends with that program.",
        ),
    ] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Train a registration network.

    The folder gets config.yaml (as merged), curves.csv, TensorBoard's files, checkpoints, and the
    model with its card: `neuralreg models import RUN/model.json` puts it into the list. Ctrl-C
    saves; --resume goes on. With --json each step and epoch is a JSON object on a line. On several
    GPUs: torchrun --nproc_per_node N -m neuralreg train ... The environment variable
    NEURALREG_LOG_LEVEL sets the level of the log (DEBUG, INFO, WARNING, ERROR, or 1 to 5).
    """
    if resume and overwrite:
        raise InvalidOption(
            "a run is either resumed or replaced",
            got="--resume and --overwrite",
            remedy="Leave out one of them.",
        )
    stop = _listen_for_stop() if attended else None
    require_training()
    set_log_level()
    from neuralreg.training.configuration import read_configuration

    config = read_configuration(configs, set_ or [], trusted=trust_code or ())
    if check or check_first:
        _check(config, as_json)
    if check:
        return
    if dry_run:
        _forecast(config, output, as_json)
        return
    if stop is not None and stop.is_set():
        raise Cancelled("stopped before the first step")
    from neuralreg.training.loop.run import Run

    leads = os.environ.get("RANK", "0") == "0"
    with _Watchers(as_json, quiet or not leads) as watchers:
        run = Run(config, output, watchers=watchers, stop=stop).train(
            resume=resume, overwrite=overwrite
        )
    if not as_json and leads:
        _summarize(run, config.training.best)


def _forecast(config: Any, output: Path, as_json: bool) -> None:
    from neuralreg.training.loop.run import Run

    forecast = Run(config, output).forecast()
    typer.echo(json.dumps(asdict(forecast)) if as_json else forecast.in_words())


def _summarize(run: TrainedRun, figure: str) -> None:
    state = run.state
    best = "" if state.best is None else f", best {figure} {state.best:.4g}"
    typer.echo(f"{state.step} steps, {state.epoch} epochs{best}: {run.folder}")
    if run.card:
        typer.echo(f"use it: neuralreg models import {run.card}")


def require_training() -> None:
    """Raise PackageMissing when the extra `training` is not installed."""
    import importlib.util

    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise PackageMissing(
            "training needs more packages",
            got=f"no {', '.join(missing)}",
            remedy='Install them: pip install "neuralreg[training]".',
        )


def set_log_level() -> None:
    """The level that the environment asks for, warnings unless it says otherwise."""
    text = os.environ.get(LEVEL, "WARNING")
    level = logging.getLevelName(_LEVELS.get(text, text.upper()))
    if not isinstance(level, int):
        raise InvalidOption(
            "unknown log level", where=LEVEL, got=f"'{text}'", wanted="DEBUG, INFO, WARNING, ERROR"
        )
    logging.getLogger("neuralreg").setLevel(level)


def _listen_for_stop() -> threading.Event:
    """Set by `stop` on standard input, or its end: not every system can send a Ctrl-C.

    A program with a window has priority from now on.
    """
    lower_priority()
    asked = threading.Event()

    def listen() -> None:
        # Not through sys.stdin, whose lock a thread that waits would keep until Python ends.
        while (text := os.read(0, 1024)) and b"stop" not in text:
            pass
        asked.set()

    threading.Thread(target=listen, daemon=True).start()
    return asked


def _check(config: Any, as_json: bool) -> None:
    from neuralreg.training.data.dataset_check import check_dataset

    report = check_dataset(config)
    typer.echo(json.dumps(report.as_record()) if as_json else report.in_words())
    if report.problems:
        raise typer.Exit(1)


class _Watchers:
    """What shows the progress: JSON, a bar on a terminal, lines elsewhere, or nothing."""

    def __init__(self, as_json: bool, quiet: bool) -> None:
        self.as_json, self.quiet = as_json, quiet
        self.bars: Any = None

    def __enter__(self) -> list[Watcher]:
        from neuralreg.training.loop.loggers import json_lines

        if self.as_json:
            return [] if self.quiet else [json_lines(_say)]
        if self.quiet:
            return []
        if not sys.stderr.isatty():
            return [_line]
        return [self._bar()]

    def __exit__(self, *details: object) -> None:
        if self.bars is not None:
            self.bars.stop()

    def _bar(self) -> Watcher:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        text = TextColumn("{task.description}", markup=False)
        self.bars = Progress(text, BarColumn(), TimeRemainingColumn(), console=Console(stderr=True))
        self.bars.start()
        task = self.bars.add_task("", total=1.0)

        def tell(report: Report) -> None:
            if report.ended:
                self.bars.console.print(_sentence(report), markup=False, highlight=False)
            self.bars.update(task, completed=report.fraction, description=_losses(report))

        return tell


def _say(line: str) -> None:
    typer.echo(line)


def _line(report: Report) -> None:
    if report.ended:
        typer.echo(_sentence(report), err=True)


def _losses(report: Report) -> str:
    return "  ".join(f"{name} {value:.4g}" for name, value in report.losses.items())


def _sentence(report: Report) -> str:
    metrics = "  ".join(f"{name} {value:.4g}" for name, value in report.validation.items())
    return f"epoch {report.epoch}: {_losses(report)}" + (f"  | valid {metrics}" if metrics else "")
