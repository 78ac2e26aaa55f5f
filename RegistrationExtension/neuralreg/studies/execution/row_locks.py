"""Locks by row: two runs of one study never compute the same row at the same time.

A lock is a file that its owner touches every few seconds. One that nobody touches for long, or
whose owner was a process of this machine that has ended, is taken over.
"""

from __future__ import annotations

import json
import os
import platform
import threading
import time
import uuid
from pathlib import Path

from neuralreg.io.locks.folder_locks import lock_folder

BEAT_S = 5.0
STALE_S = 60.0


class _Heart:
    """Touches all locks of this process."""

    def __init__(self) -> None:
        self._paths: set[Path] = set()
        self._guard = threading.Lock()
        self._thread: threading.Thread | None = None

    def add(self, path: Path) -> None:
        with self._guard:
            self._paths.add(path)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._beat, daemon=True)
                self._thread.start()

    def remove(self, path: Path) -> None:
        with self._guard:
            self._paths.discard(path)

    def _beat(self) -> None:
        while True:
            time.sleep(BEAT_S)
            with self._guard:
                paths = list(self._paths)
            for path in paths:
                try:
                    os.utime(path)
                except (
                    OSError
                ):  # the network folder is gone for a moment: the next beat tries again
                    continue


_heart = _Heart()


class RowLock:
    """A lock that this process holds.

    Attributes:
        path: of its file.
    """

    def __init__(self, path: Path, token: str) -> None:
        self.path, self._token = path, token
        _heart.add(path)

    def is_own(self) -> bool:
        """Whether nobody has taken the lock over."""
        return _owner(self.path).get("token") == self._token

    def release(self) -> None:
        """Let others have it."""
        _heart.remove(self.path)
        if self.is_own():
            self.path.unlink(missing_ok=True)


class LockWatch:
    """Knows for how long locks of others have not been touched, by this machine's own clock."""

    def __init__(self, stale_s: float = STALE_S) -> None:
        self._stale_s = stale_s
        self._first_seen: dict[Path, tuple[object, float]] = {}

    def acquire(self, path: Path) -> RowLock | None:
        """The lock, or None while another process holds it.

        Args:
            path: of the lock's file, in an existing folder.

        Raises:
            OSError: The folder is closed or gone, or the disk full.
        """
        token = uuid.uuid4().hex
        if _create(path, token):
            return RowLock(path, token)
        if not self._is_stale(path):
            return None
        with lock_folder(path.parent):
            if not self._is_stale(path):
                return None
            path.unlink(missing_ok=True)
            taken = _create(path, token)
        return RowLock(path, token) if taken else None

    def _is_stale(self, path: Path) -> bool:
        try:
            touch = path.stat().st_mtime_ns
        except FileNotFoundError:
            return True
        owner = _owner(path)
        if _is_of_this_machine(owner) and not _lives(owner):
            return True
        sign = (owner.get("token"), touch)
        known = self._first_seen.get(path)
        if known is None or known[0] != sign:
            self._first_seen[path] = (sign, time.monotonic())
            return False
        return time.monotonic() - known[1] > self._stale_s


def _create(path: Path, token: str) -> bool:
    """Whether the file was made just now: only one of several processes can."""
    owner = {"token": token, "host": platform.node(), "pid": os.getpid()}
    owner |= {"born": _birth(os.getpid()), "space": _process_space()}
    try:
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    except FileExistsError:
        return False
    try:
        os.write(handle, json.dumps(owner).encode())
    except OSError:
        path.unlink(missing_ok=True)
        raise
    finally:
        os.close(handle)
    return True


def _owner(path: Path) -> dict[str, object]:
    """Who holds a lock; nothing while its file is being written, or when it is gone."""
    try:
        owner = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return owner if isinstance(owner, dict) else {}


def _is_of_this_machine(owner: dict[str, object]) -> bool:
    """Whether this process would see the owner: containers may share the name of a machine."""
    return owner.get("host") == platform.node() and owner.get("space") == _process_space()


def _process_space() -> str:
    """What tells processes of one container from those of another; "" where there are none."""
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def _lives(owner: dict[str, object]) -> bool:
    """Whether a process of this machine runs; where that cannot be asked, it may."""
    process = owner.get("pid")
    if os.name == "nt" or not isinstance(process, int):
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return not owner.get("born") or _birth(process) == owner["born"]


def _birth(process: int) -> str:
    """When a process began, which tells it from a later one of the same number; "" if unknown."""
    try:
        text = Path(f"/proc/{process}/stat").read_text(errors="replace")
    except OSError:
        return ""
    fields = text.rpartition(")")[2].split()
    return "" if fields[0] in "ZX" else fields[19]
