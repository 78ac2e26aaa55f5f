"""Ending a process tree: real processes, as launchers and libraries make them."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest
from neuralreg.worker import processes
from neuralreg.worker.processes import end_tree, tree

from Testing.support.programs import all_end

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no process groups")

FAMILY = """
import subprocess, sys, time
deeper = int(sys.argv[1])
if deeper:
    subprocess.Popen([sys.executable, "-c", sys.argv[2], str(deeper - 1), sys.argv[2]])
print("ready", flush=True)
time.sleep(600)
"""
ORPHANS = """
import subprocess, sys
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print("ready", flush=True)
"""


def test_on_windows_the_tree_of_each_process_is_ended_without_a_console_window(monkeypatch):
    asked = []
    monkeypatch.setattr(processes.sys, "platform", "win32")
    monkeypatch.setattr(processes.subprocess, "CREATE_NO_WINDOW", 0x08000000, raising=False)
    monkeypatch.setattr(
        processes.subprocess, "Popen", lambda words, **how: asked.append((words, how))
    )
    end_tree({4321, 0})
    ((words, how),) = asked
    assert words == ["taskkill", "/PID", "4321", "/T", "/F"]
    assert how["creationflags"] == 0x08000000


def test_what_a_worker_logs_is_utf_8_wherever_it_runs():
    variables = processes.environment("mark", {"PYTHONPATH": "C:\\Müller & Söhne"})
    assert variables["PYTHONIOENCODING"] == "utf-8"
    assert variables["PYTHONPATH"].endswith("C:\\Müller & Söhne")


def wait_for(count: int, root: int) -> set[int]:
    end = time.monotonic() + 20
    while len(found := tree({root})) < count:
        assert time.monotonic() < end, f"only {found} started"
        time.sleep(0.02)
    return found


def test_children_and_their_children_end_with_a_process():
    popen = subprocess.Popen([sys.executable, "-c", FAMILY, "3", FAMILY], stdout=subprocess.DEVNULL)
    family = wait_for(4, popen.pid)
    end_tree({popen.pid})
    popen.wait()
    assert all_end(family, within_s=5.0)


def test_orphans_of_a_group_end_with_its_leader_even_when_he_is_gone():
    popen = subprocess.Popen(
        [sys.executable, "-c", ORPHANS], stdout=subprocess.DEVNULL, start_new_session=True
    )
    popen.wait()
    orphans = tree({popen.pid})
    assert len(orphans) == 1
    end_tree({popen.pid})
    assert all_end(orphans, within_s=5.0)


def test_a_process_behind_a_launcher_is_found():
    launcher = subprocess.Popen(
        ["sh", "-c", f"{sys.executable} -c 'import time; time.sleep(600)'; true"]
    )
    family = wait_for(2, launcher.pid)
    end_tree({launcher.pid})
    launcher.wait()
    assert all_end(family, within_s=5.0)


def test_a_process_that_has_ended_is_no_error():
    popen = subprocess.Popen([sys.executable, "-c", ""])
    popen.wait()
    end_tree({popen.pid})


def test_others_are_left_alone():
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    ours = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    end_tree({ours.pid})
    ours.wait()
    assert other.poll() is None
    other.kill()
    other.wait()
