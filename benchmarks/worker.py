"""What the panels cost: opening, blocks of the window, overhead, cancels, many jobs, a review.

    OMP_WAIT_POLICY=PASSIVE python -m benchmarks.worker [open block overhead cancel many review]
        [--size 256] [--shrink 2] [--tries 50] [--jobs 500] [--turns 3]
        [--sample d01_brain_t1_fs]

Everything runs as in Slicer: real MRML nodes, Qt's event loop (the stand-in of Testing/gui), and
the real worker. "block" and "many" use a worker whose registrations are known beforehand, since the
window does not see what is computed; the arrays that it hands over and takes back are real.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import RESULTS
from Testing.support.paths import EXTENSION, PAIRS, ROOT, TEST_DATA

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from Testing.gui import standin

KNOWN = [sys.executable, str(TEST_DATA / "known_engine.py")]
LATE_MS, TICK_MS = 100, 5


class Ticks:
    """When the event loop came round."""

    def __init__(self):
        import qt

        self.times = [time.perf_counter()]
        self.stages = ["start"]
        self.stage = "start"
        self._timer = qt.QTimer()
        self._timer.interval = TICK_MS
        self._timer.connect("timeout()", self._tick)
        self._timer.start()

    def _tick(self):
        self.times.append(time.perf_counter())
        self.stages.append(self.stage)

    def end(self) -> dict[str, object]:
        self._timer.stop()
        gaps = [1000 * (b - a) for a, b in zip(self.times, self.times[1:], strict=False)]
        longest: dict[str, float] = {}
        for gap, stage in zip(gaps, self.stages[1:], strict=True):
            longest[stage] = max(longest.get(stage, 0.0), round(gap, 1))
        return {"ticks": len(gaps), "late": sum(g > LATE_MS for g in gaps), "longest_ms": longest}


def spin(condition) -> None:
    import slicer

    while not condition():
        slicer.app.processEvents()
        time.sleep(0.001)


def queue_of(worker=None):
    """The session's queue, with this worker."""
    from NeuralRegistrationLib.Worker import Queue

    Queue._queues[:] = [Queue.Queue(worker)]
    return Queue.queue()


def a_volume(size: int, name: str):
    import numpy as np
    import slicer

    k, j, i = np.ogrid[:size, :size, :size]
    waves = np.sin(i / 9.0) * np.cos(j / 7.0) + np.sin(k / 8.0 + len(name))
    return slicer.util.addVolumeFromArray((100 + 50 * waves).astype(np.float32), None, name)


def block(options) -> list[dict[str, object]]:
    """The longest times in which the window did nothing, per stage of a job."""
    from NeuralRegistrationLib.Register.Logic import register

    queue = queue_of(KNOWN)
    nodes = [a_volume(options.size, name) for name in ("fixed", "moving")]
    rows = []
    for turn in ("cold worker", "warm worker"):
        ticks = Ticks()

        def told(job, ticks=ticks):
            ticks.stage = job.state

        start = time.perf_counter()
        job = register(*nodes, wait=False, inverse=True, onProgress=told)
        spin(lambda job=job: job.ended)
        if job.error is not None:
            raise job.error
        ticks.stage = "done"
        seconds = time.perf_counter() - start
        until = time.perf_counter() + 0.5
        spin(lambda until=until: time.perf_counter() > until)
        rows.append({"case": turn, "seconds": round(seconds, 2), **ticks.end()})
        job.result.revert()
    queue.close()
    return rows


