"""`neuralreg batch`: a table of pairs in, a folder of results and accounts out."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from neuralreg.cli.batch_status import status
from neuralreg.cli.common_options import AsJson, Quiet, one_format
from neuralreg.cli.register import RegisterCommand, register

if TYPE_CHECKING:
    from neuralreg.registration.options import RegistrationOptions
    from neuralreg.studies.accounts.study_summary import StudyFacts
    from neuralreg.studies.execution.row_execution import Settings
    from neuralreg.studies.execution.row_records import StudyFolder
    from neuralreg.studies.execution.study_plan import Plan
    from neuralreg.studies.execution.study_run import Engines
    from neuralreg.studies.table.study_check import Headers
    from neuralreg.studies.table.study_rows import Fault, StudyRow

_MOST_FAULTS = 100  # that are listed on a terminal
SOME_FAILED, WRONG_USE = 1, 2


def _registration_parameters() -> list[inspect.Parameter]:
    """The options of `neuralreg register` that a row may have, too, and that are no files."""
    from neuralreg.studies.table.study_rows import OPTION_COLUMNS

    parameters = inspect.signature(register, eval_str=True).parameters.values()
    return [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for parameter in parameters
        if parameter.name in (*OPTION_COLUMNS, "initial_format", "drive_labels")
        and "Path" not in str(parameter.annotation)
    ]


def with_registration_options(command: Callable[..., None]) -> Callable[..., None]:
    """The command, with all options of a registration among its own."""
    signature = inspect.signature(command, eval_str=True)
    own = [each for each in signature.parameters.values() if each.name != "registration"]
    command.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[*own, *_registration_parameters()]
    )
    return command


def registration_options(given: Mapping[str, Any]) -> RegistrationOptions:
    """The options among the arguments of a command, by the names that `register` has for them."""
    from neuralreg.registration.options import RegistrationOptions
    from neuralreg.studies.table.study_rows import option_value

    record = dict(given)
    record["label_source"] = record.pop("drive_labels", None)
    if record["label_source"] is None:
        record |= {"label_weight": 0.0, "label_source": "given"}
    record["extract_brain"] = record.get("extract_brain") or False
    record["model_options"] = option_value("model_options", " ".join(record.pop("option") or []))
    return RegistrationOptions.from_record(record)


@with_registration_options
def run(
    table: Annotated[
        Path | None,
        typer.Argument(
            help="CSV, TSV, XLSX or JSON lines with the columns id, fixed, moving; with --all-to, "
            "--all-pairs or --consecutive a table with id and image, or a folder of images."
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The folder of the study.")
    ] = None,
    bids: Annotated[
        Path | None, typer.Option(help="Pair the files below a folder by --fixed and --moving.")
    ] = None,
    fixed: Annotated[
        str | None,
        typer.Option(help="Names like sub-{subject}/ses-01/anat/*_T1w.nii.gz, or one file."),
    ] = None,
    moving: Annotated[
        str | None, typer.Option(help="Names; equal names in braces have equal values.")
    ] = None,
    fixed_seg: Annotated[
        str | None, typer.Option(help="For rows without one: a file, or names with --bids.")
    ] = None,
    moving_seg: Annotated[str | None, typer.Option(help="As --fixed-seg.")] = None,
    fixed_mask: Annotated[str | None, typer.Option(help="As --fixed-seg.")] = None,
    moving_mask: Annotated[str | None, typer.Option(help="As --fixed-seg.")] = None,
    initial: Annotated[str | None, typer.Option(help="As --fixed-seg.")] = None,
    bring: Annotated[
        str | None,
        typer.Option(
            help="Images, landmarks, meshes or streamlines of the moving side that come along: "
            "files separated by ;, or names with --bids."
        ),
    ] = None,
    bring_labels: Annotated[
        str | None, typer.Option(help="As --bring, label maps and segmentations.")
    ] = None,
    all_to: Annotated[Path | None, typer.Option(help="Every image onto this one.")] = None,
    all_pairs: Annotated[bool, typer.Option("--all-pairs", help="Every two images.")] = False,
    consecutive: Annotated[
        bool, typer.Option("--consecutive", help="Every image onto the one before it.")
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Read all headers, name all faults, compute nothing.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List what would be done, with time and memory.")
    ] = False,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; as fits.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Of each worker; as fits.")] = None,
    scheduler: Annotated[
        str | None, typer.Option(help="Of Dask, tcp://HOST:PORT: its workers compute.")
    ] = None,
    scheduler_file: Annotated[
        Path | None, typer.Option(help="The file that a scheduler of Dask wrote.")
    ] = None,
    cluster: Annotated[
        str | None, typer.Option(help="slurm, sge, pbs, lsf or ssh: start workers there.")
    ] = None,
    cluster_options: Annotated[
        Path | None, typer.Option(help="YAML with options of the cluster, and jobs or adapt.")
    ] = None,
    retry: Annotated[str | None, typer.Option(help="failed: compute those again.")] = None,
    only: Annotated[list[str] | None, typer.Option(help="An id; repeatable.")] = None,
    limit: Annotated[int | None, typer.Option(min=0, help="At most so many rows.")] = None,
    shard: Annotated[str, typer.Option(help="3/40: this part of the table.")] = "1/1",
    timeout: Annotated[float | None, typer.Option(help="Seconds that a row may take.")] = None,
    patience: Annotated[
        float, typer.Option(help="Seconds to wait for a full disk or a folder that is gone.")
    ] = 600.0,
    names: Annotated[
        str, typer.Option(help="bids: results get the names of BIDS derivatives as well.")
    ] = "plain",
    with_review: Annotated[
        bool, typer.Option("--review", help="Review each result; costs time.")
    ] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    **registration: Any,
) -> None:
    """Register many pairs: supervised, resumed, and accounted for.

    STUDY/<id>/ is what `neuralreg register` writes. Beside them are study.csv (a row a pair, with
    all numbers), study.json, failures.csv and index.html. The same command again computes what is
    missing, failed rows only with --retry failed. `neuralreg batch status STUDY` tells how far it
    is. Ctrl-C waits for the rows in work, a second one does not.
    Exit codes: 0 all done; 1 some failed, or a file has a fault; 2 wrong use.
    """
    from neuralreg.cli.terminal import show_progress, warn
    from neuralreg.errors import InvalidOption
    from neuralreg.studies.accounts.study_summary import StudyFacts
    from neuralreg.studies.execution.row_execution import Settings
    from neuralreg.studies.execution.row_records import StudyFolder
    from neuralreg.studies.execution.study_plan import Choice, parse_shard, plan_study
    from neuralreg.studies.execution.study_run import LocalChoice
    from neuralreg.studies.table.study_check import check_files
    from neuralreg.studies.table.study_forecast import worker_memory_mb
    from neuralreg.studies.table.study_source import StudySource, rows_and_faults

    if retry not in (None, "failed"):
        raise InvalidOption("rows of one state can be tried again", got=retry, wanted="failed")
    if names not in ("plain", "bids"):
        raise InvalidOption(
            "results have one of two kinds of names", got=names, wanted="plain, bids"
        )
    if output is None and not (check or dry_run):
        raise InvalidOption("a study needs a folder", remedy="Name it: -o STUDY.")
    files = {"fixed_seg": fixed_seg, "moving_seg": moving_seg, "fixed_mask": fixed_mask}
    files |= {"moving_mask": moving_mask, "initial": initial}
    files |= {"bring": bring, "bring_labels": bring_labels}
    files["initial_format"] = one_format(registration.pop("initial_format"))
    given = {name: text for name, text in files.items() if text is not None}
    source = StudySource(table, bids, fixed, moving, given, all_to, all_pairs, consecutive)
    options = registration_options(registration)
    rows, faults, notes = rows_and_faults(source, options)
    warn(notes)
    headers: Headers = {}
    if not faults and (check or dry_run):
        with show_progress(quiet) as progress:
            faults, headers = check_files(rows, progress)
    if faults or check:
        _show_faults(faults, rows, as_json)
        serious = any(fault.kind == "table" for fault in faults)
        if faults and not (dry_run and not serious):
            raise typer.Exit(WRONG_USE if serious else SOME_FAILED)
        if check:
            return
    choice = Choice(retry is not None, tuple(only or ()), limit, parse_shard(shard))
    study = StudyFolder(output or Path())
    plan = plan_study(study, rows, choice)
    if dry_run:
        _show_plan(plan, headers, workers, options, as_json)
        return
    places = (scheduler, scheduler_file, cluster, cluster_options)
    engines = _remote_engines(*places, threads)
    if engines is None:
        memory_mb = worker_memory_mb(plan.compute, plan.records.values())
        engines = LocalChoice(workers, threads, options.device, memory_mb).engine
    facts = StudyFacts(source.in_words(), options)
    _compute(
        study,
        plan,
        facts,
        Settings(timeout, patience, with_review),
        engines,
        names == "bids",
        as_json,
        quiet,
    )


def _remote_engines(
    scheduler: str | None,
    scheduler_file: Path | None,
    cluster: str | None,
    cluster_options: Path | None,
    threads: int | None,
) -> Any:
    """What makes the workers of other machines; None for those of this one."""
    from neuralreg.errors import InvalidOption

    ways = [way for way in (scheduler, scheduler_file, cluster) if way is not None]
    if len(ways) > 1:
        raise InvalidOption(
            "one scheduler computes", wanted="--scheduler, --scheduler-file or --cluster"
        )
    if cluster_options is not None and cluster is None:
        raise InvalidOption("options of a cluster need one", wanted="--cluster as well")
    if not ways:
        return None
    from neuralreg.studies.execution import dask_workers

    if cluster is not None and cluster not in dask_workers.CLUSTERS:
        raise InvalidOption("unknown cluster", got=cluster, wanted=", ".join(dask_workers.CLUSTERS))
    options = dask_workers.read_cluster_options(cluster_options) if cluster_options else {}
    return dask_workers.DaskChoice(scheduler, scheduler_file, cluster, options, threads).engine


def _compute(
    study: StudyFolder,
    plan: Plan,
    facts: StudyFacts,
    settings: Settings,
    engines: Engines,
    bids: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    from neuralreg.cli.terminal import show_progress
    from neuralreg.studies.execution.row_records import FAILED, RowRecord
    from neuralreg.studies.execution.study_leader import Interrupts
    from neuralreg.studies.execution.study_run import StudyRun

    def say(message: str) -> None:
        if not quiet:
            typer.echo(message, err=True)

    def report(record: RowRecord) -> None:
        if as_json:
            typer.echo(json.dumps(asdict(record)))
        elif record.failure is not None:
            say(f"{record.id} failed ({record.failure.kind}): {record.failure.reason}")

    say(plan.in_words())
    if plan.gone:
        say(f"no longer in the table, kept: {', '.join(plan.gone[:20])}")
    interrupts = Interrupts()
    with show_progress(quiet) as progress:
        job = StudyRun(study, facts, settings, engines, say, progress, report, bids)
        records = job.work(plan, interrupts)
    wanted = {row.id for row in plan.wanted}
    failed = [record for record in records if record.id in wanted and record.state == FAILED]
    _show_end(study, records, failed, as_json)
    if interrupts.signal:
        raise typer.Exit(128 + interrupts.signal)
    if failed:
        raise typer.Exit(SOME_FAILED)


def _show_end(study: StudyFolder, records: Any, failed: Any, as_json: bool) -> None:
    from neuralreg.studies.accounts.study_summary import count_states

    states = count_states(records)
    if as_json:
        typer.echo(json.dumps({"study": str(study.path), "states": states}))
        return
    words = ", ".join(f"{number} {state}" for state, number in states.items())
    typer.echo(f"{words}: {study.table}")
    if failed:
        typer.echo(f"{len(failed)} failed, with reasons: {study.failures}", err=True)


def _show_faults(faults: list[Fault], rows: list[StudyRow], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"rows": len(rows), "faults": [asdict(fault) for fault in faults]}))
    if not faults and not as_json:
        typer.echo(f"{len(rows)} rows, no faults")
    for fault in faults[:_MOST_FAULTS]:
        typer.echo(fault.in_words(), err=True)
    if len(faults) > _MOST_FAULTS:
        typer.echo(f"and {len(faults) - _MOST_FAULTS} more; --json lists all", err=True)


def _show_plan(
    plan: Plan,
    headers: Headers,
    workers: int | None,
    options: RegistrationOptions,
    as_json: bool,
) -> None:
    from neuralreg.studies.execution.local_workers import worker_count
    from neuralreg.studies.table.study_forecast import forecast_study

    forecast = forecast_study(plan.compute, headers, plan.records.values())
    count = workers or worker_count(len(plan.compute), forecast.memory_mb, options.device)
    if as_json:
        ids = [row.id for row in plan.compute]
        facts = {"rows": ids, "workers": count, "forecast": asdict(forecast)}
        typer.echo(json.dumps({**facts, "gone": plan.gone}))
        return
    for row in plan.compute:
        typer.echo(f"{row.id}: {row.inputs['moving']} onto {row.inputs['fixed']}")
    typer.echo(f"{plan.in_words()}: {forecast.in_words(count)}")


class _Batch(TyperGroup):
    """Without the name of a command, `run` is meant."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        known = [name for name in self.commands if name != "run"]
        return super().parse_args(ctx, args if args[:1] and args[0] in known else ["run", *args])


batch = typer.Typer(cls=_Batch, help="Register many pairs: a table in, results and accounts out.")
batch.command("run", hidden=True, cls=RegisterCommand)(run)
batch.command("status")(status)
