"""Ending a process with everything it started: a launcher, its Python, and their children.

Own code instead of psutil, which would be one more compiled package to install in Slicer: what is
needed is little, and the members of a group or session and marked orphans must be found as well,
all of them stopped before any is killed.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from neuralreg.resources import let_idle_threads_sleep

MARK = "NEURALREG_WORKER"
_NICENESS = 5
_MOST_ROUNDS = 20  # of looking for children that were born meanwhile


@dataclass(frozen=True)
class _Process:
    parent: int
    groups: frozenset[int]  # the process group and the session


def environment(mark: str, base: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a worker: this package can be found, and idle threads sleep.

    Args:
        mark: something that no other worker has; all that it starts can be found by it.
        base: variables to add to; those of this process unless given.
    """
    variables = dict(os.environ if base is None else base)
    package = str(Path(__file__).resolve().parents[2])
    variables["PYTHONPATH"] = os.pathsep.join(filter(None, [package, variables.get("PYTHONPATH")]))
    let_idle_threads_sleep(variables)
    variables["PYTHONUNBUFFERED"] = "1"
    variables["PYTHONIOENCODING"] = "utf-8"  # what is logged on Windows would be in another one
    variables[MARK] = mark
    return variables


def end_tree(pids: Iterable[int], mark: str = "") -> None:
    """Kill these processes, all that descend from them, and all of the groups that they lead.

    Everything is stopped before anything is killed, so that no child is born or orphaned between
    looking and killing. Processes that have ended are no error.

    Args:
        pids: of the processes.
        mark: a value of the variable MARK in the environment of the processes; it finds, on Linux,
            those that left their group and lost their parent.
    """
    roots = ({pid for pid in pids if pid > 1} | _find_marked(mark)) - {os.getpid()}
    if not roots:
        return
    if sys.platform == "win32":
        _taskkill(roots)
        return
    stopped: set[int] = set()
    for _ in range(_MOST_ROUNDS):
        born = tree(roots | stopped) - stopped
        if not born:
            break
        _send(born, signal.SIGSTOP)
        stopped |= born
    _send(stopped, signal.SIGKILL)


def tree(roots: Iterable[int]) -> set[int]:
    """Those of the processes that live, with their descendants and the members of their groups."""
    running = _list_processes()
    members = set(roots)
    while True:
        more = {
            pid
            for pid, process in running.items()
            if pid not in members and (process.parent in members or process.groups & members)
        }
        if not more:
            return (members & set(running)) - {os.getpid()}
        members |= more


def lower_priority() -> None:
    """Let windows go first, and leave the group of whoever started us: one number ends all."""
    if hasattr(os, "nice"):
        os.nice(_NICENESS)
    if hasattr(os, "setsid") and os.getpid() != os.getpgrp():
        os.setsid()


def _find_marked(mark: str) -> set[int]:
    if not mark or not Path("/proc/self/environ").exists():
        return set()
    variable, pids = f"{MARK}={mark}".encode(), set()
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with contextlib.suppress(OSError):  # it is another user's, or ended
                if variable in Path(entry.path, "environ").read_bytes().split(b"\0"):
                    pids.add(int(entry.name))
    return pids


def _send(pids: Iterable[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):  # it has ended: what was wanted
            os.kill(pid, number)


def _list_processes() -> dict[int, _Process]:
    """All processes that have not ended."""
    return _from_proc() if Path("/proc/self/stat").exists() else _from_ps()


def _from_proc() -> dict[int, _Process]:
    processes = {}
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):  # it ended while we looked
            # The name in brackets may hold spaces.
            text = Path(entry.path, "stat").read_text(errors="replace").rpartition(")")[2]
            state, parent, group, session = text.split()[:4]
            if state not in "ZX":
                groups = frozenset((int(group), int(session)))
                processes[int(entry.name)] = _Process(int(parent), groups)
    return processes


def _from_ps() -> dict[int, _Process]:
    done = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid=,pgid=,stat="], capture_output=True, text=True, check=True
    )
    rows = (line.split() for line in done.stdout.splitlines())
    return {
        int(pid): _Process(int(parent), frozenset((int(group),)))
        for pid, parent, group, state in rows
        if not state.startswith("Z")
    }


def _taskkill(pids: Iterable[int]) -> None:
    for pid in pids:
        subprocess.Popen(
            ["taskkill", "/PID", str(pid), "/T", "/F"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
