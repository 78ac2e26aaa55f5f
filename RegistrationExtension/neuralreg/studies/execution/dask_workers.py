"""Workers on many machines: Dask hands the rows out, and each of its workers has one of ours.

The machines share the folder of the study and the files of the table, under the same paths.
"""

from __future__ import annotations

import logging
import platform
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from neuralreg.errors import InvalidOption, PackageMissing, UnreadableFile, WorkerFailed
from neuralreg.studies.execution.local_workers import (
    COMMAND,
    Command,
    available_cores,
    gpu_devices,
    worker_environment,
)
from neuralreg.studies.execution.patience import Say
from neuralreg.studies.execution.row_execution import RowTask, compute_row
from neuralreg.studies.execution.row_locks import LockWatch, RowLock
from neuralreg.studies.execution.row_records import RowRecord, StudyFolder
from neuralreg.studies.execution.study_leader import Engine, RowOutcome, outcome_of
from neuralreg.studies.execution.study_plan import Plan
from neuralreg.worker.client import Worker

CLUSTERS = ("slurm", "sge", "pbs", "lsf", "ssh")
_WINDOW = 2  # rows at the scheduler for each that can be computed: no worker waits for the leader
_ASK_S = 1.0  # between looks at the leader's lease and at the number of workers
_ABANDONED_S = 7 * 86400.0  # rows that a dead leader began may still be in work
_log = logging.getLogger(__name__)
_own = threading.local()  # the worker of each thread of a Dask worker
_watch = LockWatch()


