"""Brain masks of heads, carried over from the template, against the masks that the pairs allow.

    python -m benchmarks.brain_masks

Needs the shared data beside the repository and, once, a network for the template.
"""

from __future__ import annotations

import json

import neuralreg
from neuralreg.measures.overlap import dice
from neuralreg.registration.image_checks import on_grid

from benchmarks import RESULTS
from Testing.support.paths import PAIRS

# Of the pairs whose labels or masks are the whole brain: image, mask, and what they are.
HEADS = (
    ("d07_ms_flair_t2/fixed", "d07_ms_flair_t2/fixed_labels", "one person, FLAIR, 4 mm slices"),
    ("d07_ms_flair_t2/moving", "d07_ms_flair_t2/moving_labels", "one person, T2, 3.3 mm slices"),
    ("d13_tmpl_t2_pd_gt/fixed", "d13_tmpl_t2_pd_gt/fixed_mask", "average T2, mask with fluid"),
)


def main() -> None:
    if not PAIRS.is_dir():
        raise SystemExit("the shared data does not stand beside the repository")
    rows = []
    for image, mask, what in HEADS:
        head = neuralreg.read_image(PAIRS / f"{image}.nii.gz")
        truth, _ = on_grid(neuralreg.read_image(PAIRS / f"{mask}.nii.gz"), head.grid, "mask")
        truth = neuralreg.Image((truth.data > 0).to(truth.data.dtype), truth.grid)
        found = neuralreg.brain_mask(head)
        overlap = dice(truth, found.mask)[1]
        rows.append({"head": image, "what": what, "dice": overlap, "liters": found.liters})
        rows[-1]["warnings"] = list(found.warnings)
        print(f"{image:28} {what:32} Dice {overlap:.3f}  {found.liters:.2f} l", flush=True)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "brain_masks.json").write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
