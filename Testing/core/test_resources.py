"""Free memory, within every limit that holds for a process."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest
from neuralreg.errors import InvalidOption
from neuralreg.resources import (
    MEMORY_LIMIT,
    free_memory,
    let_idle_threads_sleep,
    memory_kills,
    used_memory,
)

MB = 2**20
PLENTY = 64 * 1024 * MB

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the files are Linux's")


def write(folder: Path, files: dict[str, object]) -> Path:
    """A system of the kernel's files."""
    meminfo = f"MemTotal: {PLENTY // 1024} kB\nMemAvailable:   {PLENTY // 1024} kB\n"
    for name, text in {"proc/meminfo": meminfo, **files}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    return folder


def test_without_limits_it_is_what_the_system_has(tmp_path):
    assert free_memory(write(tmp_path, {})) == PLENTY


def test_a_container_of_version_2_sees_its_limit_at_the_root(tmp_path):
    system = write(tmp_path, {
        "proc/self/cgroup": "0::/", "sys/fs/cgroup/memory.max": 1000 * MB,
        "sys/fs/cgroup/memory.current": 700 * MB,
        "sys/fs/cgroup/memory.stat": f"anon 1\nfile 5\ninactive_file {200 * MB}",
    })  # fmt: skip
    assert free_memory(system) == 500 * MB  # what files hold can be dropped


def test_the_tightest_group_above_a_process_counts(tmp_path):
    group = "sys/fs/cgroup"
    system = write(tmp_path, {
        "proc/self/cgroup": "0::/slurm/job_7/step_0",
        f"{group}/slurm/job_7/step_0/memory.max": "max",
        f"{group}/slurm/job_7/step_0/memory.current": 10 * MB,
        f"{group}/slurm/job_7/memory.max": 300 * MB,
        f"{group}/slurm/job_7/memory.current": 100 * MB,
        f"{group}/slurm/memory.max": 9000 * MB,
        f"{group}/slurm/memory.current": 1000 * MB,
    })  # fmt: skip
    assert free_memory(system) == 200 * MB


@pytest.mark.parametrize("path", ["/docker/0123", "/"])
def test_version_1_is_read_in_and_outside_of_containers(tmp_path, path):
    group = "sys/fs/cgroup/memory"
    system = write(tmp_path, {
        "proc/self/cgroup": f"5:cpu,cpuacct:{path}\n4:memory:{path}\n0::{path}",
        f"{group}/memory.limit_in_bytes": 800 * MB, f"{group}/memory.usage_in_bytes": 300 * MB,
        f"{group}/memory.stat": f"inactive_file 5\ntotal_inactive_file {50 * MB}",
    })  # fmt: skip
    assert free_memory(system) == 550 * MB


def test_a_group_beyond_its_limit_leaves_nothing_and_no_group_is_no_limit(tmp_path):
    files = {"proc/self/cgroup": "0::/../..", "sys/fs/cgroup/memory.max": MB,
             "sys/fs/cgroup/memory.current": 2 * MB}  # fmt: skip
    assert free_memory(write(tmp_path / "over", files)) == 0
    assert free_memory(write(tmp_path / "none", {"proc/self/cgroup": "0::/a/b"})) == PLENTY


def test_a_limit_by_name_counts_what_the_process_holds(tmp_path, monkeypatch):
    monkeypatch.setenv(MEMORY_LIMIT, "8")
    free = free_memory(write(tmp_path, {}))
    assert abs(8_000_000_000 - used_memory() - free) < 64 * MB
    for text in ("much", "-2", "0", "nan", "inf"):
        monkeypatch.setenv(MEMORY_LIMIT, text)
        with pytest.raises(InvalidOption, match=MEMORY_LIMIT):
            free_memory(tmp_path)


@pytest.mark.parametrize("kind", ["RLIMIT_AS", "RLIMIT_DATA"])
def test_the_limit_of_a_shell_counts_in_a_real_process(kind):
    program = "from neuralreg.resources import free_memory; print(free_memory())"
    limit = 600 * MB

    def lower() -> None:
        resource.setrlimit(getattr(resource, kind), (limit, limit))

    done = subprocess.run(
        [sys.executable, "-c", program],
        preexec_fn=lower,
        capture_output=True,
        text=True,
        check=True,
    )
    assert 300 * MB < int(done.stdout) < limit


def test_idle_threads_sleep_soon_unless_the_environment_says_how_they_wait():
    variables = {"HOME": "/"}
    let_idle_threads_sleep(variables)
    assert variables["OMP_WAIT_POLICY"] == "PASSIVE"
    assert int(variables["GOMP_SPINCOUNT"]) > 0
    chosen = {"OMP_WAIT_POLICY": "ACTIVE"}
    let_idle_threads_sleep(chosen)
    assert chosen == {"OMP_WAIT_POLICY": "ACTIVE"}


def test_what_the_system_killed_for_want_of_memory_is_counted(tmp_path):
    system = write(tmp_path, {"proc/vmstat": "nr_free_pages 12\noom_kill 3\noom_other 9"})
    assert memory_kills(system) == 3
    assert memory_kills(tmp_path / "elsewhere") is None
