"""The command line itself: its commands, its error boundary and its exit codes."""

from __future__ import annotations

import json
import logging
import os
import signal
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from neuralreg import __version__, errors
from neuralreg.cli.atlas_segment import atlas_segment
from neuralreg.cli.batch import batch
from neuralreg.cli.brain_mask import brain_mask
from neuralreg.cli.convert import convert
from neuralreg.cli.convert_config import convert_config
from neuralreg.cli.download import download
from neuralreg.cli.evaluate import evaluate
from neuralreg.cli.info import info
from neuralreg.cli.invert import invert
from neuralreg.cli.jacobian import jacobian
from neuralreg.cli.label import label
from neuralreg.cli.longitudinal import longitudinal
from neuralreg.cli.models import models
from neuralreg.cli.predict import predict
from neuralreg.cli.register import RegisterCommand, register
from neuralreg.cli.repair import repair
from neuralreg.cli.rerun import rerun
from neuralreg.cli.review import review
from neuralreg.cli.robustness import robustness
from neuralreg.cli.runs import runs
from neuralreg.cli.sequence import sequence
from neuralreg.cli.study_maps import study_maps
from neuralreg.cli.template import template
from neuralreg.cli.train import train
from neuralreg.cli.visualize import visualize
from neuralreg.cli.warp import warp
from neuralreg.cli.worker import worker
from neuralreg.cli.worklist import worklist
from neuralreg.resources import let_idle_threads_sleep

USAGE, UNUSABLE, UNAVAILABLE, UNWRITABLE, INTERRUPTED = 2, 1, 3, 4, 130
_CODES: dict[type[errors.RegistrationError], int] = {
    errors.IncompatibleModel: UNAVAILABLE,
    errors.WeightsUnavailable: UNAVAILABLE,
    errors.ChecksumMismatch: UNAVAILABLE,
    errors.DeviceUnavailable: UNAVAILABLE,
    errors.OutOfMemory: UNAVAILABLE,
    errors.UnwritableOutput: UNWRITABLE,
    errors.Cancelled: INTERRUPTED,
}
NOT_REVIEWED = 2
_REVIEWS = ("review", "rerun", "worklist", "batch")
_EXIT_CODES = (
    "Exit codes: 0 done; 1 an input cannot be used, or not everything could be made of it; 2 wrong "
    "usage; 3 the model, its weights, the device or enough memory is missing; 4 the output cannot "
    "be written; 130 stopped by Ctrl-C. "
    "Of review, rerun and worklist: 0 nothing needs attention; 1 something does; 2 not possible. "
    "Of batch: 0 all rows done; 1 some failed; 2 not possible. "
    "Files are written completely or not at all."
)


let_idle_threads_sleep(os.environ)  # before any command starts torch


class _Boundary(TyperGroup):
    """Where errors become one line and an exit code; a lack of memory is one of them."""

    def invoke(self, ctx: Any) -> Any:
        try:
            with errors.convert_memory_errors():
                return super().invoke(ctx)
        except errors.RegistrationError as error:
            _tell(ctx, type(error).__name__, str(error))
            raise typer.Exit(_code(ctx, error)) from error
        except KeyboardInterrupt as error:
            _tell(ctx, "Cancelled", "stopped by Ctrl-C")
            raise typer.Exit(INTERRUPTED) from error


def _code(ctx: Any, error: errors.RegistrationError) -> int:
    """The exit code; for a review 1 says that something needs attention, so it cannot mean this."""
    if ctx.invoked_subcommand in _REVIEWS and not isinstance(error, errors.Cancelled):
        return NOT_REVIEWED
    return next((_CODES[kind] for kind in type(error).__mro__ if kind in _CODES), UNUSABLE)


def _tell(ctx: Any, kind: str, message: str) -> None:
    if ctx.meta.get("json"):
        typer.echo(json.dumps({"error": {"kind": kind, "message": message}}))
    typer.echo(f"{kind}: {message}", err=True)


app = typer.Typer(
    cls=_Boundary,
    help="Deformable registration of medical images.",
    epilog=_EXIT_CODES,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_COMMANDS = (
    warp,
    invert,
    convert,
    jacobian,
    info,
    review,
    rerun,
    repair,
    worklist,
    robustness,
    train,
    runs,
    predict,
    evaluate,
    download,
    worker,
    template,
    longitudinal,
    sequence,
)
app.command(cls=RegisterCommand)(register)
for command in _COMMANDS:
    app.command()(command)
app.command("brain-mask")(brain_mask)
app.command("atlas-segment")(atlas_segment)
app.command("study-maps")(study_maps)
app.command()(label)
app.command("convert-config")(convert_config)
for name in ("visualise", "visualize", "vis"):
    app.command(name, hidden=name != "visualise")(visualize)
app.add_typer(models, name="models")
app.add_typer(batch, name="batch")


def _show_version(show: bool) -> None:
    if show:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    logging.basicConfig(format="%(levelname)s: %(message)s")


def _end(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)  # as shells have it


def main() -> None:
    """Run the command line; a polite end (SIGTERM, a closed terminal) clears half-written files."""
    signal.signal(signal.SIGTERM, _end)
    hang_up = getattr(signal, "SIGHUP", None)  # not on Windows
    if hang_up is not None and signal.getsignal(hang_up) != signal.SIG_IGN:  # as nohup sets it
        signal.signal(hang_up, _end)
    app(prog_name="neuralreg")
