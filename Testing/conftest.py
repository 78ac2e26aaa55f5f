"""What many tests need: grids of every kind, and smooth fields on them."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

# Before torch is loaded: waiting threads sleep, so that tests stay fast on a busy machine.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# What lies in the cache of whoever runs the tests must not decide what they see.
os.environ["NEURALREG_CACHE"] = tempfile.mkdtemp(prefix="neuralreg-tests-")

# A shell starts what it runs in the background with Ctrl-C ignored, and children inherit that.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

import numpy as np
import platformdirs
import pytest
import torch
from neuralreg.geometry.field import DisplacementField
from neuralreg.geometry.grid import Grid

from Testing.support.odd_pairs import make_odd_pairs
from Testing.support.paths import NO_SHARED, PAIRS, SHARED

IDENTITY = (1, 0, 0, 0, 1, 0, 0, 0, 1)


def turned(about_z: float, about_x: float) -> tuple[float, ...]:
    """Cosines of an oblique grid."""
    c, s = np.cos(about_z), np.sin(about_z)
    e, t = np.cos(about_x), np.sin(about_x)
    matrix = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ [[1, 0, 0], [0, e, -t], [0, t, e]]
    return tuple(matrix.ravel())


GRIDS = {
    "identity": Grid((12, 12, 12), (1, 1, 1), (0, 0, 0), IDENTITY),
    "flipped": Grid((12, 11, 10), (1, 1, 1), (5, -3, 8), (-1, 0, 0, 0, -1, 0, 0, 0, 1)),
    "permuted": Grid((11, 12, 10), (1.5, 1, 2), (-9, 4, 1), (0, 0, 1, 1, 0, 0, 0, 1, 0)),
    "oblique": Grid((12, 10, 11), (1, 1.5, 2), (30, -20, 10), turned(0.4, -0.3)),
    "anisotropic": Grid((14, 14, 6), (0.5, 0.5, 5), (-100, 50, 7), IDENTITY),
    "unequal": Grid((7, 19, 10), (2, 0.7, 1.3), (1, 2, 3), IDENTITY),
    "2D": Grid((13, 11), (1.2, 0.8), (4, -6), (0.8, -0.6, 0.6, 0.8)),
}


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips a test marked `needs_shared(path)` where that is not on this machine."""
    for mark in item.iter_markers("needs_shared"):
        if not all(Path(path).exists() for path in mark.args or (SHARED,)):
            pytest.skip(NO_SHARED)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says in one line how much was left out for want of data that is not in the repository."""
    skipped = terminalreporter.stats.get("skipped", [])
    count = sum(NO_SHARED in str(report.longrepr) for report in skipped)
    if count:
        terminalreporter.write_line(
            f"{count} tests were skipped: they need test data in {SHARED}, see CONTRIBUTING.md"
        )


@pytest.fixture(autouse=True, scope="session")
def own_cache() -> Iterator[None]:
    yield
    shutil.rmtree(os.environ["NEURALREG_CACHE"], ignore_errors=True)


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Tests work on tiny arrays, for which threads only cost."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def odd_pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of real pairs that are odd in one way each: the shared ones, or made anew."""
    if PAIRS.is_dir() and "NEURALREG_MAKE_PAIRS" not in os.environ:
        return PAIRS
    cache = Path(platformdirs.user_cache_dir("neuralreg")) / "tests"
    return make_odd_pairs(tmp_path_factory.mktemp("odd"), cache)


@pytest.fixture(params=GRIDS.values(), ids=GRIDS.keys())
def a_grid(request: pytest.FixtureRequest) -> Grid:
    """A grid of each kind that medical images come on."""
    return request.param


@pytest.fixture(params=["cpu", "cuda"])
def a_device(request: pytest.FixtureRequest) -> str:
    """Each device that this machine has."""
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("this machine has no CUDA device")
    return request.param


@pytest.fixture
def smooth_field() -> Callable[..., DisplacementField]:
    """Makes a smooth field of known largest length on a grid, the same one for the same seed."""

    def make(grid: Grid, largest_mm: float = 2.0, seed: int = 0) -> DisplacementField:
        generator = torch.Generator().manual_seed(seed)
        knots = grid.pad(1).resize([4] * grid.dimension)
        rough = torch.randn(grid.dimension, *knots.shape, generator=generator)
        vectors = DisplacementField(rough, knots).resample(grid).vectors
        return DisplacementField(vectors * (largest_mm / vectors.norm(dim=0).max()), grid)

    return make
