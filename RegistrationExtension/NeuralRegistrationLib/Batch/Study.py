"""A study: led by a worker of its own, whose processes compute several pairs at once."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import qt

_LOOK_MS = 500  # between two looks at the table of the study
_TABLE = "study.csv"
_WAITING = {"id": "", "state": "waiting", "reason": ""}


class Study:
    """Works through the pairs of a study as `neuralreg batch` does.

    onChanged: called whenever there is news. rows: id, state and reason of each pair. error: why
    the study could not be begun, or ended. ended: nothing is under way.
    """

    def __init__(self, onChanged: Callable[[], None]) -> None:
        self._onChanged = onChanged
        self._clock = qt.QTimer()
        self._clock.setInterval(_LOOK_MS)
        self._clock.connect("timeout()", self._look)
        self._clear()

    def _clear(self) -> None:
        self.rows: list[dict[str, str]] = []
        self.notes: list[str] = []
        self.error, self.job = None, None
        self._arguments: dict[str, Any] = {}
        self._seen = 0

    @property
    def ended(self) -> bool:
        return self.job is None

    @property
    def folder(self) -> str:
        return self._arguments.get("study", "")

    def start(self, arguments: Mapping[str, Any], images=None) -> None:
        """Begin or continue a study.

        arguments: as `neuralreg.studies.execution.module_jobs.run` takes them. images: steps that
        hand over volumes of the scene, which become the files of the study first.
        """
        self._clear()
        self._arguments = dict(arguments)
        if images is None:
            self._submit("study_plan", self._arguments, self._takePlan)
        else:
            self._submit("study_scene", images, self._takeTable)

    def stop(self) -> None:
        """Leave the pairs in work; what is done stays done."""
        if self.job is not None:
            self.job.cancel()

    def count(self, state: str) -> int:
        """How many pairs are in a state."""
        return sum(row["state"] == state for row in self.rows)

    def _submit(self, kind: str, arguments, take: Callable[[Any], None]) -> None:
        self.job = queue().submit(
            kind,
            arguments,
            onProgress=lambda job: self._onChanged(),
            onDone=lambda job: self._finish(job, take),
        )
        self._onChanged()

    def _finish(self, job, take: Callable[[Any], None]) -> None:
        self.job = None
        self._clock.stop()
        if job.state == "done":
            take(job.result)
            return
        for row in self.rows:  # those in work were left
            if row["state"] == "running":
                row.update(state="waiting", reason="")
        self.error = job.error if job.state == "failed" else None
        self._onChanged()

    def _takeTable(self, result: Mapping[str, Any]) -> None:
        self._arguments["source"] = {"table": result["table"]}
        self._submit("study_plan", self._arguments, self._takePlan)

    def _takePlan(self, plan: Mapping[str, Any]) -> None:
        self.rows = [dict(row) for row in plan["rows"]]
        self.notes = list(plan["notes"])
        if plan["compute"]:
            self._seen = self._tableTime()  # what was written before says nothing new
            self._submit("study_run", self._arguments, self._takeResult)
            self._clock.start()
        else:
            self._onChanged()

    def _takeResult(self, result: Mapping[str, Any]) -> None:
        self.rows, self.notes = [dict(row) for row in result["rows"]], list(result["notes"])
        self._onChanged()

    def _tableTime(self) -> int:
        path = Path(self.folder) / _TABLE
        return path.stat().st_mtime_ns if path.is_file() else 0

    def _look(self) -> None:
        """Take the states of the pairs from the table that is written while they are computed."""
        time = self._tableTime()
        if time == self._seen:
            return
        self._seen = time
        with (Path(self.folder) / _TABLE).open(encoding="utf-8", newline="") as file:
            written = {row["id"]: row for row in csv.DictReader(file)}
        for row in self.rows:
            new = written.get(row["id"], _WAITING)
            row.update(state=new["state"], reason=new["reason"])
        self._onChanged()


_queues: list = []


def queue():
    """The queue of studies: a worker that leads them, so that other work goes on meanwhile."""
    from NeuralRegistrationLib.Worker.Queue import Queue

    if not _queues:
        _queues.append(Queue(warm=False))
    return _queues[0]
