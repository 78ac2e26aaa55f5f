"""Instance optimization of uniGradICON's architecture: ours against the official package.

    python -m benchmarks.instance [--size 80] [--steps 10] [--repeats 2] [--threads 1]

Both begin with the same seeded weights and see the same random points; time does not depend on what
the numbers are. Packages: `pip install --no-deps icon_registration==1.1.9 unigradicon==1.0.6`.
Each runs in a process of its own, in turn. "step" is loss, gradient and Adam; "all" adds what
follows until a transform is there: theirs computes the loss and both maps again, ours one map.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from unittest import mock

from benchmarks import RESULTS
from Testing.support.paths import ROOT

RATE = 2e-5


def ours(size: int, steps: int) -> tuple[list[float], float]:
    """The losses, and the seconds after the steps."""
    import torch
    from neuralreg import WeightRefinement
    from neuralreg.networks import gradicon
    from neuralreg.registration.instance_optimization import NetworkPair, optimize_weights
    from neuralreg.zoo.loaded_network import LoadedNetwork
    from neuralreg.zoo.registry import model_card

    from Testing.support.seeded import seeded_pair

    fixed, moving = (image[0] for image in seeded_pair((size,) * 3))
    network = LoadedNetwork(
        model_card("gradicon.unigradicon"), seeded(gradicon.build()), torch.device("cpu")
    )
    how = WeightRefinement(steps=steps, rate=RATE)
    own, record = optimize_weights(network, NetworkPair(fixed, moving), how, None, lambda *_: None)
    began = time.process_time()
    own.predict(fixed, moving)
    return list(record.losses), time.process_time() - began


def theirs(size: int, steps: int) -> tuple[list[float], float]:
    """The same by unigradicon, step by step as its `finetune_execute`."""
    import torch

    from Testing.support.authors_networks import _Anything, gradicon_of
    from Testing.support.seeded import seeded_pair

    with mock.patch.dict(sys.modules, {"itk": _Anything("itk")}):
        import icon_registration
        import unigradicon
    shape = (size,) * 3
    net, _ = gradicon_of(ROOT, shape)
    package = unigradicon.GradientICONSparse(
        seeded(net), icon_registration.LNCC(sigma=5), lmbda=1.5
    )
    package.assign_identity_map([1, 1, *shape])
    fixed, moving = seeded_pair(shape)
    optimizer = torch.optim.Adam(package.eval().parameters(), lr=RATE)
    losses = []
    with mock.patch.object(torch, "randn", points(shape)):
        for _ in range(steps):
            optimizer.zero_grad()
            loss = package(moving, fixed)[0]
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        began = time.process_time()
        with torch.no_grad():
            package(moving, fixed)
            package.phi_AB(package.identity_map)
            package.phi_BA(package.identity_map)
    return losses, time.process_time() - began


def seeded(network):
    """The network with numbers that anybody can make again."""
    from Testing.support.seeded import seeded_weights

    network.load_state_dict(seeded_weights(network.state_dict(), {"lastConv.weight": 0.02}))
    return network.eval()


def points(shape: tuple[int, ...]):
    """Random numbers as ours draws them, where the package takes every second sample of its own."""
    import torch

    generator, draw = torch.Generator().manual_seed(0), torch.randn

    def drawn(*_size: int) -> torch.Tensor:
        every = torch.zeros(1, 3, *shape)
        half = [-(-n // 2) for n in shape]
        every[:, :, ::2, ::2, ::2] = draw((1, 3, *half), generator=generator).flip(1)
        return every

    return drawn


def run_one(options: argparse.Namespace) -> None:
    import torch

    torch.set_num_threads(options.threads)
    (ours if options.run == "ours" else theirs)(80, 1)  # what is loaded at first is not counted
    wall, cpu = time.perf_counter(), time.process_time()
    losses, after = (ours if options.run == "ours" else theirs)(options.size, options.steps)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    found = {
        "losses": losses,
        "step_s": (cpu - after) / options.steps,
        "cpu_s": cpu,
        "wall_s": wall,
        "gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }
    options.out.write_text(json.dumps(found))


def measured(options: argparse.Namespace, whose: str, out: Path) -> dict[str, object]:
    environment = {**os.environ, "OMP_NUM_THREADS": str(options.threads)}
    command = [sys.executable, "-m", "benchmarks.instance", "--run", whose, "--out", str(out)]
    for name in ("size", "steps", "threads"):
        command += [f"--{name}", str(getattr(options, name))]
    subprocess.run(command, check=True, env=environment)
    return json.loads(out.read_text())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=80)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--run", choices=("ours", "theirs"), help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        run_one(options)
        return
    rounds = {"ours": [], "theirs": []}
    with tempfile.TemporaryDirectory() as folder:
        for n in range(options.repeats):
            for whose in ("ours", "theirs")[:: 1 if n % 2 else -1]:
                rounds[whose].append(measured(options, whose, Path(folder) / "found.json"))
    best = {
        whose: {
            key: min(found[key] for found in each) for key in ("step_s", "cpu_s", "wall_s", "gb")
        }
        for whose, each in rounds.items()
    }
    print(
        f"{options.steps} steps, {options.size} samples along each axis, {options.threads} threads"
    )
    print(f"{'':8}{'step, CPU s':>14}{'all, CPU s':>14}{'wall s':>10}{'GB':>8}")
    for whose, row in best.items():
        print(
            f"{whose:8}{row['step_s']:14.2f}{row['cpu_s']:14.1f}{row['wall_s']:10.1f}{row['gb']:8.2f}"
        )
    ratio = {key: best["ours"][key] / best["theirs"][key] for key in best["ours"]}
    print("ratio   " + "  ".join(f"{key} {value:.2f}" for key, value in ratio.items()))
    curves = [each[0]["losses"] for each in (rounds["ours"], rounds["theirs"])]
    gap = max(abs(a - b) / abs(b) for a, b in zip(*curves, strict=True))
    print(
        f"losses {curves[0][0]:.5f} to {curves[0][-1]:.5f} (ours), "
        f"{curves[1][0]:.5f} to {curves[1][-1]:.5f} (theirs), at most {100 * gap:.2g} % apart"
    )
    RESULTS.mkdir(exist_ok=True)
    kept = {k: v for k, v in vars(options).items() if k not in ("run", "out")}
    found = {**kept, **rounds, "ratio": ratio, "largest_gap_of_losses": gap}
    (RESULTS / "instance.json").write_text(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
