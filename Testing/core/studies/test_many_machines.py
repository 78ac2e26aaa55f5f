"""A study on a real Dask scheduler whose workers are really killed, and on a queue of jobs."""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from neuralreg.errors import PackageMissing, WorkerFailed
from neuralreg.studies.accounts.study_status import read_status
from neuralreg.studies.execution.dask_workers import (
    CLUSTERS,
    DaskChoice,
    RowSlot,
    _cluster_class,
    read_cluster_options,
)
from neuralreg.worker.processes import end_tree

from Testing.core.studies.test_study_run import QUICK, log_of, table_of, wait_for
from Testing.support.command_line import neuralreg
from Testing.support.lead_study import WORKER, lead
from Testing.support.programs import all_end, environment

pytest.importorskip("distributed")
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals are tested")


def start(name: str, *options: object) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", f"distributed.cli.dask_{name}", *map(str, options)],
        env=environment(ROW_SECONDS="0.3"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


@pytest.fixture(scope="module")
def a_scheduler(tmp_path_factory):
    """A scheduler with three worker processes: its file, and the workers."""
    file = tmp_path_factory.mktemp("dask") / "scheduler.json"
    where = ("--scheduler-file", file, "--host", "127.0.0.1")
    scheduler = start("scheduler", *where, "--port", 0, "--no-dashboard")
    wait_for(file.exists, 30)
    workers = [start("worker", *where, "--no-nanny", "--nthreads", 1) for _ in range(3)]
    yield file, workers
    end_tree({process.pid for process in (scheduler, *workers)})
    for process in (scheduler, *workers):
        process.wait()


def test_a_worker_that_is_killed_loses_no_row_and_leaves_no_process(a_scheduler, tmp_path):
    file, workers = a_scheduler
    ids = [f"good-{number}" for number in range(12)]
    table, said = table_of(tmp_path, *ids, "refused-1", "dies-1"), []

    def say(text):
        said.append(text)

    def kill():
        wait_for(lambda: sum(log_of(tmp_path).values()) > 3, 60)
        workers[0].kill()

    killer = threading.Thread(target=kill)
    killer.start()
    engines = DaskChoice(scheduler_file=file, command=WORKER).engine
    records, _ = lead(table, tmp_path / "study", 0, QUICK, engines=engines, say=say)
    killer.join()
    states = {record.id: record.state for record in records}
    assert {states.pop(name) for name in ("refused-1", "dies-1")} == {"failed"}
    assert set(states.values()) == {"done"}
    ends = log_of(tmp_path)
    assert sum(ends[name, "ends"] for name in ids) <= len(ids) + 1  # ended when it was killed
    assert read_status(tmp_path / "study").facts()["scheduler"].startswith("tcp://127.0.0.1")
    assert not list((tmp_path / "study").rglob("lock"))
    assert workers[0].wait() == -signal.SIGKILL
    assert all_end(_workers_of(tmp_path, workers[0].pid), 5.0)


def _workers_of(folder: Path, parent: int) -> set[int]:
    """Processes of rows that belong to one worker of Dask, and no longer to any."""
    pids = {int(line.split()[2]) for line in (folder / "log.txt").read_text().splitlines()}
    return {pid for pid in pids if _parent(pid) in (parent, 1)}


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def test_a_leader_that_is_told_to_stop_calls_its_rows_back(a_scheduler, tmp_path):
    file, _ = a_scheduler
    table = table_of(tmp_path, "hangs-1", "hangs-2")
    leader = subprocess.Popen(
        [sys.executable, "-c", f"""
from pathlib import Path
from neuralreg.studies.execution.dask_workers import DaskChoice
from Testing.support.lead_study import WORKER, lead
engines = DaskChoice(scheduler_file=Path({str(file)!r}), command=WORKER).engine
lead(Path({str(table)!r}), Path({str(tmp_path / "study")!r}), 0, engines=engines)"""],
        env=environment(), stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    wait_for(lambda: sum(log_of(tmp_path).values()), 60)
    leader.send_signal(signal.SIGTERM)
    _, errors = leader.communicate(timeout=20)
    assert leader.returncode == 0, errors
    assert "Traceback" not in errors
    states = {record.state for record in read_status(tmp_path / "study").records}
    assert states == {"waiting"}


def test_a_scheduler_that_does_not_answer_is_one_sentence(tmp_path):
    import dask

    table, engines = table_of(tmp_path, "good-1"), DaskChoice("tcp://127.0.0.1:9").engine
    quick = dask.config.set({"distributed.comm.timeouts.connect": "1s"})
    with quick, pytest.raises(WorkerFailed, match="does not answer"):
        lead(table, tmp_path / "study", 0, engines=engines)


SBATCH = """#!/bin/sh
for last; do :; done
cp "$last" {folder}/script.sh
setsid sh {folder}/script.sh > {folder}/job.txt 2>&1 &
echo $! > {folder}/pid
echo "Submitted batch job $!"
"""


@pytest.fixture
def a_queue(tmp_path, monkeypatch):
    """Programs `sbatch` and `scancel` that run a job on this machine at once."""
    folder = tmp_path / "queue"
    folder.mkdir()
    for name, text in (("sbatch", SBATCH), ("scancel", "#!/bin/sh\nkill -TERM -- -$1\n")):
        (folder / name).write_text(text.format(folder=folder))
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", environment()["PYTHONPATH"])
    yield folder
    if (folder / "pid").exists():
        end_tree({int((folder / "pid").read_text())})


def test_jobs_of_a_queue_compute_a_study_and_end_with_it(a_queue, tmp_path):
    (tmp_path / "slurm.yaml").write_text(
        f"cores: 1\nmemory: 1GB\nqueue: normal\nwalltime: '00:10:00'\npython: {sys.executable}\n"
        "scheduler_options: {host: 127.0.0.1}\njobs: 1\n"
    )
    options = read_cluster_options(tmp_path / "slurm.yaml")
    table = table_of(tmp_path, "good-1", "good-2")
    engines = DaskChoice(cluster="slurm", options=options, command=WORKER).engine
    records, _ = lead(table, tmp_path / "study", 0, QUICK, engines=engines)
    assert {record.state for record in records} == {"done"}, (a_queue / "job.txt").read_text()
    script = (a_queue / "script.sh").read_text()
    assert re.search(r"^#SBATCH -p normal$", script, re.MULTILINE)
    assert re.search(r"^#SBATCH -t 00:10:00$", script, re.MULTILINE)
    assert all_end({int((a_queue / "pid").read_text())}, 10.0)


def test_every_cluster_has_its_class_and_ssh_says_what_it_needs():
    for kind in set(CLUSTERS) - {"ssh"}:
        assert _cluster_class(kind).__name__ == f"{kind.upper()}Cluster"
    if importlib.util.find_spec("asyncssh") is None:
        with pytest.raises(PackageMissing, match="Install asyncssh"):
            _cluster_class("ssh")
    else:
        assert _cluster_class("ssh").__name__ == "SSHCluster"


@pytest.mark.parametrize(
    "words",
    [
        ["--scheduler", "tcp://a:1", "--cluster", "slurm"],
        ["--cluster", "abacus"],
        ["--cluster-options", "none.yaml"],
        ["--cluster", "slurm", "--cluster-options", "none.yaml"],
    ],
)
def test_wrong_use_of_clusters_ends_with_2(tmp_path, words):
    table = table_of(tmp_path, "a")
    done = neuralreg("batch", table, "-o", tmp_path / "s", *words)
    assert done.exit_code == 2
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_machine_shares_its_cores_and_its_gpus_among_its_workers(monkeypatch):
    monkeypatch.setattr("neuralreg.studies.execution.dask_workers.available_cores", lambda: 8)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    variables = RowSlot(4, 1, None).environment("auto")
    assert variables["OMP_NUM_THREADS"] == "2"
    assert variables["CUDA_VISIBLE_DEVICES"] == "5"
    assert RowSlot(4, 1, 1).environment("cpu")["OMP_NUM_THREADS"] == "1"
