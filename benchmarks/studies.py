"""Studies: overhead, scaling, ten thousand rows, and faults of every kind.

    python -m benchmarks.studies [overhead scaling loop engine rows faults]

Without names all parts run. `faults` fills a small disk of its own where it may mount one.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from neuralreg.registration.options import RegistrationOptions, parse_refinement
from neuralreg.studies.accounts.study_summary import Ledger, StudyFacts
from neuralreg.studies.execution.dask_workers import DaskChoice
from neuralreg.studies.execution.row_execution import Settings
from neuralreg.studies.execution.row_records import DONE, RowRecord, StudyFolder, write_record
from neuralreg.studies.execution.study_leader import Interrupts
from neuralreg.studies.execution.study_plan import Choice, plan_study
from neuralreg.studies.execution.study_run import Engines, LocalChoice, StudyRun
from neuralreg.studies.table.study_check import check_files
from neuralreg.studies.table.study_rows import StudyRow
from neuralreg.studies.table.study_table import read_cells, rows_of
from neuralreg.worker.processes import end_tree, tree
from scipy import ndimage

from benchmarks import RESULTS
from Testing.support.lead_study import WORKER
from Testing.support.programs import environment

QUICK = RegistrationOptions(linear="none", refinement=parse_refinement("mind", 8), device="cpu")
QUICK_WORDS = ["--prealign", "none", "--refine", "mind", "--refine-steps", "8", "--device", "cpu"]
Part = Callable[[Path], dict[str, object]]
# By default each Dask worker looks 50 times a second whether its event loop is late, which costs
# 16 workers a fifth of two cores; on as many machines it is nothing.
CALM_WORKERS = {
    "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False",
    "DASK_DISTRIBUTED__ADMIN__TICK__INTERVAL": "2s",
}


def make_image(path: Path, size: int, shift: int = 0) -> Path:
    """A textured ball, shifted by voxels."""
    axes = np.mgrid[:size, :size, :size] - size / 2
    noise = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(size,) * 3), 2) * 400
    inside = sum(axis**2 for axis in axes) < (0.4 * size) ** 2
    values = np.roll(inside * (200 + noise), shift, 2).astype(np.int16)
    sitk.WriteImage(sitk.GetImageFromArray(values), str(path))
    return path


def pairs(folder: Path, size: int, count: int) -> list[StudyRow]:
    fixed, moving = (
        make_image(folder / f"{name}{size}.nii.gz", size, name == "m") for name in "fm"
    )
    inputs = {"fixed": fixed, "moving": moving}
    return [StudyRow(f"pair-{number:04}", inputs, QUICK) for number in range(count)]


def run_study(
    rows: Sequence[StudyRow], study: Path, engines: Engines
) -> tuple[list[float], list[RowRecord]]:
    """When each row was done, from the first on, and the records."""
    times: list[float] = []
    run = StudyRun(
        StudyFolder(study),
        StudyFacts("made", QUICK),
        Settings(),
        engines,
        lambda text: None,
        lambda fraction, words: None,
        lambda record: times.append(time.monotonic()),
    )
    records = run.work(plan_study(run.study, rows, Choice()), Interrupts())
    assert all(record.state == DONE for record in records), records[0]
    return times, records


def steady_s(times: Sequence[float], workers: int) -> float:
    """Seconds a row once all workers are warm."""
    return (times[-1] - times[2 * workers]) / (len(times) - 1 - 2 * workers)


def overhead(folder: Path) -> dict[str, object]:
    facts: dict[str, object] = {}
    for name, size, count in (("small", 24, 24), ("ten seconds", 76, 6)):
        rows = [replace(row, options=row.options if size < 30 else slow()) for row in
                pairs(folder, size, count)]  # fmt: skip
        engines = LocalChoice(1, 1, "cpu").engine
        times, _ = run_study(rows, folder / f"study{size}", engines)
        alone = [sum(result(folder / f"study{size}", row)["timings_s"].values()) for row in rows]
        each, registration = steady_s(times, 1), float(np.mean(alone[3:]))
        facts[f"{name}: registration, s"] = round(registration, 3)
        facts[f"{name}: beyond it, s"] = round(each - registration, 3)
        facts[f"{name}: beyond it, %"] = round(100 * (each / registration - 1), 1)
    return facts


def slow() -> RegistrationOptions:
    return RegistrationOptions(linear="none", device="cpu")


def result(study: Path, row: StudyRow) -> dict[str, dict[str, float]]:
    return json.loads((study / row.id / "result.json").read_text())


def scaling(folder: Path) -> dict[str, object]:
    rows = pairs(folder, 32, 40)
    seconds = {}
    for workers in (1, 2):
        engines = LocalChoice(workers, 1, "cpu").engine
        begin = time.monotonic()
        times, _ = run_study(rows, folder / f"scaling{workers}", engines)
        seconds[workers] = steady_s(times, workers), times[-1] - begin
    return {
        "1 worker, s a pair": round(seconds[1][0], 3),
        "2 workers, s a pair": round(seconds[2][0], 3),
        "times the throughput": round(seconds[1][0] / seconds[2][0], 2),
        "with the start": round(seconds[1][1] / seconds[2][1], 2),
    }


def loop(folder: Path) -> dict[str, object]:
    rows = pairs(folder, 24, 24)
    begin = time.monotonic()
    for row in rows[:6]:
        images = [str(row.inputs["fixed"]), str(row.inputs["moving"])]
        command = [sys.executable, "-m", "neuralreg", "register", *images, *QUICK_WORDS, "--quiet"]
        done = [*command, "-o", str(folder / "loop" / row.id)]
        subprocess.run(done, check=True, stdout=subprocess.DEVNULL, env=environment())
    single = (time.monotonic() - begin) / 6
    begin = time.monotonic()
    run_study(rows, folder / "batch", LocalChoice(1, None, "cpu").engine)
    batch = (time.monotonic() - begin) / len(rows)
    return {
        "loop over register, s a pair": round(single, 3),
        "batch of 24 with one worker and its start, s a pair": round(batch, 3),
        "times the throughput": round(single / batch, 2),
    }


@contextmanager
def dask_workers(folder: Path, count: int, **variables: str) -> Iterator[Path]:
    """A scheduler with processes: the file that leads to it."""
    file = folder / "scheduler.json"
    common = ["--scheduler-file", str(file), "--host", "127.0.0.1"]
    commands = [["dask_scheduler", *common, "--port", "0", "--no-dashboard"]]
    commands += [["dask_worker", *common, "--no-nanny", "--nthreads", "1"]] * count
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", f"distributed.cli.{name}", *words],
            env=environment(**CALM_WORKERS, **variables),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        for name, *words in commands
    ]
    try:
        yield file
    finally:
        end_tree({process.pid for process in processes})
        for process in processes:
            process.wait()


def engine(
    folder: Path, count: int = 1000, workers: int = 16, seconds: float = 0.2
) -> dict[str, object]:
    rows = pairs(folder, 8, count)
    with dask_workers(folder, workers, ROW_SECONDS=str(seconds)) as file:
        engines = DaskChoice(scheduler_file=file, threads=1, command=WORKER).engine
        times, _ = run_study(rows, folder / "engine", engines)
    first = 4 * workers  # all have started
    rate = (len(times) - 1 - first) / (times[-1] - times[first])
    return {
        "jobs a second": round(rate, 1),
        "of linear": round(rate * seconds / workers, 3),
        "memory of the leader, MB": round(peak_mb()),
        "other programs on the cores": round(max(0.0, os.getloadavg()[0] - 2), 1),
    }


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def rows(folder: Path, count: int = 10_000) -> dict[str, object]:
    fixed = make_image(folder / "f.nii.gz", 8)
    moving = make_image(folder / "m.nii.gz", 8, 1)
    lines = ["id,fixed,moving"]
    for number in range(count):
        os.link(moving, folder / f"m{number}.nii.gz")
        lines.append(f"row-{number},{fixed.name},m{number}.nii.gz")
    (folder / "t.csv").write_text("\n".join(lines) + "\n")
    code = f"from benchmarks.studies import plan_rows; plan_rows({str(folder)!r})"
    done = [sys.executable, "-c", code]
    out = subprocess.run(done, check=True, capture_output=True, text=True, env=environment())
    return json.loads(out.stdout)


def plan_rows(folder: str) -> None:
    """Check, plan, and resume: as the leader does, in a process of its own."""
    begin = time.monotonic()
    table, study = Path(folder) / "t.csv", StudyFolder(Path(folder) / "study")
    listed, faults = rows_of(read_cells(table), QUICK, {})
    wrong, _ = check_files(listed)
    assert (faults, wrong) == ([], [])
    checked = time.monotonic()
    plan_study(study, listed, Choice())
    planned = time.monotonic()
    from neuralreg.studies.execution.row_records import inputs_of

    for row in listed:  # as if all of them had been computed
        study.work(row.id).mkdir(parents=True)
        write_record(study, RowRecord(row.id, DONE, row.key, inputs_of(row), 1, 1.0, 400.0))
    written = time.monotonic()
    plan = plan_study(study, listed, Choice())
    assert not plan.compute
    Ledger(study, plan, StudyFacts("made", QUICK), print).write()
    resumed = time.monotonic()
    facts = {"read and checked, s": checked - begin, "planned, s": planned - checked}
    facts |= {"resumed and accounted for, s": resumed - written, "memory, MB": peak_mb()}
    print(json.dumps({name: round(value, 1) for name, value in facts.items()}))


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[bool]:
    """A disk of its own at the folder, where this process may mount one."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "neuralreg", str(folder)]
    mounted = (
        shutil.which("mount") is not None
        and not subprocess.run(command, capture_output=True, check=False).returncode
    )
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=True)


