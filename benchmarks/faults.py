"""Does the review find what is wrong with a deformation, without labels and landmarks?

    python -m benchmarks.faults [--half report] [--pairs 8] [--real]   (--pairs 0: only --real)

Transforms that are right (the truth of made pairs, the truth within a millimeter or two, and what
the default engine finds) are reviewed as they are and spoiled in eight known ways; a network that
was trained on fives registers fives and sevens. A fault counts as found when something needs
attention and a place of severity 1 or more lies where the fault is: within 15 mm of what was
spoiled, or, where everything is wrong, where the true error is above 2 mm. A right transform that
needs attention is a false alarm. The thresholds of the review were chosen on the half "develop"
alone (other bodies, other deformations, other seeds).

--real adds pairs of real images whose true deformation is known (needs the shared data beside the
repository), those of the same half: see fault_real.py. The default engine's result counts as right
where 95 % of the body is within a voxel of the truth, and is not counted elsewhere.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from neuralreg.review.assess import assess
from neuralreg.review.case import body
from neuralreg.review.geometry.deformation import Deformation
from neuralreg.review.geometry.volumes import on_grid
from neuralreg.review.report_model import QualityReport
from numpy.typing import NDArray

from benchmarks import RESULTS
from benchmarks.fault_phantoms import FAULTS, WRONG_MM, Candidate, Pair, good, pair
from benchmarks.fault_real import real_pairs

SEEDS = {"develop": 0, "report": 500}
ERRORS_MM = (0.0, 1.0, 2.0)
ERRORS_VOXELS = (0.4, 0.8)  # of real images, by the mean side of a voxel


def made(half: str, count: int) -> Iterator[Candidate]:
    """Right ones (truth, and truth with small errors), each fault once per pair."""
    first = SEEDS[half]
    pairs = [pair(first + n, contrast=n % 2 == 1) for n in range(count)]
    bases = []
    for n, one in enumerate(pairs):
        random = np.random.default_rng(7 * (first + n) + 1)
        for error in ERRORS_MM:
            yield good(one, random, error)
        bases.append(good(one, random, 1.0))
        yield _by_engine(one)
    yield from _spoilt(bases, first)


def _spoilt(bases: list[Candidate], seed: int) -> Iterator[Candidate]:
    for n, base in enumerate(bases):
        random = np.random.default_rng(13 * (seed + n) + 5)
        other = bases[(n + 1) % len(bases)]
        for spoil in FAULTS:
            yield spoil(base, random, other)


def _by_engine(one: Pair) -> Candidate:
    """What the default engine finds, kept between runs."""
    return Candidate(one, _engine(one.name, one), None, "default engine")


def _engine(name: str, one: Pair) -> Deformation:
    import neuralreg
    from neuralreg.io.itk import image_from_itk

    path = RESULTS / "faults" / f"{name.replace(' ', '_')}.nii.gz"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        images = image_from_itk(one.fixed), image_from_itk(one.moving)
        neuralreg.write_transform(neuralreg.register(*images, "convex").field, path)
    return Deformation.of(path)


def real(half: str) -> Iterator[Candidate]:
    """Real pairs: truth, truth with small errors, the engine's result; and each fault once."""
    bases = []
    for n, one in enumerate(real_pairs(half)):
        random = np.random.default_rng(7 * n + 900)
        voxel_mm = float(np.prod(one.fixed.GetSpacing()) ** (1 / 3))
        yield good(one, random, 0.0)
        for voxels in ERRORS_VOXELS:
            made = good(one, random, voxels * voxel_mm)
            yield replace(made, kind=f"truth within {voxels:g} voxels")
        bases.append(good(one, random, ERRORS_VOXELS[0] * voxel_mm))
        yield from _by_engine_if_right(one)
    yield from (c for c in _spoilt(bases, 900) if _is_wrong(c))


def _by_engine_if_right(one: Pair) -> Iterator[Candidate]:
    """The engine's result where it is off by no more than the largest side of a voxel."""
    found = _engine(one.name, one)
    error = np.linalg.norm(found.on(one.grid) - one.truth, axis=-1)[_body_of(one)]
    if np.percentile(error, 95) <= max(one.fixed.GetSpacing()):
        yield Candidate(one, found, None, "default engine")


def _is_wrong(candidate: Candidate) -> bool:
    """Whether a fault matters: no transform is needed where the truth moves nothing."""
    pair = candidate.pair
    if candidate.where is not None:
        return True
    error = np.linalg.norm(candidate.transform.on(pair.grid) - pair.truth, axis=-1)
    return bool(error[_body_of(pair)].mean() > WRONG_MM)


def _body_of(pair: Pair) -> NDArray[np.bool_]:
    found = body(on_grid(pair.fixed, pair.grid))
    return np.ones(pair.grid.shape, bool) if found is None else found


