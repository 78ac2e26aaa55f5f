"""A Slicer without the application: real MRML, real Qt, and the names that Slicer gives them."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed: real MRML is needed")
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
from NeuralRegistrationLib.Scene.Headless import HeadlessScene  # noqa: E402

from Testing.gui import standin  # noqa: E402
from Testing.support.paths import TEST_DATA  # noqa: E402


def what_is_missing() -> str:
    """One line with the command to type, where Qt cannot be loaded; else nothing."""
    try:
        from PySide6 import QtWidgets  # noqa: F401
    except ImportError as missing:
        libraries = "libegl1 libgl1 libxkbcommon0 libfontconfig1 libdbus-1-3 fonts-dejavu-core"
        command = f"sudo apt-get install --yes --no-install-recommends {libraries}"
        return f"The panels were not tested: {missing}. Type: {command}"
    return ""


MISSING = what_is_missing()
collect_ignore_glob = ["test_*.py"] if MISSING else []


def pytest_terminal_summary(terminalreporter):
    if MISSING:
        terminalreporter.write_line(MISSING)


@pytest.fixture(scope="package")
def the_application():
    """`slicer.app` and everything around it, until the last test of this folder has run."""
    if MISSING:
        pytest.skip(MISSING)
    uninstall = standin.install()
    yield slicer.app
    uninstall()


@pytest.fixture(autouse=True)
def no_slot_fails(the_application, monkeypatch):
    """An exception in a slot reaches nobody but this hook: it fails the test."""
    raised = []
    monkeypatch.setattr(sys, "excepthook", lambda kind, error, trace: raised.append(error))
    yield raised
    the_application.processEvents()
    if raised:
        raise raised[0]


@pytest.fixture
def a_headless_scene(the_application):
    scene = HeadlessScene()
    the_application._logic = scene.application
    markups = scene.logics["vtkSlicerMarkupsLogic"]
    slicer.modules.markups = SimpleNamespace(logic=lambda: markups)
    yield scene
    scene.scene.Clear(True)
    # A logic that is replaced later ends the scene, when widgets that watch it are half gone.
    scene.scene.RemoveAllObservers()
    slicer.modules.markups = None
    the_application._logic = None


@pytest.fixture
def a_scene(a_headless_scene):
    return a_headless_scene.scene


@pytest.fixture(scope="package")
def queue_of(the_application):
    """A queue for each command that starts a worker, which stays warm from file to file."""
    from NeuralRegistrationLib.Worker.Queue import Queue

    queues = {}

    def queue_of(*command: str) -> Queue:
        if command not in queues:
            queues[command] = Queue(list(command) or None)
        return queues[command]

    yield queue_of
    for queue in queues.values():
        queue.close()


@contextmanager
def used_in(module: ModuleType, queue) -> Iterator[Any]:
    """A queue in the place of the session's own; its jobs end with the tests."""
    former, module._queues[:] = list(module._queues), [queue]
    yield queue
    for job in reversed(queue.jobs):
        job.cancel()
    module._queues[:] = former


@pytest.fixture(scope="module")
def known_worker(queue_of):
    """The session's queue with a worker whose answers are known and need no time."""
    from NeuralRegistrationLib.Worker import Queue

    with used_in(Queue, queue_of(sys.executable, str(TEST_DATA / "known_engine.py"))) as queue:
        yield queue


@pytest.fixture(scope="module")
def real_worker(queue_of):
    """The session's queue with the real worker."""
    from NeuralRegistrationLib.Worker import Queue

    with used_in(Queue, queue_of()) as queue:
        yield queue


@pytest.fixture
def own_worker(the_application):
    """The session's queue with a real worker that sees the environment of its test alone."""
    from NeuralRegistrationLib.Worker import Queue

    with used_in(Queue, Queue.Queue()) as queue:
        yield queue
        queue.close()


@pytest.fixture
def known_reviewer(known_worker):
    """The queue of reviews with the same worker."""
    from NeuralRegistrationLib.Review import Jobs

    with used_in(Jobs, known_worker) as queue:
        yield queue


@pytest.fixture
def a_pair(a_scene):
    """A fixed and a moving volume, which the panel chooses by itself."""
    return tuple(a_volume(name) for name in ("fixed", "moving"))


@pytest.fixture
def a_panel(a_scene):
    """The module's panel in a window of its own, as Slicer's self tests open it."""
    import NeuralRegistration

    panel = NeuralRegistration.NeuralRegistrationWidget()
    yield panel
    panel.cleanup()
    panel.parent.close()


def a_volume(name: str, size=(14, 15, 16)):
    """A volume of noise, 2 mm voxels."""
    array = np.random.default_rng(len(name)).integers(1, 200, size).astype(np.int16)
    node = slicer.util.addVolumeFromArray(array, None, name)
    node.SetSpacing(2.0, 2.0, 2.0)
    return node


@pytest.fixture(name="a_volume")
def _a_volume(a_scene):
    return a_volume


@pytest.fixture
def wait_until(the_application):
    """Lets the event loop run until something holds; the time is only there to end a failure."""

    def wait(condition, seconds: float = 60.0) -> None:
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                pytest.fail(f"waited {seconds} s in vain")
            the_application.processEvents()
            time.sleep(0.002)

    return wait


def _seconds_in_vain() -> float:
    """For how long threads of this process could have run, but the machine ran others.

    Of all of them: the window may wait for a thread that waits itself. 0 where it is not counted.
    """
    files = Path("/proc/self/task").glob("*/schedstat")
    return sum(int(file.read_text().split()[1]) for file in files) / 1e9


@pytest.fixture
def late_ticks(the_application):
    """Counts how often the event loop did not come round within a given time of its own.

    What the machine gave to other processes meanwhile is not the window's fault.
    """
    import qt

    ticks = []
    timer = qt.QTimer()
    timer.interval = 5
    timer.connect("timeout()", lambda: ticks.append(time.monotonic() - _seconds_in_vain()))
    timer.start()
    yield SimpleNamespace(
        count=lambda limit_ms=100: sum(
            (after - before) * 1000 > limit_ms for before, after in pairwise(ticks)
        ),
        total=lambda: len(ticks),
    )
    timer.stop()
