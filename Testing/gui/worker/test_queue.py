"""The queue on Qt's event loop with real worker processes, some of which misbehave."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
import slicer
from neuralreg.errors import (
    Cancelled,
    InvalidImage,
    InvalidOption,
    OutOfMemory,
    UnwritableOutput,
    WorkerFailed,
)
from neuralreg.worker.processes import tree

from Testing.support.paths import TEST_DATA
from Testing.support.programs import all_end

ODD = [sys.executable, str(TEST_DATA / "odd_jobs.py"), "--cold"]


@pytest.fixture
def jobs(the_application):
    from NeuralRegistrationLib.Worker import Queue

    return Queue


@pytest.fixture
def a_queue(jobs):
    queue = jobs.Queue(ODD)
    yield queue
    queue.close()


@pytest.fixture
def run(a_queue, wait_until):
    """Submits a job and gives it when it has ended."""

    def run(kind, arguments=None, **more):
        job = a_queue.submit(kind, arguments or {}, **more)
        wait_until(lambda: job.ended)
        return job

    return run


def scratch(application) -> list[Path]:
    """Folders of workers, but for those of other files of tests, which are kept warm."""
    return sorted(set(Path(application.temporaryPath).glob("neuralreg-*")) - _of_others)


_of_others: set[Path] = set()


@pytest.fixture(scope="module", autouse=True)
def _others_folders(the_application):
    _of_others.update(scratch(the_application))


def test_a_job_is_told_from_waiting_to_done(run):
    seen = []
    ended = []
    job = run(
        "stages",
        {"seconds": 0.15},
        onProgress=lambda job: seen.append((job.state, job.progress)),
        onDone=ended.append,
    )
    assert ended == [job]
    assert job.state == "done"
    assert job.result == {"seconds": 0.15}
    assert list(dict.fromkeys(state for state, _ in seen)) == ["preparing", "running", "delivering"]
    fractions = [progress.fraction for _, progress in seen]
    assert fractions == sorted(fractions)
    assert {f"stage {n}" for n in range(10)} <= {progress.stage for _, progress in seen}
    late = [p.remainingSeconds for _, p in seen if p.remainingSeconds is not None]
    assert late[-1] < late[0]
    assert job.progress.fraction == 1.0


def test_jobs_are_done_in_order_by_one_worker(a_queue, wait_until):
    ended = []
    made = [a_queue.submit("count", {}, onDone=ended.append) for _ in range(3)]
    assert a_queue.jobs == made
    assert [job.state for job in made] == ["waiting"] * 3
    wait_until(lambda: len(ended) == 3)
    assert ended == made
    assert [job.result["before"] for job in made] == [0, 1, 2]
    assert len({job.result["pid"] for job in made}) == 1
    assert a_queue.jobs == []


def test_arrays_reach_the_worker_and_come_back(run):
    array = np.arange(24.0).reshape(2, 3, 4)
    job = run("stages", {"array": array, "seconds": 0.0})
    assert np.array_equal(job.result["array"], array)


def test_a_waiting_job_can_be_cancelled_and_the_others_go_on(a_queue, wait_until):
    first, second, third = (a_queue.submit("count", {}) for _ in range(3))
    second.cancel()
    assert (second.state, type(second.error)) == ("cancelled", Cancelled)
    wait_until(lambda: third.ended)
    assert (first.state, third.result["before"]) == ("done", 1)


@pytest.mark.parametrize("state", ["preparing", "running", "delivering"])
def test_a_cancelled_job_leaves_no_process_and_no_file(a_queue, wait_until, the_application, state):
    def slowly(value):
        while True:
            yield

    kind = "family" if state == "running" else "count"
    arguments = slowly(None) if state == "preparing" else {}
    deliver = slowly if state == "delivering" else None
    job = a_queue.submit(kind, arguments, deliver=deliver)
    processes = 5 if state == "running" else 1
    wait_until(lambda: job.state == state and len(tree({a_queue.pid})) == processes)
    family = tree({a_queue.pid})
    job.cancel()
    assert job.state == "cancelled"
    assert all_end(family)
    wait_until(lambda: scratch(the_application) == [])
    after = a_queue.submit("count", {})
    wait_until(lambda: after.ended)
    assert after.result["before"] == 0


def test_cancelling_twice_or_too_late_does_nothing(run):
    ended = []
    job = run("count", onDone=ended.append)
    job.cancel()
    assert job.state == "done"
    assert len(ended) == 1


def test_an_error_of_the_job_arrives_whole_and_the_worker_stays(run):
    first = run("count")
    job = run("refuse")
    assert (job.state, job.result) == ("failed", None)
    assert isinstance(job.error, InvalidImage)
    assert (job.error.where, job.error.remedy) == ("here", "Do something else.")
    assert run("count").result["pid"] == first.result["pid"]


def test_an_unknown_kind_is_an_error(run):
    assert isinstance(run("dance").error, InvalidOption)


@pytest.mark.parametrize(
    ("kind", "kind_of_error", "words"),
    [
        ("garbage", WorkerFailed, "unreadable message"),
        ("stumble", WorkerFailed, "nobody thought of it"),
        ("hog", OutOfMemory, "too little memory"),
    ],
)
def test_whatever_befalls_the_worker_is_one_error_and_the_next_job_works(
    run, the_application, kind, kind_of_error, words
):
    ended = []
    job = run(kind, onDone=ended.append)
    assert len(ended) == 1
    assert isinstance(job.error, kind_of_error)
    assert words in str(job.error)
    assert run("count").state == "done"


def test_a_killed_worker_is_one_error_and_its_children_end_too(a_queue, wait_until, run):
    job = a_queue.submit("family", {})
    wait_until(lambda: a_queue.pid and len(tree({a_queue.pid})) == 5)
    family = tree({a_queue.pid})
    os.kill(a_queue.pid, signal.SIGKILL)
    wait_until(lambda: job.ended)
    assert "was killed" in str(job.error)
    assert all_end(family)  # also the child that leads a group of its own
    assert run("count").result["before"] == 0


def test_a_worker_that_hangs_is_ended(jobs, wait_until):
    queue = jobs.Queue(ODD, silentSeconds=3.0)
    job = queue.submit("freeze", {})
    wait_until(lambda: job.ended)
    assert "no sign of life" in str(job.error)
    assert queue.pid is None
    queue.close()


def test_a_worker_that_dies_between_jobs_is_replaced(a_queue, run, wait_until):
    pid = run("count").result["pid"]
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: a_queue.pid is None)
    assert run("count").result["before"] == 0


def test_a_worker_behind_a_launcher_is_ended_with_it(jobs, wait_until, the_application):
    """As PythonSlicer is: killing what was started would leave the Python behind it alone."""
    code = f'{sys.executable} {ODD[1]} --cold "$@"; true'
    queue = jobs.Queue(["sh", "-c", code, "sh"])
    for moment in ("preparing", "running"):
        job = queue.submit("family", {})
        wait_until(lambda moment=moment, job=job: job.state == moment)
        if moment == "running":
            wait_until(lambda: len(tree({queue.pid})) == 6)
        family = tree({queue.pid})
        job.cancel()
        assert all_end(family | {queue.pid or 0} - {0})
    wait_until(lambda: scratch(the_application) == [])
    queue.close()


def test_a_python_that_cannot_be_started_is_an_error(jobs, wait_until, the_application):
    queue = jobs.Queue(["/no/such/python"])
    job = queue.submit("count", {})
    wait_until(lambda: job.ended)
    assert "could not be started" in str(job.error)
    wait_until(lambda: scratch(the_application) == [])
    queue.close()


def test_a_temporary_folder_that_is_missing_is_an_error(run, the_application, monkeypatch):
    monkeypatch.setattr(the_application, "_folder", "/no/such/folder")
    job = run("count")
    assert isinstance(job.error, UnwritableOutput)
    monkeypatch.undo()
    assert run("count").state == "done"


def test_what_the_worker_says_is_in_the_log(run):
    job = run("chatter")
    assert "python says hello" in job.log
    run("stumble")
    assert "in stumble" in job.log


def test_an_idle_worker_is_ended(jobs, wait_until, the_application):
    queue = jobs.Queue(ODD, idleSeconds=0.3)
    job = queue.submit("count", {})
    wait_until(lambda: job.ended)
    wait_until(lambda: queue.pid is None)
    assert all_end({job.result["pid"]})
    wait_until(lambda: scratch(the_application) == [])
    queue.close()


def test_closing_the_scene_cancels_its_jobs(a_queue, a_scene, wait_until, the_application):
    current = a_queue.submit("family", {}, scene=a_scene)
    waiting = a_queue.submit("count", {}, scene=a_scene)
    other = a_queue.submit("count", {})
    wait_until(lambda: a_queue.pid and len(tree({a_queue.pid})) == 5)
    family = tree({a_queue.pid})
    a_scene.Clear(False)
    assert (current.state, waiting.state) == ("cancelled", "cancelled")
    assert all_end(family)
    wait_until(lambda: other.ended)
    assert other.state == "done"


@pytest.mark.parametrize("state", ["ImportState", "SaveState"])
def test_nothing_comes_into_a_scene_that_is_read_or_saved(a_queue, a_scene, wait_until, state):
    def deliver(value):
        yield
        return a_scene.AddNewNodeByClass("vtkMRMLTextNode", "result")

    a_scene.StartState(getattr(a_scene, state))
    job = a_queue.submit("count", {}, scene=a_scene, deliver=deliver)
    wait_until(lambda: job.state == "delivering")
    for _ in range(20):
        slicer.app.processEvents()
    assert a_scene.GetFirstNodeByName("result") is None
    a_scene.EndState(getattr(a_scene, state))
    wait_until(lambda: job.ended)
    assert job.result is a_scene.GetFirstNodeByName("result")


def test_leaving_the_application_ends_everything(a_queue, wait_until, the_application):
    job = a_queue.submit("family", {})
    wait_until(lambda: a_queue.pid and len(tree({a_queue.pid})) == 5)
    family = tree({a_queue.pid})
    the_application.aboutToQuit.emit()
    assert job.state == "cancelled"
    assert all_end(family)
    wait_until(lambda: scratch(the_application) == [])


def test_a_job_that_has_become_pointless_is_ended_while_it_runs(a_queue, wait_until):
    pointless = []

    def check():
        if pointless:
            raise InvalidImage("nobody needs this any more")

    job = a_queue.submit("stages", {"seconds": 0.5}, check=check)
    wait_until(lambda: job.progress.stage == "stage 1")
    pointless.append(True)
    wait_until(lambda: job.ended)
    assert "nobody needs this" in str(job.error)
    assert a_queue.pid is None


def test_an_error_in_a_step_ends_the_job_in_words(a_queue, wait_until):
    def broken():
        yield
        raise KeyError("oh")

    job = a_queue.submit("count", broken())
    wait_until(lambda: job.ended)
    assert "KeyError" in str(job.error)
