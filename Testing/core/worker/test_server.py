"""The worker as a real process: it answers, and whatever befalls it is one clear error."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import neuralreg
import numpy as np
import pytest
import SimpleITK as sitk
from neuralreg.errors import (
    Cancelled,
    IncompatibleModel,
    InvalidImage,
    InvalidOption,
    OutOfMemory,
    PackageMissing,
    WeightsUnavailable,
    WorkerFailed,
)
from neuralreg.resources import memory_kills
from neuralreg.worker.client import Worker
from neuralreg.worker.messages import RegisterJob, Voxels
from neuralreg.worker.processes import environment, tree
from neuralreg.worker.protocol import WorkerKilled

from Testing.support.paths import ROOT, TEST_DATA
from Testing.support.phantom import CUBE, seen
from Testing.support.programs import all_end

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals are tested")

ODD = (sys.executable, str(TEST_DATA / "odd_jobs.py"), "--cold")
SMALL = CUBE.resize((20, 22, 18))


@pytest.fixture(scope="module")
def a_worker():
    with Worker(ODD, silent_s=20.0) as worker:
        yield worker


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """A folder in which everything temporary lies."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    yield tmp_path
    monkeypatch.setattr("tempfile.tempdir", None)


def cancel(fraction: float, stage: str) -> None:
    if stage == "waiting":
        raise Cancelled("stopped")


def test_a_worker_registers_as_the_core_does(a_worker):
    fixed, moving = seen(SMALL), seen(SMALL, lambda p: p + [4.0, -3.0, 2.0], seed=1)
    expected = neuralreg.register(fixed, moving)
    images = [Voxels(image.data[0].numpy(), image.grid) for image in (fixed, moving)]
    told = []
    found = a_worker.run("register", RegisterJob(*images), lambda *facts: told.append(facts))
    assert found.outcome.similarity_final == pytest.approx(expected.outcome.similarity_final, 1e-3)
    vectors = np.moveaxis(expected.field.vectors.numpy(), 0, -1)
    assert np.abs(found.field.vectors - vectors).max() < 0.05  # threads may differ
    assert found.warped.dtype == np.float32
    fractions = [fraction for fraction, _ in told]
    assert fractions == sorted(fractions)
    assert {"pre-alignment", "refinement", "warping"} <= {stage for _, stage in told}


def test_a_worker_is_kept_warm_for_the_next_job(a_worker):
    first, second = (a_worker.run("count", {}) for _ in range(2))
    assert second["pid"] == first["pid"]
    assert second["before"] == first["before"] + 1


def test_an_error_of_a_job_arrives_whole_and_the_worker_goes_on(a_worker):
    pid = a_worker.run("count", {})["pid"]
    with pytest.raises(InvalidImage) as caught:
        a_worker.run("refuse", {})
    assert (caught.value.where, caught.value.got) == ("here", "that")
    assert caught.value.remedy == "Do something else."
    assert a_worker.run("count", {})["pid"] == pid


def test_an_error_that_nobody_foresaw_is_told_and_stands_in_the_log(a_worker):
    with pytest.raises(WorkerFailed, match="ZeroDivisionError: nobody thought of it"):
        a_worker.run("stumble", {})
    a_worker.run("count", {})
    assert "in stumble" in a_worker.log


def test_what_libraries_print_goes_to_the_log(a_worker):
    assert a_worker.run("chatter", {}) == {"fine": True}
    for speaker in ("python", "the C library", "a child"):
        assert f"{speaker} says hello" in a_worker.log


def test_an_unknown_kind_of_job_or_argument_is_refused(a_worker):
    with pytest.raises(InvalidOption, match="kind of job"):
        a_worker.run("dance", {})
    with pytest.raises(InvalidOption, match="no_such_thing"):
        a_worker.run("register", {"no_such_thing": 1})


