"""A study on the module's worker queue: one job for each pair, so that other jobs come between."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

_ACCOUNTS_EVERY = 10  # pairs


class Study:
    """Works through the pairs of a study, one job after the other.

    onChanged: called whenever there is news. rows: id, state and reason of each pair. stage: what
    is under way, in words. error: why the study could not be begun. ended: nothing is under way.
    """

    def __init__(self, onChanged: Callable[[], None]) -> None:
        self._onChanged = onChanged
        self.rows: list[dict[str, str]] = []
        self.notes: list[str] = []
        self.error, self.job, self.fraction, self.stage = None, None, 0.0, ""
        self._arguments: dict[str, Any] = {}
        self._waiting: list[Mapping[str, Any]] = []
        self._lost: dict[str, str] = {}
        self._since = 0
        self._stopping = False

    @property
    def ended(self) -> bool:
        return self.job is None

    @property
    def folder(self) -> str:
        return self._arguments.get("study", "")

    def start(self, arguments: Mapping[str, Any], images=None) -> None:
        """Begin or continue a study.

        arguments: as `neuralreg.studies.execution.module_jobs.plan` takes them. images: steps that
        hand over volumes of the scene, which become the files of the study first.
        """
        self.__init__(self._onChanged)
        self._arguments = dict(arguments)
        if images is None:
            self._submit("study_plan", self._arguments, self._takePlan)
        else:
            self._submit("study_scene", images, self._takeTable)

    def stop(self) -> None:
        """Leave the pair in work; what is done stays done."""
        self._stopping = True
        self._waiting = []
        if self.job is not None:
            self.job.cancel()

    def count(self, state: str) -> int:
        """How many pairs are in a state."""
        return sum(row["state"] == state for row in self.rows)

    def _submit(self, kind: str, arguments, take: Callable[[Any], None], row: str = "") -> None:
        from NeuralRegistrationLib.Worker.Queue import queue

        self.job = queue().submit(
            kind,
            arguments,
            onProgress=lambda job: self._follow(job, row),
            onDone=lambda job: self._finish(job, take, row),
        )
        self._onChanged()

    def _follow(self, job, row: str) -> None:
        self.fraction, self.stage = job.progress.fraction, job.progress.stage
        if row:
            self._set(row, "running", job.progress.stage)
        self._onChanged()

    def _finish(self, job, take: Callable[[Any], None], row: str) -> None:
        self.job = None
        if job.state == "done":
            take(job.result)
        elif job.state == "cancelled" or self._stopping:
            self._leave(row)
        elif row:
            self._lost[row] = str(job.error)
            self._set(row, "failed", str(job.error))
            self._next()
        else:
            self.error = job.error
            self._onChanged()

    def _leave(self, row: str) -> None:
        """The pair in work was stopped; whoever cancelled the job ends the study, too."""
        self._stopping, self._waiting = True, []
        if row:
            self._set(row, "waiting", "")
        self._onChanged()

    def _takeTable(self, result: Mapping[str, Any]) -> None:
        self._arguments["source"] = {"table": result["table"]}
        self._submit("study_plan", self._arguments, self._takePlan)

    def _takePlan(self, plan: Mapping[str, Any]) -> None:
        self.rows = [dict(row) for row in plan["rows"]]
        self.notes, self._waiting = list(plan["notes"]), list(plan["compute"])
        self._next()

    def _takeRow(self, row: Mapping[str, str]) -> None:
        self._set(row["id"], row["state"], row["reason"])
        self._since += 1
        self._next()

    def _next(self) -> None:
        if self._since >= _ACCOUNTS_EVERY or (not self._waiting and self._needsAccounts):
            self._since = 0
            lost, self._lost = self._lost, {}
            arguments = {**self._arguments, "lost": lost}
            self._submit("study_accounts", arguments, lambda result: self._next())
        elif self._waiting:
            row = self._waiting.pop(0)
            arguments = {"study": self.folder, "row": row}
            self._submit("study_row", arguments, self._takeRow, row["id"])
        else:
            self._onChanged()

    @property
    def _needsAccounts(self) -> bool:
        return bool(self._since or self._lost)

    def _set(self, name: str, state: str, reason: str) -> None:
        for row in self.rows:
            if row["id"] == name:
                row.update(state=state, reason=reason)