class Saboteur(threading.Thread):
    """Kills workers and leaders, and fills the disk once."""

    def __init__(self, leader: Leader, disk: Path | None, kills: int) -> None:
        super().__init__()
        self.leader, self.disk, self.kills = leader, disk, kills
        self.killed, self.stopping = 0, False

    def run(self) -> None:
        dice = random.Random(0)
        while not self.stopping and self.killed < self.kills:
            time.sleep(dice.uniform(2.0, 8.0))
            workers = self.leader.workers()
            if workers and not self.stopping:
                os.kill(dice.choice(workers), signal.SIGKILL)
                self.killed += 1
            if self.killed in (3, 7) and self.leader.kills < 1 + (self.killed == 7):
                self.leader.kill()
            if self.killed == 5 and self.disk is not None:
                fill(self.disk)
                self.disk = None


def fill(disk: Path) -> None:
    """Leave no room for some seconds."""
    ballast = disk / "ballast"
    with ballast.open("wb") as file:
        try:
            while True:
                file.write(bytes(1 << 16))
                file.flush()
        except OSError:
            time.sleep(8.0)
    ballast.unlink()


class Leader:
    """`neuralreg batch`, started again when it was killed."""

    def __init__(self, table: Path, study: Path) -> None:
        command = [sys.executable, "-m", "neuralreg", "batch", str(table), "-o", str(study)]
        self.command = [*command, *QUICK_WORDS, "--workers", "2", "--threads", "1", "--json"]
        self.kills, self.done, self.pids = 0, [], set()
        self.process: subprocess.Popen[str] | None = None

    def work(self) -> int:
        while True:
            self.process = subprocess.Popen(
                self.command, env=environment(), stdout=subprocess.PIPE, text=True,
                stderr=subprocess.DEVNULL,
            )  # fmt: skip
            for line in self.process.stdout:
                facts = json.loads(line)
                self.done += [facts["id"]] if facts.get("state") == DONE else []
            if self.process.wait() != -signal.SIGKILL:
                return self.process.returncode

    def workers(self) -> list[int]:
        pids = tree({self.process.pid}) - {self.process.pid} if self.process else set()
        self.pids |= pids
        return sorted(pids)

    def kill(self) -> None:
        self.workers()
        self.kills += 1
        self.process.kill()


