"""A study from a table to its accounts: planned, computed, and written down."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from neuralreg.errors import UnwritableOutput
from neuralreg.io.files import container_of
from neuralreg.progress import Progress
from neuralreg.studies.accounts.bids_names import name_results, require_own_names, write_dataset
from neuralreg.studies.accounts.study_summary import Ledger, StudyFacts
from neuralreg.studies.execution.local_workers import (
    COMMAND,
    Command,
    LocalWorkers,
    available_cores,
    worker_count,
)
from neuralreg.studies.execution.patience import Patience, Say
from neuralreg.studies.execution.row_execution import RowTask, Settings
from neuralreg.studies.execution.row_records import DONE, FAILED, RowRecord, StudyFolder
from neuralreg.studies.execution.study_leader import Engine, Interrupts, Leader
from neuralreg.studies.execution.study_plan import Plan
from neuralreg.studies.table.study_forecast import USUAL_MB
from neuralreg.studies.table.study_rows import StudyRow

Engines = Callable[[Plan, StudyFolder, Say], AbstractContextManager[Engine]]


@dataclass(frozen=True)
class LocalChoice:
    """Workers of this machine.

    Attributes:
        workers: as many as memory and cores allow unless given.
        threads: of each; the cores divided by the workers unless given.
        device: of the options.
        memory_mb: that one worker is expected to need.
        command: how to start a worker.
    """

    workers: int | None = None
    threads: int | None = None
    device: str = "auto"
    memory_mb: float = USUAL_MB
    command: Command = COMMAND

    @contextmanager
    def engine(self, plan: Plan, study: StudyFolder, say: Say) -> Iterator[Engine]:
        """The workers, which end with the block."""
        count = self.workers or worker_count(len(plan.compute), self.memory_mb, self.device)
        threads = self.threads or max(1, available_cores() // count)
        say(f"workers: {count}, threads of each: {threads}")
        workers = LocalWorkers(count, threads, self.device, say, self.command)
        try:
            yield workers
        finally:
            workers.close()


@dataclass(frozen=True)
class StudyRun:
    """How a study is run.

    Attributes:
        study: its folder.
        facts: about it.
        settings: of its rows.
        engines: makes what computes.
        say: takes what a person should know.
        progress: called with the share of rows that are done with, and in words.
        report: takes the record of each row that is done with.
        bids: whether results get names of BIDS derivatives as well.
    """

    study: StudyFolder
    facts: StudyFacts
    settings: Settings
    engines: Engines
    say: Say
    progress: Progress
    report: Callable[[RowRecord], None]
    bids: bool = False

    def work(self, plan: Plan, interrupts: Interrupts) -> list[RowRecord]:
        """Compute what is planned, and write the accounts.

        Returns:
            The records of all rows of the table.

        Raises:
            UnwritableOutput: The folder is closed.
        """
        if self.bids:
            require_own_names(plan.rows)
        try:
            self.study.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UnwritableOutput(
                f"{self.study.path} cannot be made", got=error.strerror or str(error)
            ) from error
        ledger = Ledger(self.study, plan, self.facts, self.say)
        ledger.write()
        if plan.compute:
            with interrupts.handle_signals(), self.engines(plan, self.study, self.say) as engine:
                ledger.describe(engine.facts)
                self._lead(engine, plan, ledger, interrupts)
        return self._patience(interrupts).attempt(
            lambda: self._close(ledger, plan), self.study.record
        )

    def _patience(self, interrupts: Interrupts) -> Patience:
        return Patience(self.settings.patience_s, lambda: interrupts.stopping, self.say)

    def _close(self, ledger: Ledger, plan: Plan) -> list[RowRecord]:
        records = ledger.write()
        if self.bids:
            write_dataset(self.study, plan.rows)
            for row, record in zip(plan.rows, records, strict=True):
                name_results(self.study, row, record)
        return records

    def _lead(self, engine: Engine, plan: Plan, ledger: Ledger, interrupts: Interrupts) -> None:
        states: list[str] = []

        def keep(record: RowRecord) -> None:
            ledger.keep(record)
            self.report(record)
            states.append(record.state)
            words = f"{states.count(DONE)} of {len(plan.compute)} done"
            failed = states.count(FAILED)
            self.progress(
                len(states) / len(plan.compute), words + f", {failed} failed" * bool(failed)
            )

        leader = Leader(engine, keep, self.say, interrupts, ledger.refresh)
        leader.work([self._task(row, plan) for row in plan.compute])

    def _task(self, row: StudyRow, plan: Plan) -> RowTask:
        complete = all(container_of(path).exists() for path in row.inputs.values())
        folder = self.study.path.absolute()
        return RowTask(folder, row, self.settings, plan.attempt(row.id), complete)