def judged(candidate: Candidate) -> dict[str, Any]:
    """What the review says of a candidate, and whether that is right."""
    started = time.perf_counter()
    report = assess(candidate.transform, fixed=candidate.pair.fixed, moving=candidate.pair.moving)
    return {
        "pair": candidate.pair.name,
        "kind": candidate.fault or candidate.kind,
        "bad": candidate.fault is not None,
        "flagged": report.verdict != "pass",
        "at": _right_place(candidate, report),
        "why": [line.name for line in report.lines if line.verdict in ("fail", "attention")],
        "places": [
            (p.kind, round(p.severity, 2), round(p.value, 2), p.point_lps) for p in report.worst[:6]
        ],
        "seconds": round(time.perf_counter() - started, 2),
    }


def _right_place(candidate: Candidate, report: QualityReport) -> bool:
    serious = [np.array(place.point_lps) for place in report.worst if place.severity >= 1]
    return any(candidate.is_right_place(point) for point in serious)


def digits(half: str, count: int = 6) -> Iterator[dict[str, Any]]:
    """The network of fives on fives it has not seen, and on sevens."""
    import fives

    model = fives.trained()
    for which, bad in ((5, None), (7, True)):  # whether its fives are right is not known
        pictures = fives.digits(which)[410:] if which == 5 else fives.digits(which)
        start = 0 if half == "develop" else 2 * count
        for n in range(start, start + 2 * count, 2):
            fixed, moving = pictures[n], pictures[n + 1]
            found = fives.registered(model, fixed, moving)
            back = fives.registered(model, moving, fixed)
            report = assess(
                found, fixed=fives.image(fixed), moving=fives.image(moving), inverse=back
            )
            serious = [place for place in report.worst if place.severity >= 1]
            yield {
                "pair": f"digit {which}, {n}",
                "kind": f"network of fives on {which}s",
                "bad": bad,
                "flagged": report.verdict != "pass",
                "at": bool(serious),
                "why": [x.name for x in report.lines if x.verdict in ("fail", "attention")],
                "places": [(p.kind, round(p.severity, 2), round(p.value, 2)) for p in serious[:6]],
                "similarity": [(x.before, x.value) for x in report.lines if x.group == "agreement"],
            }


def table(rows: list[dict[str, Any]]) -> str:
    """Found and at the right place by kind, and false alarms; unknown ones are not counted."""
    groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: (row["bad"] is None, not row["bad"], row["kind"])):
        groups[row["kind"]].append(row)
    lines = ["| what | n | flagged | at the right place | mostly by |", "|---|---|---|---|---|"]
    for kind, some in groups.items():
        flagged = sum(row["flagged"] for row in some)
        placed = sum(row["flagged"] and row["at"] for row in some) if some[0]["bad"] else ""
        note = {None: " (not counted)", False: " (right)"}.get(some[0]["bad"], "")
        why = Counter(name for row in some for name in row["why"]).most_common(3)
        mostly = ", ".join(f"{name} {count}" for name, count in why)
        lines.append(f"| {kind}{note} | {len(some)} | {flagged} | {placed} | {mostly} |")
    bad, fine = ([r for r in rows if r["bad"] is which] for which in (True, False))
    found = sum(row["flagged"] and row["at"] for row in bad)
    alarms = sum(row["flagged"] for row in fine)
    found_share, alarm_share = 100 * found / max(len(bad), 1), 100 * alarms / max(len(fine), 1)
    lines.append(
        f"\nFound at the right place {found} of {len(bad)} ({found_share:.0f} %), "
        f"false alarms {alarms} of {len(fine)} ({alarm_share:.0f} %)."
    )
    return "\n".join(lines)


def reviewed(candidates: Iterator[Candidate]) -> list[dict[str, Any]]:
    """What the review says of each, also as it goes."""
    rows = []
    for candidate in candidates:
        rows.append(row := judged(candidate))
        print(
            f"{len(rows):4} {row['pair']:24} {row['kind']:24} {row['flagged']!s:6} {row['at']!s:6}"
            f" {row['why']}",
            flush=True,
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--half", choices=tuple(SEEDS), default="report")
    parser.add_argument("--pairs", type=int, default=8)
    parser.add_argument("--real", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = reviewed(made(options.half, options.pairs))
    if options.pairs:
        rows += digits(options.half)
        print(table(rows))
    if options.real:
        rows += (more := reviewed(real(options.half)))
        print("\nreal images\n" + table(more))
    RESULTS.mkdir(exist_ok=True)
    name = f"faults-{options.half}{'' if options.pairs else '-real'}.json"
    (RESULTS / name).write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
