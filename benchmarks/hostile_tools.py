"""What each hostile run needs: the command line under close watch, and made images with a truth."""

from __future__ import annotations

import os
import tempfile
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from neuralreg.cli.main import app
from numpy.typing import NDArray
from typer.testing import CliRunner

Array = NDArray[np.generic]
RIGHT, REMARKED, REFUSED, WRONG = "right", "right or other, with a remark", "refused", "WRONG"
INTEGERS = (
    np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32, np.uint64, np.int64,
)  # fmt: skip
NUMBERS = (*INTEGERS, np.float32, np.float64)
_REFUSALS = (1, 2, 3, 4)
_TINY = 1e-30  # less than single precision holds


@dataclass(frozen=True)
class Outcome:
    """How a command ended.

    Attributes:
        code: of its exit.
        out, err: what it wrote; `err` with what libraries wrote to the terminal themselves.
        crash: the traceback, empty without one.
    """

    code: int
    out: str
    err: str
    crash: str


@dataclass(frozen=True)
class Judgement:
    """What an oracle says about a run: one of RIGHT, REMARKED, REFUSED and WRONG, and why."""

    verdict: str
    words: str = ""


def call(*arguments: object) -> Outcome:
    """Run a command in this process; its warnings and what ITK writes count as errors."""
    with tempfile.TemporaryFile() as sink, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        terminal = os.dup(2)
        os.dup2(sink.fileno(), 2)
        try:
            result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)
        sink.seek(0)
        noise = sink.read().decode(errors="replace")
    crash = ""
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        crash = "".join(traceback.format_exception(result.exception)[-3:])
    for one in caught:
        if not issubclass(one.category, ResourceWarning):
            crash += f"{one.category.__name__}: {one.message} ({one.filename}:{one.lineno})"
    if noise.strip():
        crash += f"on the terminal: {noise[:300]}"
    return Outcome(result.exit_code, result.stdout, result.stderr, crash)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep what an oracle says off the terminal."""
    terminal, sink = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, 2)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        os.dup2(terminal, 2)
        os.close(terminal)
        os.close(sink)


def fault_of(outcome: Outcome, path: Path | str) -> Judgement | None:
    """A crash, or the refusal of a file, which must name it; None where a command went through."""
    if outcome.crash:
        return Judgement(WRONG, f"crashed: {outcome.crash[-400:]}")
    if outcome.code == 0:
        return None
    if outcome.code not in _REFUSALS or not outcome.err.strip():
        return Judgement(WRONG, f"exit {outcome.code} without a word")
    values = Path(path).with_suffix("").name + "."  # the file of the values, beside a header
    if Path(path).name not in outcome.err and values not in outcome.err:
        return Judgement(WRONG, f"refused without naming {Path(path).name}: {outcome.err[:300]}")
    return Judgement(REFUSED, outcome.err.strip()[:300])


def same(values: Array, truth: Array, tolerance: float = 0.0) -> bool:
    """Whether arrays have one shape and one content; NaN is like NaN."""
    if values.shape != truth.shape:
        return False
    if tolerance == 0 and values.dtype.kind in "iu" and truth.dtype.kind in "iu":
        return bool((values == truth).all())
    return np.allclose(
        values.astype(float), truth.astype(float), rtol=1e-6, atol=tolerance + _TINY, equal_nan=True
    )


def some_direction(rng: np.random.Generator, dimension: int) -> Array:
    """Axes along those of the world in any order and sense, or turned by any angle."""
    if rng.random() < 0.5:
        axes = np.eye(dimension)[rng.permutation(dimension)]
        return axes * rng.choice([-1.0, 1.0], dimension)
    turned, _ = np.linalg.qr(rng.normal(size=(dimension, dimension)))
    return np.asarray(turned)


def some_values(rng: np.random.Generator, number: type, shape: Sequence[int]) -> Array:
    """Noise, one value, or the ends of a number type; NaN and infinity where it has them."""
    kind = rng.choice(["noise", "constant", "ends", "labels"])
    if kind == "constant":
        return np.full(shape, rng.integers(0, 100)).astype(number)
    values = rng.integers(0, 100 if kind == "noise" else 4, shape).astype(number)
    if kind == "ends":
        low, high = (
            (np.iinfo(number).min, np.iinfo(number).max)
            if np.issubdtype(number, np.integer)
            else (np.nan, np.inf)
        )
        values.flat[:: max(values.size // 5, 1)] = low
        values.flat[1 :: max(values.size // 5, 1)] = high
    return values


def itk_image(values: Array, spacing: Sequence[float], origin: Sequence[float],
              direction: Array) -> sitk.Image:  # fmt: skip
    """An image of values (z, y, x) on a grid."""
    image = sitk.GetImageFromArray(values)
    image.SetSpacing([float(step) for step in spacing])
    image.SetOrigin([float(place) for place in origin])
    image.SetDirection(np.asarray(direction, float).ravel().tolist())
    return image


def body(shape: Sequence[int], shift: Sequence[float]) -> Array:
    """A ball with a smaller one in it, (z, y, x), moved by voxels x y z."""
    axes = np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in shape), indexing="ij")[::-1]
    at = [axis - step for axis, step in zip(axes, shift, strict=True)]
    radius = np.sqrt(sum(a**2 * w for a, w in zip(at, (1.0, 1.3, 0.9), strict=False)))
    inner = np.exp(-sum((a - 2) ** 2 for a in at) / 6)
    return np.asarray(100 / (1 + np.exp(radius - min(shape) / 3.5)) + 40 * inner, np.float32)