def test_a_model_is_fetched_and_checked_by_the_worker(a_worker):
    assert a_worker.run("download", {"model": "convex"}) == {"model": "convex", "path": None}
    assert a_worker.run("verify", {"model": "convex"})["found"] == "none needed"
    with pytest.raises(IncompatibleModel, match="no such model"):
        a_worker.run("download", {"model": "no such model"})
    with pytest.raises(WeightsUnavailable, match="no model card names this file"):
        a_worker.run("import", {"model": "convex", "path": __file__})


@pytest.mark.parametrize("kind", ["family", "garbage"])
def test_after_garbage_or_a_cancel_nothing_is_left_and_the_next_job_works(temporary, kind):
    with Worker(ODD) as worker:
        pid = worker.run("count", {})["pid"]
        with pytest.raises((Cancelled, WorkerFailed)) as caught:
            worker.run(kind, {}, cancel)
        assert isinstance(caught.value, Cancelled) == (kind == "family")
        assert all_end({pid})
        (scratch,) = temporary.iterdir()
        assert list(scratch.iterdir()) == []
        assert worker.run("count", {})["before"] == 0
    assert list(temporary.iterdir()) == []


def test_cancelling_ends_children_of_children_even_in_sessions_of_their_own():
    found = set()

    def when_all_run(fraction, stage):
        if worker.pid and len(tree({worker.pid})) == 5:
            found.update(tree({worker.pid}))
            raise Cancelled("stopped")

    with Worker(ODD) as worker:
        with pytest.raises(Cancelled):
            worker.run("family", {}, when_all_run)
        assert all_end(found)


@pytest.mark.parametrize("stage", ["starting", "refinement"])
def test_a_registration_can_be_cancelled_before_it_begins_and_while_it_computes(temporary, stage):
    image = Voxels(seen(SMALL).data[0].numpy(), SMALL)

    def stop(fraction, now):
        if now == stage:
            raise Cancelled("stopped")

    with Worker() as worker:
        with pytest.raises(Cancelled):
            worker.run("register", RegisterJob(image, image), stop)
        assert worker.pid is None
    assert list(temporary.iterdir()) == []


def test_a_killed_worker_is_one_clear_error_and_the_next_job_works(a_worker):
    pid = a_worker.run("count", {})["pid"]

    family = set()

    def kill(fraction, stage):
        if not family and len(tree({pid})) == 5:
            family.update(tree({pid}))
            os.kill(pid, signal.SIGKILL)

    with pytest.raises(WorkerKilled, match="was killed") as caught:
        a_worker.run("family", {}, kill)
    known = memory_kills() is not None
    assert known == ("the system was not short of memory" in str(caught.value))
    assert all_end(family)  # also the child that leads a group of its own
    assert a_worker.run("count", {})["pid"] != pid


def test_a_worker_that_hangs_is_ended():
    with Worker(ODD, silent_s=3.0) as worker:
        with pytest.raises(WorkerFailed, match="no sign of life for 3 s"):
            worker.run("freeze", {})
        assert worker.pid is None
        assert worker.run("count", {})["before"] == 0


def test_a_job_that_needs_too_much_memory_is_told_and_the_next_one_works(a_worker):
    with pytest.raises(OutOfMemory, match="too little memory"):
        a_worker.run("hog", {})
    assert a_worker.run("count", {})["before"] == 0


def test_a_registration_under_a_memory_limit_is_one_clear_error():
    """The limit lies above what the libraries take and below what the images need."""
    grid = CUBE.resize((256, 256, 256))
    image = Voxels(np.zeros(grid.shape, np.uint8), grid)
    image.data[100:200, 100:200, 100:200] = 100
    limit = f'ulimit -d 600000; exec {sys.executable} -m neuralreg.worker "$@"'
    limited = ("sh", "-c", limit, "sh")
    with Worker(limited) as worker, pytest.raises(OutOfMemory, match="too little memory"):
        worker.run("register", RegisterJob(image, image))


def test_a_python_without_torch_is_said_by_name(tmp_path):
    (tmp_path / "torch.py").write_text("raise ModuleNotFoundError('gone', name='torch')")
    environ = {**os.environ, "PYTHONPATH": str(tmp_path)}
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from neuralreg.worker.server "
    command = (sys.executable, "-c", code + "import main; main()")
    image = Voxels(np.zeros(SMALL.shape), SMALL)
    with Worker(command, environ=environ) as worker:
        with pytest.raises(PackageMissing, match="package torch"):
            worker.run("register", RegisterJob(image, image))
        assert "jobs that compute will fail here" in worker.log


