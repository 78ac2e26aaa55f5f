"""A study led by a worker of Slicer's module, which has one of its own for that.

The files are those of `neuralreg batch`: either of both goes on with what the other began.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from neuralreg.errors import InvalidOption, UnwritableOutput
from neuralreg.io.files import write_whole
from neuralreg.io.tables import format_table
from neuralreg.progress import Progress
from neuralreg.registration.options import RegistrationOptions
from neuralreg.studies.accounts.study_summary import Ledger, StudyFacts
from neuralreg.studies.execution.row_execution import Settings
from neuralreg.studies.execution.row_records import WAITING, RowRecord, StudyFolder
from neuralreg.studies.execution.study_leader import Interrupts
from neuralreg.studies.execution.study_plan import Choice, Plan, plan_study
from neuralreg.studies.execution.study_run import LocalChoice, StudyRun
from neuralreg.studies.table.study_forecast import worker_memory_mb
from neuralreg.studies.table.study_rows import StudyRow
from neuralreg.studies.table.study_source import StudySource, rows_and_faults

_PATHS = ("table", "bids", "all_to")


def write_scene(arguments: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Write volumes that were handed over as files, and the table that brings all onto the first.

    Args:
        arguments: as of `neuralreg.worker.dataset_job.write_dataset`.
        progress: called for each volume.

    Returns:
        table: its path.

    Raises:
        RegistrationError: as that function does.
    """
    from neuralreg.worker.dataset_job import write_dataset

    write_dataset(arguments, progress)
    fixed, *others = [(case["split"], case["name"]) for case in arguments["cases"]]
    labels = all(case["layers"] is not None for case in arguments["cases"])

    def files(case: tuple[str, str]) -> list[str]:
        kinds = ("images", "labels") if labels else ("images",)
        return [f"{case[0]}/{kind}/{case[1]}.nii.gz" for kind in kinds]

    header = ["id", "fixed", "fixed_seg", "moving", "moving_seg"]
    header = header if labels else ["id", "fixed", "moving"]
    rows = [[case[1], *files(fixed), *files(case)] for case in others]
    path = Path(arguments["folder"]) / "pairs.csv"
    with write_whole(path) as draft:
        draft.write_text(format_table(header, rows), encoding="utf-8", newline="")
    return {"table": str(path)}


def plan(arguments: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """What a study has to do.

    Args:
        arguments: study: its folder; source: fields of `StudySource`; options: a record of those
            common to all rows; retry: whether what failed is computed again.
        progress: called once.

    Returns:
        rows: id, state and reason of each; compute: records of those to be computed; notes.

    Raises:
        InvalidOption: the table has faults.
        UnwritableOutput: the folder cannot be made.
    """
    progress(0.0, "reading the table")
    study, plan, notes, source = _plan(arguments)
    try:
        study.path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UnwritableOutput(
            f"{study.path} cannot be made", got=error.strerror or str(error)
        ) from error
    _ledger(study, plan, source, _options(arguments)).write()
    compute = {row.id for row in plan.compute}
    return {
        "rows": [_state(row, plan, compute) for row in plan.rows],
        "compute": [row.to_record() for row in plan.compute],
        "notes": [*notes, *(f"{name} is no longer among the pairs" for name in plan.gone)],
    }


def run(arguments: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Compute what a study has to do, several rows at once, and write its accounts.

    The rows are led from here and computed by processes of their own, which end with this one.

    Args:
        arguments: as of `plan`; workers: how many at once, 0 for as many as memory and cores allow.
        progress: called with the share of rows that are done with, and with what a person should
            know meanwhile.

    Returns:
        rows: id, state and reason of each; notes of the table.

    Raises:
        InvalidOption: the table has faults.
        UnwritableOutput: the folder is closed.
    """
    progress(0.0, "starting the workers")
    study, plan, notes, source = _plan(arguments)
    options = _options(arguments)
    memory_mb = worker_memory_mb(plan.compute, plan.records.values())
    choice = LocalChoice(
        int(arguments.get("workers") or 0) or None, None, options.device, memory_mb
    )
    shares = [0.0]

    def tell(share: float, _words: str) -> None:
        shares[0] = share
        progress(share, "")

    def say(message: str) -> None:
        progress(shares[0], message)

    facts = StudyFacts(source.in_words(), options)
    job = StudyRun(study, facts, Settings(), choice.engine, say, tell, lambda record: None)
    records = job.work(plan, Interrupts())
    return {"rows": [_words(record) for record in records], "notes": notes}


def write_worklist(arguments: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Write the review's worklist of a study; decisions in it are kept.

    Args:
        arguments: study: the folder.
        progress: called once.

    Returns:
        worklist: its path.

    Raises:
        UnreadableFile: nothing is done yet.
    """
    from neuralreg.review.workflow.worklist import WorklistFile, read_worklist
    from neuralreg.review.workflow.worklist_start import entries_in, resume

    progress(0.0, "listing the results")
    folder = Path(arguments["study"])
    target = folder / "worklist.csv"
    known = read_worklist(target) if target.is_file() else []
    entries = resume(entries_in(folder), known, lambda entry: "")
    WorklistFile(target, known).write(entries)
    return {"worklist": str(target)}


def _plan(arguments: Mapping[str, Any]) -> tuple[StudyFolder, Plan, list[str], StudySource]:
    given = dict(arguments["source"])
    paths = {name: Path(given[name]) for name in _PATHS if given.get(name)}
    source = StudySource(**{**given, **paths})
    rows, faults, notes = rows_and_faults(source, _options(arguments))
    if faults:
        more = f"; and {len(faults) - 3} more" if len(faults) > 3 else ""
        raise InvalidOption(
            "the table has faults",
            where=str(source.table or source.bids),
            got="; ".join(fault.in_words() for fault in faults[:3]) + more,
        )
    study = StudyFolder(Path(arguments["study"]))
    plan = plan_study(study, rows, Choice(retry=bool(arguments.get("retry"))))
    return study, plan, notes, source


def _options(arguments: Mapping[str, Any]) -> RegistrationOptions:
    return RegistrationOptions.from_record(arguments.get("options") or {})


def _ledger(
    study: StudyFolder, plan: Plan, source: StudySource, options: RegistrationOptions
) -> Ledger:
    return Ledger(study, plan, StudyFacts(source.in_words(), options), lambda message: None)


def _state(row: StudyRow, plan: Plan, compute: set[str]) -> dict[str, str]:
    record = plan.records.get(row.id)
    if record is None or row.id in compute:
        return {"id": row.id, "state": WAITING, "reason": ""}
    return _words(record)


def _words(record: RowRecord) -> dict[str, str]:
    reason = record.failure.reason if record.failure else "; ".join(record.warnings)
    return {"id": record.id, "state": record.state, "reason": reason}
