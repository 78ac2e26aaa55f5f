"""What there is to work with: model cards, limits, recipes, threads, and memory."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, MutableMapping
from pathlib import Path

from neuralreg.errors import InvalidOption

THREADS = 2  # of loops in NumPy; more gain little, as memory is the limit
# Idle threads of OpenMP look for work 1,000 times and then sleep. Those that never sleep take the
# cores that others want (14 s instead of 6 s for a small pair), those that sleep at once have to be
# woken for each of thousands of products (39 s instead of 30 s for a brain of 1 mm on idle cores,
# 55 s instead of 59 s beside two busy programs).
_IDLE_THREADS = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "1000"}
MEMORY_LIMIT = "NEURALREG_MEMORY_GB"  # environment variable
_SYSTEM = Path("/")


def let_idle_threads_sleep(variables: MutableMapping[str, str]) -> None:
    """Sets how threads wait, unless the environment says so; torch reads it when it starts."""
    if not _IDLE_THREADS.keys() & variables.keys():
        variables.update(_IDLE_THREADS)


def resource_folders(kind: str) -> list[Path]:
    """Folders for files of a kind, the likeliest first; none of them need exist.

    Args:
        kind: a folder of Resources, such as "Models".
    """
    package = Path(__file__).resolve().parent
    return [
        package / "_resources" / kind,  # installed by pip
        package.parent / "Resources" / kind,  # installed in Slicer
        package.parent.parent / "Resources" / kind,  # a checkout
    ]


def used_memory() -> int:
    """Bytes of memory that this process holds; 0 where the system does not say so in a file."""
    return _pages(1)


def reserved_memory() -> int:
    """Bytes of data that this process has reserved, used or not, as RLIMIT_DATA counts them."""
    return _pages(5)


def free_memory(system: Path = _SYSTEM) -> int | None:
    """Bytes that this process can still have, within every limit that holds for it.

    The limits are those of its control groups (a container, a batch system, a unit of systemd), of
    the shell (`ulimit -v`, `ulimit -d`), and `NEURALREG_MEMORY_GB`, in 10**9 bytes, for a machine
    that is shared. Files that the system keeps in memory and can drop count as free.

    Args:
        system: the folder that proc and sys are in.

    Returns:
        None where nothing is known, as on macOS and Windows without that variable.

    Raises:
        InvalidOption: the variable is no number above 0.
    """
    limits = [*_limits_of_groups(system), *_limits_of_process(), *_limit_by_name()]
    available = _number_in(system / "proc/meminfo", "MemAvailable:")
    if available is not None:
        limits.append(available * 1024)
    return max(0, min(limits)) if limits else None


def memory_kills(system: Path = _SYSTEM) -> int | None:
    """How many processes Linux has ended for want of memory since it started; None if unknown.

    A control group that is full counts as well, also one of another container.

    Args:
        system: the folder that proc is in.

    Source: `oom_kill` in /proc/vmstat, mm/oom_kill.c of the kernel (4.13 and later).
    """
    return _number_in(system / "proc/vmstat", "oom_kill")


def _limit_by_name() -> Iterator[int]:
    text = os.environ.get(MEMORY_LIMIT, "").strip()
    if not text:
        return
    try:
        limit = float(text)
    except ValueError:
        limit = 0.0
    if not 0 < limit < float("inf"):
        raise InvalidOption(
            f"{MEMORY_LIMIT} is a number of GB above 0", got=f"'{text}'", wanted="such as 16"
        )
    yield int(limit * 1e9) - used_memory()


def _limits_of_process() -> Iterator[int]:
    """What `ulimit` leaves of the address space and of the data, in bytes."""
    if sys.platform == "win32":
        return
    import resource

    for kind, used in ((resource.RLIMIT_AS, _pages(0)), (resource.RLIMIT_DATA, reserved_memory())):
        limit, _ = resource.getrlimit(kind)
        if limit != resource.RLIM_INFINITY and used:
            yield limit - used


def _pages(column: int) -> int:
    """A column of the kernel's account of this process, in bytes; 0 where there is none."""
    path = Path("/proc/self/statm")
    if sys.platform == "win32" or not path.is_file():
        return 0
    import resource

    return int(path.read_text("utf-8").split()[column]) * resource.getpagesize()


def _limits_of_groups(system: Path) -> Iterator[int]:
    """What the control groups of this process and those above them leave, in bytes.

    Source: cgroup-v2.rst and cgroup-v1/memory.rst of the kernel's documentation.
    """
    try:
        lines = (system / "proc/self/cgroup").read_text("utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            root, names = system / "sys/fs/cgroup", ("memory.max", "memory.current")
            cache = "inactive_file"
        elif "memory" in controllers.split(","):
            root = system / "sys/fs/cgroup/memory"
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes")
            cache = "total_inactive_file"
        else:
            continue
        # In a container the path may be the host's, of which there is only the root.
        own = root if ".." in path else root / path.lstrip("/")
        for group in (own, *own.parents):
            limit, used = (_number_in(group / name) for name in names)
            if limit is not None and used is not None:
                yield limit - used + (_number_in(group / "memory.stat", cache) or 0)
            if group == root:
                break


def _number_in(path: Path, name: str = "") -> int | None:
    """The number after a name at the beginning of a line; None for none, and for "max"."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except OSError:
        return None
    for line in lines:
        words = line.split()
        if words and (not name or words[0] == name):
            number = words[1 if name else 0]
            return int(number) if number.isdigit() else None
    return None
