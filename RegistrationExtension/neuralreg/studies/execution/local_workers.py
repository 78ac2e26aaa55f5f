"""Worker processes of this machine, each of which keeps its model."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Empty, SimpleQueue

from neuralreg.resources import free_memory
from neuralreg.studies.execution.row_execution import RowTask, compute_row
from neuralreg.studies.execution.row_locks import LockWatch
from neuralreg.studies.execution.row_records import RowRecord
from neuralreg.studies.execution.study_leader import RowOutcome, outcome_of
from neuralreg.worker.client import Worker

WARM_MB = 350.0  # that a worker holds already when it gets a row
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
)
Command = Sequence[str]
COMMAND: Command = (sys.executable, "-m", "neuralreg.worker")


def available_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def gpu_devices() -> list[str]:
    """The GPUs that workers may use, as CUDA_VISIBLE_DEVICES names them."""
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        return [name for name in os.environ["CUDA_VISIBLE_DEVICES"].split(",") if name.strip()]
    numbers = (path.name.removeprefix("nvidia") for path in Path("/dev").glob("nvidia[0-9]*"))
    return sorted(number for number in numbers if number.isdigit())


def worker_count(rows: int, memory_mb: float, device: str) -> int:
    """As many workers as rows, cores, GPUs and memory allow.

    Args:
        rows: to compute.
        memory_mb: that one worker is expected to need.
        device: of the options; only "cpu" leaves the GPUs out.
    """
    devices = [] if device == "cpu" else gpu_devices()
    most = len(devices) or available_cores()
    free = free_memory()
    if free is not None:
        most = min(most, int(0.9 * free / 2**20 / memory_mb))
    return max(1, min(most, rows))


def worker_environment(threads: int, device: str | None = None) -> dict[str, str]:
    """The variables of a worker with so many threads, that sees one GPU.

    Args:
        threads: of its libraries.
        device: as `gpu_devices` names it; all unless given.
    """
    variables = {**os.environ, **dict.fromkeys(_THREAD_VARIABLES, str(threads))}
    if device is not None:
        variables["CUDA_VISIBLE_DEVICES"] = device
    return variables


class LocalWorkers:
    """Several worker processes, each led by a thread of this one.

    Args:
        count: of workers.
        threads: of each worker.
        device: of the options.
        say: takes what a person should know.
        command: how to start a worker.
    """

    def __init__(
        self,
        count: int,
        threads: int,
        device: str,
        say: Callable[[str], None],
        command: Command = COMMAND,
    ) -> None:
        devices = [] if device == "cpu" else gpu_devices()
        self.facts = {"workers": count, "threads": threads}
        self._say, self._watch = say, LockWatch()
        self._stops = threading.Event()
        self._ended: SimpleQueue[RowOutcome] = SimpleQueue()
        self._idle: list[int] = list(range(count))
        self._busy: dict[str, int] = {}
        self._need_mb = 0.0
        self._workers = [
            Worker(
                command,
                environ=worker_environment(threads, devices[n % len(devices)] if devices else None),
            )
            for n in range(count)
        ]
        self._leads = [ThreadPoolExecutor(1, f"worker {number}") for number in range(count)]

    def capacity(self) -> int:
        """All workers, or those at work while memory is short for one more."""
        total = len(self._workers)
        busy = total - len(self._idle)
        free = free_memory() if busy and self._need_mb else None
        short = free is not None and free / 2**20 < self._need_mb - WARM_MB
        return busy if short else total

    def submit(self, task: RowTask, avoid: str) -> None:
        """Begin a row on an idle worker."""
        others = [number for number in self._idle if str(number) != avoid]
        number = (others or self._idle)[0]
        self._idle.remove(number)
        future = self._leads[number].submit(self._compute, task, number)
        future.add_done_callback(lambda done: self._ended.put(outcome_of(task, str(number), done)))

    def outcomes(self, timeout_s: float) -> Sequence[RowOutcome]:
        """What ended since the last call."""
        ended = []
        try:
            ended.append(self._ended.get(timeout=timeout_s))
            while True:
                ended.append(self._ended.get_nowait())
        except Empty:
            for outcome in ended:
                self._idle.append(int(outcome.worker))
                if outcome.record is not None and outcome.record.memory_mb is not None:
                    self._need_mb = max(self._need_mb, outcome.record.memory_mb)
            return ended

    def stop(self) -> None:
        """Leave all rows at once."""
        self._stops.set()

    def close(self) -> None:
        """End all workers."""
        self._stops.set()
        for lead, worker in zip(self._leads, self._workers, strict=True):
            lead.shutdown()
            worker.close()

    def _compute(self, task: RowTask, number: int) -> RowRecord:
        worker = self._workers[number]
        return compute_row(task, worker, self._stops.is_set, self._say, self._watch)
