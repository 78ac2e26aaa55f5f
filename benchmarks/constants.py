"""The default engine with each of its constants halved and doubled, on the development pairs.

    OMP_WAIT_POLICY=PASSIVE python -m benchmarks.constants [--pairs d05 d15] [--only smoothing]

A constant that was tuned to single pairs shows as a peak: worse on both sides. Constants of what
follows the linear alignment are tried from the alignment of the unchanged engine. What was
measured before is kept in the JSON file and not repeated, unless `--again` is given. Needs the
shared data beside the repository.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import neuralreg
import SimpleITK as sitk
import torch
from neuralreg.io.itk import linear_to_itk
from neuralreg.measures import correlation_cost
from neuralreg.networks import convex
from neuralreg.registration import compositional_steps, linear_search, prealign, refine

from benchmarks import RESULTS
from benchmarks.accuracy import WEAK
from Testing.support.independent_scorer import load_scorer
from Testing.support.paths import SHARED

TABLE = RESULTS / "constants.json"
FACTORS = (0.5, 2.0)


class Constant(NamedTuple):
    """A constant of the engine: where it stands, and how it is multiplied."""

    home: ModuleType
    name: str
    multiply: Callable[[Any, float], Any] = lambda value, factor: value * factor


def _more_points(levels: Any, factor: float) -> Any:
    return tuple(replace(level, points=round(level.points * factor)) for level in levels)


def _rougher(descent: Any, factor: float) -> Any:
    return descent._replace(roughness=descent.roughness * factor)


# What is multiplied together has one row.
LINEAR: dict[str, tuple[Constant, ...]] = {
    "points of the linear stage": (
        Constant(prealign, "_RIGID", _more_points),
        Constant(prealign, "_AFFINE", _more_points),
    ),
    "cost of stretching": (Constant(linear_search, "_STRETCH_PRIOR"),),
}
DEFORMABLE: dict[str, tuple[Constant, ...]] = {
    "scale of the search's costs": (Constant(convex, "_COST_SCALE"),),
    "stiffness under MIND": (Constant(refine, "_MIND", _rougher),),
    "stiffness under local correlation": (Constant(refine, "_LNCC", _rougher),),
    "gain of information asked for": (Constant(refine, "_LEAST_GAIN"),),
    "length that needs no gain": (Constant(refine, "_FAR"),),
    "variance of noise": (Constant(correlation_cost, "_FLOOR"),),
    "smoothing of steps": (Constant(compositional_steps, "_STEP_SMOOTHING"),),
    "smoothing of the field": (Constant(compositional_steps, "FIELD_SMOOTHING"),),
}
STEPS = "steps of the refinement"  # an option, no constant of a module


@contextmanager
def multiplied(constants: tuple[Constant, ...], factor: float) -> Iterator[None]:
    """The engine with some constants changed, for a block."""
    before = [getattr(c.home, c.name) for c in constants]
    try:
        for c, value in zip(constants, before, strict=True):
            setattr(c.home, c.name, c.multiply(value, factor))
        yield
    finally:
        for c, value in zip(constants, before, strict=True):
            setattr(c.home, c.name, value)


class Case:
    """A development pair with its images and, once made, the usual linear alignment."""

    def __init__(self, scorer: ModuleType, pair: dict[str, str]) -> None:
        self.scorer, self.pair = scorer, pair
        folder = Path(pair["dir"])
        self.images = [neuralreg.read_image(folder / pair[side]) for side in ("fixed", "moving")]
        self.start: sitk.Transform | None = None

    def score(self, **options: Any) -> float:
        """Dice, or minus the error in mm where the truth is known."""
        result = neuralreg.register(*self.images, "convex", **options)
        if self.start is None:
            self.start = linear_to_itk(result.linear)
        scored = self.scorer.evaluate(self.pair, [sitk.Transform(result.fixed_to_moving)], hd=False)
        error = (scored.get("tre") or {}).get("mean")
        return round(scored["dice_mean"] if error is None else -error, 4)


def rows_of(case: Case) -> Iterator[tuple[str, float, Callable[[], float]]]:
    """Names, factors and what measures them, for one pair."""
    for name, constants in LINEAR.items():
        for factor in FACTORS:
            yield name, factor, changed(case, constants, factor, from_start=False)
    for name, constants in DEFORMABLE.items():
        for factor in FACTORS:
            yield name, factor, changed(case, constants, factor, from_start=True)
    for factor in FACTORS:
        steps = round(neuralreg.FieldRefinement().steps * factor)
        yield (
            STEPS,
            factor,
            lambda steps=steps: case.score(
                initial=case.start, refinement=neuralreg.FieldRefinement(steps=steps)
            ),
        )


def changed(
    case: Case, constants: tuple[Constant, ...], factor: float, from_start: bool
) -> Callable[[], float]:
    def measure() -> float:
        with multiplied(constants, factor):
            return case.score(**({"initial": case.start} if from_start else {}))

    return measure


def measure_all(names: list[str], only: str, again: bool) -> dict[str, dict[str, float]]:
    """Scores by pair, then by constant and factor; written after each."""
    scorer = load_scorer()
    scorer.read_transform = lambda transform, *_: transform  # it is in memory already
    table = {} if again or not TABLE.exists() else json.loads(TABLE.read_text(encoding="utf-8"))
    for name, pair in scorer.load_manifest(str(SHARED / "data")).items():
        if pair["kind"] != "quant" or name[:3] in WEAK or not name.startswith(tuple(names)):
            continue
        case, scores = Case(scorer, pair), table.setdefault(name, {})
        scores["unchanged"] = case.score()
        for row, factor, measure in rows_of(case):
            key = f"{row} x {factor:g}"
            if only in row and key not in scores:
                scores[key] = measure()
                print(name, key, scores[key], "unchanged", scores["unchanged"], flush=True)
                TABLE.write_text(json.dumps(table, indent=1), encoding="utf-8")
    return table


def print_table(table: dict[str, dict[str, float]]) -> None:
    """Differences from the unchanged engine: a Dice in thousandths, an error in hundredths mm."""
    pairs = sorted(table)
    print("| constant | factor |", " | ".join(name[:3] for name in pairs), "|")
    keys = dict.fromkeys(key for name in pairs for key in table[name] if key != "unchanged")
    for key in keys:
        row, _, factor = key.rpartition(" x ")
        cells = []
        for name in pairs:
            usual, value = table[name]["unchanged"], table[name].get(key)
            scale = 100 if usual < 0 else 1000
            cells.append("" if value is None else f"{(value - usual) * scale:+.0f}")
        print(f"| {row} | {factor} |", " | ".join(cells), "|")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", nargs="*", default=[""], help="beginnings of names")
    parser.add_argument("--only", default="", help="part of the name of a constant")
    parser.add_argument("--again", action="store_true", help="measure what was measured before")
    options = parser.parse_args()
    torch.set_num_threads(1)
    RESULTS.mkdir(exist_ok=True)
    print_table(measure_all(options.pairs, options.only, options.again))


if __name__ == "__main__":
    main()
