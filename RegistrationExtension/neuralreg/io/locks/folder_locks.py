"""Locks of folders between processes of this program; a lock ends with its process.

Unix locks the folder itself. Windows locks no folders: there a file in it is locked, which stays,
because a file that is deleted and made again could be locked twice. The package filelock was not
taken: the process of a panel, which locks lists of cases, has it only where torch is installed.
"""

from __future__ import annotations

import importlib
import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_FILE = ".neuralreg-lock"
_BETWEEN_S = 0.2  # two attempts
_BETWEEN_BLOCKS_S = 0.02


def _find_module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        return None


_fcntl, _msvcrt = _find_module("fcntl"), _find_module("msvcrt")  # of Unix, of Windows


@dataclass(frozen=True)
class FolderLock:
    """A lock that this process holds.

    Attributes:
        handle: of the operating system.
    """

    handle: int

    def release(self) -> None:
        """Let others have it."""
        os.close(self.handle)


def remove_empty(folder: Path) -> None:
    """Remove a folder that holds nothing, or only the file of a lock that nobody has opened."""
    if folder.is_dir() and all(path.name == _FILE for path in folder.iterdir()):
        with suppress(OSError):  # somebody has opened it, or writes there
            (folder / _FILE).unlink(missing_ok=True)
            folder.rmdir()


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Keep other processes from the block, where the system has such locks; waits for them."""
    lock = hold_folder(folder, math.inf, between_s=_BETWEEN_BLOCKS_S)
    try:
        yield
    finally:
        if lock is not None:
            lock.release()


def hold_folder(
    folder: Path, patience_s: float = 0.0, *, between_s: float = _BETWEEN_S
) -> FolderLock | None:
    """A lock that keeps other processes from a folder until it is released.

    Args:
        folder: an existing one.
        patience_s: for how long to wait for another process.
        between_s: from one attempt to the next.

    Returns:
        The lock; None where the system or a network folder has no such locks.

    Raises:
        BlockingIOError: another one holds it.
    """
    start = time.monotonic()
    while True:
        try:
            return _attempt(folder, wait=math.isinf(patience_s))
        except BlockingIOError:
            if time.monotonic() - start >= patience_s:
                raise
        time.sleep(between_s)


def _attempt(folder: Path, *, wait: bool) -> FolderLock | None:
    """Raises BlockingIOError where another process holds the lock and the system cannot wait."""
    if _fcntl is not None:
        lock = FolderLock(os.open(folder, os.O_RDONLY))
    elif _msvcrt is not None:
        try:
            lock = FolderLock(os.open(folder / _FILE, os.O_RDWR | os.O_CREAT))
        except OSError:  # nothing can be written there, so that there is nothing to keep apart
            return None
    else:
        return None
    try:
        _take(lock.handle, wait=wait)
    except BlockingIOError:
        lock.release()
        raise
    except OSError:  # a network file system without locks
        lock.release()
        return None
    return lock


def _take(handle: int, *, wait: bool) -> None:
    if _fcntl is not None:
        _fcntl.flock(handle, _fcntl.LOCK_EX | (0 if wait else _fcntl.LOCK_NB))
        return
    try:
        _msvcrt.locking(handle, _msvcrt.LK_NBLCK, 1)
    except PermissionError as error:  # how Windows says that another one has it
        raise BlockingIOError(error.errno, "locked by another process") from error