def faults(folder: Path, count: int = 200, bad: int = 20, kills: int = 10) -> dict[str, object]:
    fixed = make_image(folder / "f.nii.gz", 24)
    moving = make_image(folder / "m.nii.gz", 24, 1)
    (folder / "cut.nii.gz").write_bytes(moving.read_bytes()[:500])
    lines = ["id,fixed,moving"]
    for number in range(count):
        name = f"m{number}.nii.gz"
        kind = number % (2 * count // bad) if number % (count // bad) == 0 else None
        if kind is None:
            os.link(moving, folder / name)
        elif kind == 0:
            os.link(folder / "cut.nii.gz", folder / name)  # the others are missing
        lines.append(f"{'good' if kind is None else 'bad'}-{number},{fixed.name},{name}")
    (folder / "t.csv").write_text("\n".join(lines) + "\n")
    with small_disk(folder / "disk", 300) as mounted:
        study = folder / "disk" / "study"
        leader = Leader(folder / "t.csv", study)
        saboteur = Saboteur(leader, folder / "disk" if mounted else None, kills)
        saboteur.start()
        code = leader.work()
        saboteur.stopping = True
        saboteur.join()
        return {"disk full once": mounted, **judge(study, leader, saboteur, code)}


def judge(study: Path, leader: Leader, saboteur: Saboteur, code: int) -> dict[str, object]:
    with (study / "study.csv").open(newline="") as file:
        table = {row["id"]: row for row in csv.DictReader(file)}
    good = [name for name in table if name.startswith("good")]
    half = [str(path) for path in study.rglob("*") if path.name.startswith(".")]
    whole = [name for name in good if len(list((study / name).glob("*.*"))) == 4]
    reasons = [row["reason"] for name, row in table.items() if name.startswith("bad")]
    return {
        "exit code": code,
        "workers killed": saboteur.killed,
        "leader killed": leader.kills,
        "good rows": len(good),
        "done": sum(table[name]["state"] == DONE for name in good),
        "with all files": len(whole),
        "done twice": len(leader.done) - len(set(leader.done)),
        "bad rows named with their reason": sum(".nii.gz" in reason for reason in reasons),
        "half files": len(half),
        "processes left": len(tree(leader.pids)),
        "not done": [f"{n}: {table[n]['reason']}" for n in good if table[n]["state"] != DONE],
    }


PARTS: dict[str, Part] = {
    part.__name__: part for part in (overhead, scaling, loop, engine, rows, faults)
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="part", help=", ".join(PARTS))
    chosen = parser.parse_args().parts or list(PARTS)
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / "studies.json"
    facts = json.loads(path.read_text()) if path.exists() else {}
    for name in chosen:
        with tempfile.TemporaryDirectory(prefix="studies-") as folder:
            facts[name] = PARTS[name](Path(folder).resolve())
        print(f"\n{name}", *(f"  {key}: {value}" for key, value in facts[name].items()), sep="\n")
        path.write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