def the_pair(options):
    """A pair of the shared data as nodes, each axis shrunk."""
    import neuralreg
    from neuralreg.geometry.warp import warp
    from NeuralRegistrationLib.Scene import Scripting

    nodes = []
    for role in ("fixed", "moving"):
        image = neuralreg.read_image(next((PAIRS / options.sample).glob(f"{role}.n*")))
        grid = image.grid.resize([max(n // options.shrink, 8) for n in image.grid.size])
        image = warp(image, neuralreg.DisplacementField.identity(grid), grid)
        nodes.append(Scripting.volumeNodeFromImage(image, role))
    return nodes


def overhead(options) -> list[dict[str, object]]:
    """A job on a warm worker, from Apply to its nodes, over `register` in this process."""
    import neuralreg
    from NeuralRegistrationLib.Register.Logic import register
    from NeuralRegistrationLib.Scene import Scripting

    queue = queue_of()
    nodes = the_pair(options)
    images = [Scripting.imageFromVolumeNode(node) for node in nodes]
    neuralreg.register(*images)  # both are warm
    register(*nodes).revert()
    turns = []
    for _ in range(options.turns):  # by turns, so that other programs disturb both alike
        start, cpu = time.perf_counter(), cpu_s(os.getpid())
        result = neuralreg.register(*images)
        here = time.perf_counter() - start
        neuralreg.warp(images[1], result.field, images[0].grid)
        cpu_here = cpu_s(os.getpid()) - cpu
        with_warp = time.perf_counter() - start
        start, cpu = time.perf_counter(), cpu_s(os.getpid()) + cpu_s(queue.pid)
        done = register(*nodes)
        there = time.perf_counter() - start
        cpu_there = cpu_s(os.getpid()) + cpu_s(queue.pid) - cpu
        computed = sum(done.result.timings.values())
        turns.append((here, with_warp, there, computed, cpu_here, cpu_there))
        done.revert()
    queue.close()
    here, with_warp, there, computed, cpu_here, cpu_there = map(
        statistics.median, zip(*turns, strict=True)
    )
    size = "x".join(map(str, images[0].grid.size))
    return [
        {
            "case": f"{options.sample} {size}",
            "register_s": round(here, 2),
            "register_and_warp_s": round(with_warp, 2),
            "job_s": round(there, 2),
            "engine_within_job_s": round(computed, 2),
            "job_over_register": round(there / here, 3),
            "cpu_of_register_and_warp_s": round(cpu_here, 2),
            "cpu_of_job_s": round(cpu_there, 2),
            "cpu_ratio": round(cpu_there / cpu_here, 3),
        }
    ]


def cancel(options) -> list[dict[str, object]]:
    """Whether any process is left 2 s after a cancel at a random moment."""
    from neuralreg.worker.processes import tree
    from NeuralRegistrationLib.Register.Logic import register

    queue = queue_of()
    nodes = [a_volume(96, name) for name in ("fixed", "moving")]
    left, slowest, states = 0, 0.0, {}
    chance = random.Random(0)
    for _ in range(options.tries):
        moment = time.perf_counter() + chance.uniform(0.0, 12.0)
        job = register(*nodes, wait=False)
        spin(lambda moment=moment, job=job: time.perf_counter() > moment or job.ended)
        states[job.state] = states.get(job.state, 0) + 1
        family = tree({queue.pid}) if queue.pid else set()
        if job.state == "failed":
            raise job.error
        start = time.perf_counter()
        job.cancel()
        if job.state == "done":
            queue.close()
        until = start + 2.0
        spin(
            lambda family=family, until=until: (
                not (tree(family) or files()) or time.perf_counter() > until
            )
        )
        slowest = max(slowest, time.perf_counter() - start)
        left += bool(tree(family) or files())
    queue.close()
    return [
        {"case": f"{options.tries} tries", "with_something_left": left,
         "slowest_s": round(slowest, 3), "cancelled_while": states}
    ]  # fmt: skip


def files() -> int:
    """How many temporary files and folders of jobs there are."""
    import slicer

    return len(list(Path(slicer.app.temporaryPath).glob("neuralreg-*/*")))


def cpu_s(pid: int) -> float:
    """Processor time that a process has had; what others do on the machine hardly changes it."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def many(options) -> list[dict[str, object]]:
    """Memory of the worker and of this process after 50 jobs and at the end."""
    from NeuralRegistrationLib.Register.Logic import register

    queue = queue_of(None if options.real else KNOWN)
    nodes = [a_volume(32, name) for name in ("fixed", "moving")]
    marks = {}
    pids = set()
    for number in range(1, options.jobs + 1):
        register(*nodes, inverse=True).revert()
        pids.add(queue.pid)
        if number in (min(50, options.jobs // 2), options.jobs):
            marks[number] = [round(memory_mb(pid), 1) for pid in (queue.pid, os.getpid())]
    until = time.perf_counter() + 2.0
    spin(lambda: not files() or time.perf_counter() > until)
    left = files()
    queue.close()
    first, last = marks[min(marks)], marks[max(marks)]
    return [
        {"case": f"{options.jobs} jobs", "workers": len(pids), "files_left": left,
         "worker_mb": [first[0], last[0]], "window_mb": [first[1], last[1]]}
    ]  # fmt: skip


def reviewing(options) -> list[dict[str, object]]:
    """From the button to the first and to all numbers of a review, on a cold and a warm worker."""
    import slicer
    from NeuralRegistrationLib.Review.Panel import ReviewPanel

    known = queue_of(KNOWN)  # its answer is the transform to be reviewed: a shift
    from NeuralRegistrationLib.Register.Logic import register

    nodes = [a_volume(options.size, name) for name in ("fixed", "moving")]
    transform = register(*nodes).transformNode
    panel, rows = ReviewPanel(), []
    panel.open(transform)
    for turn in ("cold worker", "warm worker"):
        ticks, marks = Ticks(), {}

        def told(reviewed, marks=marks, show=panel._showReviewed):
            show(reviewed)
            marks[reviewed.report.detail] = time.perf_counter()

        panel._showReviewed = told
        start = time.perf_counter()
        panel.review()
        spin(lambda: not panel.jobs)
        seconds = {name: round(mark - start, 2) for name, mark in marks.items()}
        rows.append({"case": turn, "seconds": seconds, **ticks.end()})
        del panel._showReviewed
    rows.append(exporting(panel))
    panel.cleanup()
    from NeuralRegistrationLib.Worker import Queue

    for each in (Queue.queue(), known):
        each.close()
    slicer.mrmlScene.Clear(False)
    return rows


def exporting(panel) -> dict[str, object]:
    """Blocks of the window while the report's pictures are drawn and its files written."""
    panel.review()
    spin(lambda: not panel.jobs)
    with tempfile.TemporaryDirectory() as folder:
        ticks, start = Ticks(), time.perf_counter()
        path = str(Path(folder) / "report.html")
        panel.report.write(panel.subject, panel._reviewed, None, path)
        spin(lambda: panel.report.job is None)
        written = sorted(file.suffix for file in Path(folder).iterdir())
    return {
        "case": "report",
        "written": written,
        "seconds": round(time.perf_counter() - start, 2),
        **ticks.end(),
    }


OPENING = """
import sys, time
sys.path[:0] = {paths!r}
from Testing.gui import standin
standin.install()
from NeuralRegistrationLib.Scene.Headless import HeadlessScene
world = HeadlessScene()
import slicer
import numpy as np
for name in ("fixed", "moving"):
    slicer.util.addVolumeFromArray(np.zeros((64, 64, 64), np.int16), None, name)
start = time.perf_counter()
import NeuralRegistration
panel = NeuralRegistration.NeuralRegistrationWidget()
slicer.app.processEvents()
seconds = time.perf_counter() - start
heavy = [name for name in ("torch", "SimpleITK") if name in sys.modules]
print(round(seconds, 3), *heavy, flush=True)
import os
os._exit(0)
"""


def opening(options) -> list[dict[str, object]]:
    """The module's first opening, in fresh processes: seconds, and what heavy it imports."""
    code = OPENING.format(paths=[str(ROOT), str(EXTENSION)])
    runs = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        for _ in range(5)
    ]
    found = [run.stdout.splitlines()[-1].split() for run in runs]
    seconds = [float(line[0]) for line in found]
    heavy = sorted({name for line in found for name in line[1:]})
    return [
        {"case": "first opening", "median_s": statistics.median(seconds), "slowest_s": max(seconds),
         "heavy_imports": heavy}
    ]  # fmt: skip


PARTS = {
    "open": opening,
    "review": reviewing,
    "block": block,
    "overhead": overhead,
    "cancel": cancel,
    "many": many,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="all unless named")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--sample", default="d01_brain_t1_fs")
    parser.add_argument("--shrink", type=int, default=1)
    parser.add_argument("--tries", type=int, default=50)
    parser.add_argument("--jobs", type=int, default=500)
    parser.add_argument("--turns", type=int, default=3, help="overhead: of each, the median")
    parser.add_argument("--real", action="store_true", help="many: with the default engine")
    options = parser.parse_args()
    standin.install()
    import slicer
    from NeuralRegistrationLib.Scene.Headless import HeadlessScene

    world = HeadlessScene()
    slicer.app._logic = world.application  # draws the pictures of a report
    found = {}
    for name in options.parts or PARTS:
        if name == "overhead" and not PAIRS.is_dir():
            print("overhead: left out, it needs the shared data")
            continue
        world.scene.Clear(False)
        found[name] = PARTS[name](options)
        for row in found[name]:
            print(f"{name:9} " + "  ".join(f"{key} {value}" for key, value in row.items()))
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / "worker.json"
    former = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({**former, "options": vars(options), **found}, indent=2))


if __name__ == "__main__":
    main()
