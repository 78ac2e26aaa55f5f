"""One process at a time in a folder: as Unix locks it, and as Windows would, on locks of Unix."""

from __future__ import annotations

import errno
import subprocess
import sys
import threading
import time

import pytest
from neuralreg.io.locks import folder_locks
from neuralreg.io.locks.folder_locks import hold_folder, lock_folder, remove_empty

fcntl = pytest.importorskip("fcntl", reason="the locks of Windows are simulated by those of Unix")

HOLD = """
import sys, time
from pathlib import Path
from neuralreg.io.locks import folder_locks
if sys.argv[2] == "Windows":
    from Testing.core.io.test_folder_locks import WindowsLocks
    folder_locks._fcntl, folder_locks._msvcrt = None, WindowsLocks()
lock = folder_locks.hold_folder(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(60)
"""


class WindowsLocks:
    """The module msvcrt as its documentation has it: files only, PermissionError where locked."""

    LK_NBLCK = 2

    def locking(self, handle: int, mode: int, count: int) -> None:
        assert (mode, count) == (self.LK_NBLCK, 1)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise PermissionError(errno.EACCES, "Permission denied") from error


@pytest.fixture(params=["Unix", "Windows"])
def a_system(request, monkeypatch) -> str:
    if request.param == "Windows":
        monkeypatch.setattr(folder_locks, "_fcntl", None)
        monkeypatch.setattr(folder_locks, "_msvcrt", WindowsLocks())
    return request.param


def test_a_lock_ends_with_its_process_however_that_ends(a_system, tmp_path):
    command = [sys.executable, "-c", HOLD, str(tmp_path), a_system]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(BlockingIOError):
            hold_folder(tmp_path)
        process.kill()
        process.wait()
    hold_folder(tmp_path).release()
    remove_empty(tmp_path)
    assert not tmp_path.exists()


@pytest.mark.usefixtures("a_system")
def test_a_held_folder_is_waited_for(tmp_path):
    lock = hold_folder(tmp_path)
    threading.Timer(0.3, lock.release).start()
    with pytest.raises(BlockingIOError):
        hold_folder(tmp_path, 0.1, between_s=0.02)
    start = time.monotonic()
    hold_folder(tmp_path, 30.0, between_s=0.02).release()
    assert 0.0 < time.monotonic() - start < 20


@pytest.mark.usefixtures("a_system")
def test_blocks_of_several_threads_follow_one_another(tmp_path):
    inside, most = 0, []

    def work() -> None:
        nonlocal inside
        with lock_folder(tmp_path):
            inside += 1
            most.append(inside)
            time.sleep(0.01)
            inside -= 1

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 6


@pytest.mark.parametrize("problem", ["no locks in Python", "no locks on the disk", "read-only"])
def test_where_there_are_no_locks_the_work_goes_on(tmp_path, monkeypatch, problem):
    class Refusing:
        LK_NBLCK = 2

        def locking(self, handle: int, mode: int, count: int) -> None:
            raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(folder_locks, "_fcntl", None)
    monkeypatch.setattr(folder_locks, "_msvcrt", Refusing())
    folder = tmp_path
    if problem == "no locks in Python":
        monkeypatch.setattr(folder_locks, "_msvcrt", None)
    elif problem == "read-only":
        monkeypatch.setattr(folder_locks, "_msvcrt", WindowsLocks())
        folder = tmp_path / "missing"
    assert hold_folder(folder) is None
    with lock_folder(folder):
        assert hold_folder(folder) is None
    remove_empty(tmp_path)
    assert not tmp_path.exists()


@pytest.mark.usefixtures("a_system")
def test_a_folder_in_which_something_is_stays(tmp_path):
    (tmp_path / "a file").touch()
    hold_folder(tmp_path).release()
    remove_empty(tmp_path)
    assert (tmp_path / "a file").is_file()
