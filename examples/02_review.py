"""Whether a deformation may be used: 02_review.py [OUTPUT FOLDER]"""

from __future__ import annotations

import sys
from pathlib import Path

import neuralreg
from made_images import make_pair
from neuralreg.review.report.formats import write_report

out = Path(sys.argv[1] if len(sys.argv) > 1 else "reviewed")
out.mkdir(parents=True, exist_ok=True)
fixed, moving = make_pair()
result = neuralreg.register(fixed, moving)

# Label maps and landmarks add overlap and target registration error; see docs/review.md.
report = neuralreg.assess(result, fixed=fixed, moving=moving)

print("verdict:", report.verdict)
for finding in report.lines:
    if finding.verdict in ("fail", "attention"):
        print(f"  {finding.verdict}: {finding.words}")
for location in report.worst[:3]:
    print("  look at", [round(c) for c in location.point_lps], "mm:", location.words)

for path in write_report(report, out / "report.html", formats=(".html", ".csv", ".json")):
    print("wrote", path)
