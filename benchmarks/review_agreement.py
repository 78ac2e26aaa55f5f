"""The review's numbers against those of an independent scorer, on every development pair.

    python -m benchmarks.review_agreement [--pairs d05 d15]

Dice, HD95, TRE and the Jacobian must agree to 1e-3. Needs the shared data beside the repository;
the scorer is run from there.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from benchmarks import RESULTS
from Testing.support.independent_scorer import (
    TOLERANCE,
    differences,
    load_scorer,
    review,
    write_transform_of,
)
from Testing.support.paths import SHARED


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", nargs="*", default=["d"], help="beginnings of names")
    options = parser.parse_args()
    scorer = load_scorer()
    rows, worst = [], 0.0
    with tempfile.TemporaryDirectory() as scratch:
        for name, pair in scorer.load_manifest(str(SHARED / "data")).items():
            if pair["kind"] != "quant" or not name.startswith(tuple(options.pairs)):
                continue
            transform = write_transform_of(pair, Path(scratch))
            scored = scorer.evaluate(pair, [str(transform)])
            report = review(pair, transform)
            gaps = differences(pair, scored, report)
            rows.append(
                {"pair": name, "differences": gaps, "seconds": sum(report.seconds.values())}
            )
            most = max(gaps.items(), key=lambda item: item[1])
            worst = max(worst, most[1])
            print(
                f"{name:26} {len(gaps):3} measures, largest gap {most[1]:.2e} ({most[0]})",
                flush=True,
            )
    verdict = "within" if worst <= TOLERANCE else "BEYOND"
    print(f"largest gap of all {worst:.2e}: {verdict} {TOLERANCE}")
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "review_agreement.json").write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