def test_a_python_that_does_not_start_is_said_with_its_last_words():
    broken = (sys.executable, "-c", "import sys; sys.exit('no license for Python')")
    with Worker(broken) as worker, pytest.raises(WorkerFailed, match="no license for Python"):
        worker.run("count", {})
    with Worker(("/no/such/python",)) as worker, pytest.raises(WorkerFailed, match="started"):
        worker.run("count", {})


def test_a_launcher_that_greets_is_no_garbage():
    greeting = ("sh", "-c", f'echo Welcome; {sys.executable} {ODD[1]} "$@"; true', "sh")
    with Worker(greeting) as worker:
        assert worker.run("count", {})["before"] == 0
        assert "Welcome" in worker.log
        family = tree({worker.pid})
        assert len(family) == 2
    assert all_end(family)


def test_a_worker_whose_owner_dies_ends_with_its_children_and_his_files(temporary):
    owner = f"""
import os, signal, sys
from neuralreg.worker.client import Worker
worker = Worker({ODD!r})
def die(fraction, stage):
    if stage == "waiting":
        print(worker.pid, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
worker.run("family", {{}}, die)
"""
    done = subprocess.run(
        [sys.executable, "-c", owner], capture_output=True, env=environment("test"), cwd=ROOT
    )
    assert done.returncode == -signal.SIGKILL
    assert all_end({int(done.stdout)}, within_s=5.0)
    end = time.monotonic() + 5.0
    while list(temporary.iterdir()) and time.monotonic() < end:
        time.sleep(0.01)
    assert list(temporary.iterdir()) == []


def test_an_idle_worker_ends_and_the_next_job_starts_another():
    with Worker((*ODD, "--idle", "0.5")) as worker:
        pid = worker.run("count", {})["pid"]
        assert all_end({pid}, within_s=10.0)
        assert worker.run("count", {})["pid"] != pid


def test_a_line_that_is_no_job_is_answered_and_the_next_one_is_done():
    job = {"type": "job", "id": "a", "kind": "count", "folder": ".", "arguments": {}}
    done = subprocess.run(
        [*ODD, "--finish"], input=f"nonsense\n[1]\n{json.dumps(job)}\n", capture_output=True,
        text=True, check=True, env=environment("test"),
    )  # fmt: skip
    messages = [json.loads(line) for line in done.stdout.splitlines()]
    assert [m["type"] for m in messages if m["type"] != "beat"] == [
        "ready", "error", "error", "result"
    ]  # fmt: skip


def test_the_command_does_the_jobs_of_a_file(tmp_path):
    for name, shift in (("fixed", 0.0), ("moving", 3.0)):
        image = seen(SMALL, lambda p, s=shift: p + [s, 0.0, 0.0])
        neuralreg.write_image(image, tmp_path / f"{name}.nii.gz")
    arguments = {n: str(tmp_path / f"{n}.nii.gz") for n in ("fixed", "moving")}
    job = {"type": "job", "id": "a", "kind": "register", "folder": str(tmp_path)}
    lines = json.dumps({**job, "arguments": arguments}) + "\n"
    done = subprocess.run(
        [sys.executable, "-m", "neuralreg", "worker", "--finish"],
        input=lines, capture_output=True, text=True, check=True,
    )  # fmt: skip
    messages = [json.loads(line) for line in done.stdout.splitlines()]
    assert messages[0]["type"] == "ready"
    result = next(m for m in messages if m["type"] == "result")
    warped = np.load(result["value"]["warped"]["array"])
    fixed = sitk.GetArrayFromImage(sitk.ReadImage(arguments["fixed"]))
    assert warped.shape == fixed.shape
    told = [m["fraction"] for m in messages if m["type"] == "progress"]
    assert told == sorted(told)