@dataclass(frozen=True)
class RowSlot:
    """Where on its machine a Dask worker is.

    Attributes:
        rows: that the machine computes at once.
        number: of the worker on the machine, from 0.
        threads: of one row; the machine's cores divided by the rows unless given.
    """

    rows: int
    number: int
    threads: int | None

    def environment(self, device: str) -> dict[str, str]:
        """The variables of a worker there: its share of the cores, and one GPU."""
        devices = [] if device == "cpu" else gpu_devices()
        chosen = devices[self.number % len(devices)] if devices else None
        return worker_environment(self.threads or max(1, available_cores() // self.rows), chosen)


def compute_remotely(
    task: RowTask, slots: Mapping[str, RowSlot], lease: Path, command: Command
) -> tuple[RowRecord, str]:
    """Compute a row in a Dask worker.

    Args:
        task: what is asked for.
        slots: of all Dask workers, by address.
        lease: of the leader: when its file is gone, the row is left.
        command: how to start a worker.

    Returns:
        The record of the row, and the address of the Dask worker.

    Raises:
        RegistrationError: as `compute_row` does.
    """
    from distributed import get_worker

    address = get_worker().address
    if getattr(_own, "worker", None) is None:
        slot = slots.get(address, RowSlot(1, 0, None))
        _own.worker = Worker(command, environ=slot.environment(task.row.options.device))
    stops = _Lease(lease).is_gone
    return compute_row(task, _own.worker, stops, _log.warning, _watch), address


class _Lease:
    """Looks from time to time whether the leader still wants the row."""

    def __init__(self, path: Path) -> None:
        self._path, self._next, self._gone = path, 0.0, False

    def is_gone(self) -> bool:
        if time.monotonic() > self._next:
            self._next = time.monotonic() + _ASK_S
            # A network folder that is gone takes the lease with it, which means nothing.
            self._gone = self._path.parent.is_dir() and not self._path.exists()
        return self._gone


class DaskWorkers:
    """The workers of a Dask scheduler.

    Args:
        client: of the scheduler.
        lease: of this leader.
        threads: of one row; each machine's cores divided by its rows unless given.
        command: how to start a worker.
        say: takes what a person should know.
    """

    def __init__(
        self,
        client: Any,
        lease: RowLock,
        threads: int | None,
        command: Command,
        say: Say,
    ) -> None:
        self._client, self._lease, self._threads = client, lease, threads
        self._command, self._say = command, say
        self._ended: SimpleQueue[tuple[RowTask, Any]] = SimpleQueue()
        self._futures: dict[int, Any] = {}
        self._slots: dict[str, RowSlot] = {}
        self._counts: dict[str, int] = {}
        self._next = 0.0
        self._warned = False
        self.facts = {"scheduler": client.scheduler.address, "dashboard": dashboard_of(client)}
        say("; ".join(f"{name} {address}" for name, address in self.facts.items() if address))

    def capacity(self) -> int:
        """Rows that all workers of the scheduler compute at once, and as many that wait there."""
        self._look()
        return _WINDOW * sum(self._counts.values())

    def _look(self) -> None:
        """Ask the scheduler for its workers, from time to time."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _ASK_S
        workers = self._client.scheduler_info(n_workers=-1)["workers"]
        self._counts = {address: about["nthreads"] for address, about in workers.items()}
        hosts = {address: about["host"] for address, about in workers.items()}
        for address in workers:
            beside = [each for each in sorted(workers) if hosts[each] == hosts[address]]
            rows = sum(self._counts[each] for each in beside)
            self._slots[address] = RowSlot(max(1, rows), beside.index(address), self._threads)
        if not workers and not self._warned:
            self._say("the scheduler has no workers yet: waiting for them")
        self._warned = not workers

    def submit(self, task: RowTask, avoid: str) -> None:
        """Hand a row to the scheduler."""
        others = [address for address in self._counts if address != avoid] if avoid else []
        future = self._client.submit(
            compute_remotely,
            task,
            dict(self._slots),
            self._lease.path,
            self._command,
            key=f"{task.row.id}-{task.attempt}-{uuid.uuid4().hex[:8]}",
            pure=False,
            workers=others or None,
            allow_other_workers=bool(others),
        )
        self._futures[id(future)] = future
        future.add_done_callback(lambda done: self._ended.put((task, done)))

    def outcomes(self, timeout_s: float) -> Sequence[RowOutcome]:
        """What ended since the last call."""
        ended = []
        try:
            ended.append(self._ended.get(timeout=timeout_s))
            while True:
                ended.append(self._ended.get_nowait())
        except Empty:
            if self._client.status not in ("running", "connecting"):
                raise WorkerFailed(
                    "the scheduler is gone",
                    got=self._client.status,
                    remedy="Start it, then the same command again: what is done stays done.",
                ) from None
            return [self._outcome(task, future) for task, future in ended]

    def _outcome(self, task: RowTask, future: Any) -> RowOutcome:
        self._futures.pop(id(future), None)
        if future.status == "finished":
            record, address = future.result()
            return RowOutcome(task, address, record)
        if future.status in ("cancelled", "lost"):
            lost = WorkerFailed("the scheduler lost the row", got=future.status)
            return RowOutcome(task, "", error=lost)
        return outcome_of(task, "", future)

    def stop(self) -> None:
        """Leave all rows at once: workers see that the lease is gone."""
        self._lease.release()


@dataclass(frozen=True)
class DaskChoice:
    """Which scheduler computes.

    Attributes:
        scheduler: its address.
        scheduler_file: a file that it wrote.
        cluster: one of `CLUSTERS`, which starts workers itself.
        options: of the cluster, by name; `jobs` or `adapt` say how many.
        threads: of one row.
        command: how to start a worker.
    """

    scheduler: str | None = None
    scheduler_file: Path | None = None
    cluster: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    threads: int | None = None
    command: Command = COMMAND

    @contextmanager
    def engine(self, plan: Plan, study: StudyFolder, say: Say) -> Iterator[Engine]:
        """The workers; a cluster that was started for them ends with the block."""
        with self._client(say) as client:
            lease = _lease_of(study)
            try:
                yield DaskWorkers(client, lease, self.threads, self.command, say)
            finally:
                lease.release()

    @contextmanager
    def _client(self, say: Say) -> Iterator[Any]:
        try:
            from distributed import Client
        except ModuleNotFoundError as error:
            raise _package_missing(error) from error
        logging.getLogger("distributed").setLevel(logging.ERROR)  # of what is said in our words
        with _cluster(self.cluster, self.options) as cluster:
            where = cluster or self.scheduler
            try:
                client = Client(
                    where, scheduler_file=_text(self.scheduler_file), set_as_default=False
                )
            except (OSError, ValueError) as error:  # a timeout is an OSError
                raise WorkerFailed(
                    "the scheduler does not answer",
                    where=str(self.scheduler or self.scheduler_file),
                    got=str(error),
                    remedy="Check its address, and that it runs.",
                ) from error
            with client:
                yield client


def dashboard_of(client: Any) -> str:
    """The address of the scheduler's dashboard; "" when it has none."""
    services = client.scheduler_info(n_workers=0).get("services", {})
    return str(client.dashboard_link) if "dashboard" in services else ""


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def _lease_of(study: StudyFolder) -> RowLock:
    """A lease of this leader; those of leaders that died long ago go."""
    study.leases.mkdir(parents=True, exist_ok=True)
    for path in list(study.leases.iterdir()):
        if time.time() - path.stat().st_mtime > _ABANDONED_S:
            path.unlink(missing_ok=True)
    name = f"{platform.node()}-{uuid.uuid4().hex[:8]}"
    lease = _watch.acquire(study.leases / name)
    assert lease is not None  # nobody else has such a name
    return lease


@contextmanager
def _cluster(kind: str | None, options: Mapping[str, Any]) -> Iterator[Any]:
    if kind is None:
        yield None
        return
    settings = dict(options)
    jobs, adapt = settings.pop("jobs", None), settings.pop("adapt", None)
    # The usual port may be another study's, of which Python would warn.
    settings["scheduler_options"] = {
        "dashboard_address": ":0",
        **(settings.get("scheduler_options") or {}),
    }
    try:
        cluster = _cluster_class(kind)(**settings)
    except (TypeError, ValueError) as error:
        raise InvalidOption(
            f"these are no options of a {kind} cluster",
            got=str(error),
            remedy="Their names are those of dask-jobqueue (ssh: distributed.SSHCluster).",
        ) from error
    with cluster:
        if adapt is not None:
            cluster.adapt(**adapt)
        elif kind != "ssh":
            cluster.scale(jobs=jobs or 1)
        yield cluster


def _cluster_class(kind: str) -> Any:
    try:
        if kind == "ssh":
            import asyncssh  # noqa: F401
            from distributed import SSHCluster

            return SSHCluster
        import dask_jobqueue
    except ModuleNotFoundError as error:
        raise _package_missing(error) from error
    if kind not in CLUSTERS:
        raise InvalidOption("unknown cluster", got=kind, wanted=", ".join(CLUSTERS))
    return getattr(dask_jobqueue, f"{kind.upper()}Cluster")


def _package_missing(error: ModuleNotFoundError) -> PackageMissing:
    extra = "asyncssh" if error.name == "asyncssh" else "neuralreg[batch]"
    return PackageMissing(
        f"many machines need the package {error.name}", remedy=f"Install {extra}."
    )


def read_cluster_options(path: Path) -> dict[str, Any]:
    """The options of a cluster in a YAML file.

    Raises:
        UnreadableFile: The file is missing, or holds no options by name.
    """
    import yaml

    try:
        options = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UnreadableFile(f"{path} cannot be read", got=reason) from error
    if not isinstance(options, dict):
        raise UnreadableFile(f"{path} holds no options by name", wanted="such as: cores: 4")
    return options
