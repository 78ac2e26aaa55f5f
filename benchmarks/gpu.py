"""What a GPU makes of everything, beside the CPU: one table in about ten minutes.

    python -m benchmarks.gpu [--device cuda] [--sides 64 128] [--size native] [--networks NAME …]

The default engine on made bodies, then each network with random weights: seconds of a second
run, peak memory, the largest difference from the CPU's result (mm for the engine, units of the
network's answer else), and that of autocast from float32. A network is compared with the CPU at a
small size and timed at `--size`. Without a GPU `--device cpu` shows that the script works.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

import torch
from neuralreg import register
from neuralreg.devices import choose_device
from neuralreg.errors import RegistrationError
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.image import Image

from benchmarks import RESULTS
from Testing.support.authors_networks import NETWORKS
from Testing.support.seeded import seeded_pair, seeded_weights

_EXTENT_MM = 160.0
_SHORT = {"bfloat16": torch.bfloat16, "float16": torch.float16}


def body(side: int, shift_mm: float) -> Image:
    """An ellipsoid with ripples, on a cube of `side` samples."""
    spacing = _EXTENT_MM / side
    axis = (torch.arange(side) + 0.5) * spacing - _EXTENT_MM / 2
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    x = x - shift_mm * torch.cos(z / 40)
    inside = torch.sigmoid((1 - ((x / 60) ** 2 + (y / 50) ** 2 + (z / 45) ** 2)) * 20)
    values = inside * (1 + 0.3 * torch.sin(x / 6) * torch.sin(y / 7) * torch.sin(z / 8))
    axes = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
    return Image(values[None], Grid((side,) * 3, (spacing,) * 3, (0.0,) * 3, axes))


def measure(device: torch.device, run: Callable[[], Any]) -> tuple[Any, float, float]:
    """A result, the seconds of its second run, and the peak memory in GB (0 on a CPU)."""
    run()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
    start = time.perf_counter()
    result = run()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    seconds = time.perf_counter() - start
    peak = torch.cuda.max_memory_allocated(device) / 2**30 if device.type == "cuda" else 0.0
    return result, seconds, peak


def engine(device: torch.device, side: int) -> dict[str, Any]:
    """The default engine on one pair of bodies."""
    fixed, moving = body(side, 0.0), body(side, 6.0)

    def on(name: str) -> Any:
        return register(fixed, moving, model="convex", device=name).field.vectors

    field, seconds, peak = measure(device, lambda: on(str(device)))
    start = time.perf_counter()
    wanted = on("cpu")
    cpu_seconds = time.perf_counter() - start
    return {
        "what": f"default engine {side}",
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "peak_gb": peak,
        "from_cpu": float((field - wanted).abs().max()),
    }


@torch.inference_mode()
def network(device: torch.device, name: str, size: str) -> dict[str, Any]:
    """One network: difference from the CPU, time, memory, and autocast beside float32."""
    architecture = NETWORKS[name]
    module = architecture.ours()
    module.load_state_dict(seeded_weights(module.state_dict(), architecture.gentle))
    module.eval()
    small = seeded_pair(architecture.small)
    wanted = _predict(module, small)
    module.to(device)
    got = _predict(module, [image.to(device) for image in small]).cpu()
    shape = architecture.native if size == "native" else architecture.small
    pair = [image.to(device) for image in seeded_pair(shape)]
    full, seconds, peak = measure(device, lambda: _predict(module, pair))
    row = {
        "what": name,
        "seconds": seconds,
        "peak_gb": peak,
        "from_cpu": float((got - wanted).abs().max()),
    }
    for precision, dtype in _SHORT.items():
        with torch.autocast(device.type, dtype=dtype):
            short, seconds, peak = measure(device, lambda: _predict(module, pair))
        row |= {
            f"{precision}_seconds": seconds,
            f"{precision}_peak_gb": peak,
            f"{precision}_difference": float((short.float() - full.float()).abs().max()),
        }
    return row


def _predict(module: torch.nn.Module, pair: list[torch.Tensor]) -> torch.Tensor:
    output = module(pair[0]) if type(module).__name__ == "Anatomix" else module(*pair)
    return output  # type: ignore[no-any-return]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--sides", type=int, nargs="*", default=[64, 128])
    parser.add_argument("--size", choices=("native", "small"), default="native")
    parser.add_argument("--networks", nargs="*", default=sorted(NETWORKS))
    options = parser.parse_args()
    device = choose_device(options.device)
    rows: list[dict[str, Any]] = []
    tasks: list[tuple[str, Callable[[], dict[str, Any]]]] = [
        *[(f"default engine {side}", lambda s=side: engine(device, s)) for side in options.sides],  # type: ignore[misc]
        *[(name, lambda n=name: network(device, n, options.size)) for name in options.networks],  # type: ignore[misc]
    ]
    print(f"{device}: {torch.cuda.get_device_name(device) if device.type == 'cuda' else 'CPU'}")
    for name, task in tasks:
        try:
            row = task()
        except (RuntimeError, RegistrationError) as error:  # one that fails is a row as well
            row = {"what": name, "error": str(error)[:200]}
        rows.append(row)
        shown = {k: round(v, 5) if isinstance(v, float) else v for k, v in row.items()}
        print("  ".join(f"{k} {v}" for k, v in shown.items()), flush=True)
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "gpu.json").write_text(json.dumps({**vars(options), "rows": rows}, indent=2))


if __name__ == "__main__":
    main()
