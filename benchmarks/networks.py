"""Our networks against their authors' own code: time, peak memory and largest difference.

    python -m benchmarks.networks FOLDER [--only NAME …] [--size native|small|half] [--repeats 2]
        [--threads 1] [--both]

FOLDER as in originals.py, which also says what to install. Weights are random numbers: time and
memory do not depend on them. Both run in processes of their own, in turn, ours first in every other
round; the ratio of the smallest CPU times counts, not the seconds. --both times both directions,
where the authors' program computes them together.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import RESULTS
from Testing.support.paths import EXTENSION, ROOT

SIZES = ("native", "half", "small")


def shape_of(name: str, size: str) -> tuple[int, ...]:
    from Testing.support.authors_networks import NETWORKS

    network = NETWORKS[name]
    if size == "half":
        least = 32 if name != "gradicon" else 1
        return tuple(max(least, n // 2 // least * least) for n in network.native)
    return network.native if size == "native" else network.small


def run_one(name: str, size: str, folder: Path, whose: str, both: bool, out: Path) -> None:
    """In a process of its own: seconds of the second run, and the answer, into a file."""
    import torch

    from Testing.support.authors_networks import NETWORKS, on_this_machine
    from Testing.support.seeded import seeded_pair, seeded_weights

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    network, shape = NETWORKS[name], shape_of(name, size)
    pair = seeded_pair(shape)
    with on_this_machine(), torch.inference_mode():
        if whose == "theirs":
            theirs = network.both if both and network.both else network.theirs
            module, run = theirs(folder, shape)
        else:
            module = network.ours()
            run = (lambda f, _m: module(f)) if name == "anatomix" else module  # type: ignore[assignment]
            if both:
                run = lambda f, m: torch.cat(module.both(f, m), 1)  # noqa: E731
        if not name.startswith("lku_net"):  # whose tensors have other names in ours
            module.load_state_dict(seeded_weights(module.state_dict(), network.gentle))
        module.eval()
        answers = []
        twice = both and whose == "theirs" and not network.both
        wall, cpu = time.perf_counter(), time.process_time()
        answers.append(run(*pair))
        if twice:
            answers.append(run(*pair[::-1]))
        seconds = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}
    answer = torch.cat(answers, 1)
    torch.save({**seconds, "answer": answer.half() if answer.numel() > 1e8 else answer}, out)


def measured(arguments: list[str], threads: int, out: Path) -> dict[str, object]:
    import torch

    environment = {
        **os.environ,
        "OMP_NUM_THREADS": str(threads),
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(EXTENSION)]),
    }
    command = [sys.executable, "-m", "benchmarks.networks", *arguments, "--out", str(out)]
    child = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} ended with {status}")
    return {**torch.load(out, weights_only=True), "gb": usage.ru_maxrss / 2**20}


def compared(name: str, options: argparse.Namespace) -> dict[str, object]:
    """One row of the table."""
    rounds: dict[str, list[dict[str, object]]] = {"ours": [], "theirs": []}
    with tempfile.TemporaryDirectory() as folder:
        for n in range(options.repeats):
            for whose in ("ours", "theirs")[:: 1 if n % 2 else -1]:
                arguments = [str(options.folder), "--only", name, "--size", options.size]
                arguments += ["--run", whose, *(["--both"] if options.both else [])]
                out = Path(folder) / "answer.pt"
                rounds[whose].append(measured(arguments, options.threads, out))
    ours, theirs = rounds["ours"], rounds["theirs"]
    first, second = ours[0]["answer"], theirs[0]["answer"]
    same = first.shape[1] if not name.startswith("lku_net") else 0
    row = {
        "network": name,
        "shape": shape_of(name, options.size),
        "ours_s": min(r["cpu"] for r in ours),
        "theirs_s": min(r["cpu"] for r in theirs),
        "ratio": min(r["cpu"] for r in ours) / min(r["cpu"] for r in theirs),
        "wall_ratio": statistics.median(
            a["wall"] / b["wall"] for a, b in zip(ours, theirs, strict=True)
        ),
        "ours_gb": min(r["gb"] for r in ours),
        "theirs_gb": min(r["gb"] for r in theirs),
        "difference": float((first - second[:, :same]).abs().max()) if same else None,
    }
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="+")
    parser.add_argument("--size", choices=SIZES, default="native")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--both", action="store_true")
    parser.add_argument("--run", choices=("ours", "theirs"), help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        name = options.only[0]
        run_one(name, options.size, options.folder, options.run, options.both, options.out)
        return
    from Testing.support.authors_networks import NETWORKS

    rows = []
    print("network              ours s  theirs s  ratio   wall  ours GB  theirs GB  difference")
    shared = [name for name, network in NETWORKS.items() if network.both]
    for name in options.only or (shared if options.both else NETWORKS):
        row = compared(name, options)
        rows.append(row)
        print(
            f"{name:20} {row['ours_s']:6.1f} {row['theirs_s']:9.1f} {row['ratio']:6.2f}"
            f" {row['wall_ratio']:6.2f} {row['ours_gb']:8.2f} {row['theirs_gb']:10.2f}"
            f"  {'' if row['difference'] is None else format(row['difference'], '.1e')}",
            flush=True,
        )
    RESULTS.mkdir(exist_ok=True)
    kept = {k: str(v) for k, v in vars(options).items() if k not in ("run", "out")}
    path = RESULTS / f"networks{'-both' if options.both else ''}.json"
    path.write_text(json.dumps({**kept, "rows": rows}, indent=2))


if __name__ == "__main__":
    main()
