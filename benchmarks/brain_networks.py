"""The networks for brains on heads, on images that are no heads, and on heads with lost positions.

    python -m benchmarks.brain_networks [masks] [labels] [refusals] [positions]

Without a word all four. Needs the shared data and weights beside the repository; an hour on two
cores.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import neuralreg
import numpy as np
from neuralreg.errors import InvalidImage, RegistrationError
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.image import Image
from neuralreg.measures.overlap import dice
from neuralreg.registration.image_checks import on_grid
from neuralreg.zoo.registry import model_card

from benchmarks import RESULTS
from Testing.support.paths import PAIRS, WEIGHTS

HEADS = (  # image, and the label map that is its brain; "" where there is none
    ("d07_ms_flair_t2/fixed", "d07_ms_flair_t2/fixed_labels"),
    ("d07_ms_flair_t2/moving", "d07_ms_flair_t2/moving_labels"),
    ("d13_tmpl_t2_pd_gt/fixed", "d13_tmpl_t2_pd_gt/fixed_mask"),
    ("d13_tmpl_t2_pd_gt/moving", ""),
    ("d02_brain_t1_skull_atlas/fixed", ""),
    ("d02_brain_t1_skull_atlas/moving", ""),
    ("d01_brain_t1_fs/fixed", ""),
    ("d01_brain_t1_fs/moving", ""),
)
NO_HEADS = (
    "d03_mouse_invivo/fixed", "d04_cardiac_ed_es/fixed", "d05_hippocampus/fixed",
    "d06_lungmr_lobes/fixed", "d08_ct_abdomen_gt/fixed", "d09_ct_lung_oblique_gt/fixed",
    "d10_prostate_t2_adc/fixed", "d11_prostate_hbv_adc/fixed", "d12_ct_mr_abdomen/moving",
    "d14_cord_t1_t2/fixed", "d15_2d_oasis_dkt/fixed", "d16_pelvis_t2_ax_sag/fixed",
)  # fmt: skip
LABELED = ("d01_brain_t1_fs/fixed", "d01_brain_t1_fs/moving", "d02_brain_t1_skull_atlas/fixed")
OUR_NAMES = {  # of the given labels, without their sides
    "LatVentricle": "Lateral-Ventricle",
    "Brainstem": "Brain-Stem",
    "Cerebellum-WM": "Cerebellum-White-Matter",
    "Cerebral-WM": "Cerebral-White-Matter",
    "Accumbens": "Accumbens-area",
}
QUARTER = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])


def read(name: str) -> Image:
    return neuralreg.read_image(PAIRS / f"{name}.nii.gz")


def masks() -> Iterator[dict[str, Any]]:
    for image, mask in HEADS:
        head, began = read(image), time.process_time()
        brain = neuralreg.brain_mask(head, model="mindgrab", cache=WEIGHTS, device="cpu")
        row = {"head": image, "liters": brain.liters, "cpu_s": time.process_time() - began}
        if mask:
            truth, _ = on_grid(read(mask), head.grid, "mask")
            inside = Image((truth.data > 0).to(truth.data.dtype), truth.grid)
            row["dice"] = dice(inside, brain.mask)[1]
        yield row | {"warnings": list(brain.warnings)}


def refusals() -> Iterator[dict[str, Any]]:
    for name in NO_HEADS:
        try:
            brain = neuralreg.brain_mask(read(name), model="mindgrab", cache=WEIGHTS, device="cpu")
            outcome = "warned" if brain.warnings else "accepted"
            words = "; ".join(brain.warnings)
        except InvalidImage as error:
            outcome, words = "refused", f"{error.what}: {error.got}"
        yield {"image": name, "outcome": outcome, "words": words}


def labels() -> Iterator[dict[str, Any]]:
    pairs = json.loads((PAIRS / "manifest.json").read_text())["pairs"]
    names = {pair["id"]: pair["labels"] for pair in pairs if pair.get("labels")}
    ours = {s.name: value for value, s in enumerate(model_card("subcortical18").structures)}
    for name in LABELED:
        given = neuralreg.read_image(PAIRS / f"{name}_labels.nii.gz")
        began = time.process_time()
        brain = neuralreg.label_brain(read(name), cache=WEIGHTS, device="cpu")
        found, truth = brain.labels.data[0].numpy(), given.data[0].numpy()
        groups: dict[str, list[int]] = {}
        for value, text in names[name.split("/")[0]].items():
            text = text.removeprefix("L-").removeprefix("R-")
            groups.setdefault(OUR_NAMES.get(text, text), []).append(int(value))
        scores = {
            text: 2 * (a & b).sum() / (a.sum() + b.sum())
            for text, values in groups.items()
            if text in ours and (a := np.isin(truth, values)).any()
            for b in [found == ours[text]]
        }
        row = {"brain": name, "structures": len(scores), "dice": float(np.mean([*scores.values()]))}
        yield row | {"cpu_s": time.process_time() - began}


def lose_position(image: Image) -> Image:
    """The image half a meter away and turned by 90 degrees, as far as its header says."""
    grid = image.grid
    direction = QUARTER @ np.reshape(grid.direction, (3, 3))
    origin = QUARTER @ np.array(grid.origin) + (500, -300, 120)
    return Image(image.data, Grid(grid.size, grid.spacing, tuple(origin), direction.ravel()))


def positions() -> Iterator[dict[str, Any]]:
    os.environ["NEURALREG_CACHE"] = str(WEIGHTS)
    for pair in ("d01_brain_t1_fs", "d02_brain_t1_skull_atlas"):
        fixed, moving = read(f"{pair}/fixed"), read(f"{pair}/moving")
        fixed_labels, moving_labels = read(f"{pair}/fixed_labels"), read(f"{pair}/moving_labels")
        for lost, start in ((False, "search"), (True, "labels"), (True, "auto")):
            sides = (moving, moving_labels)
            if lost:
                sides = (lose_position(moving), lose_position(moving_labels))
            result = neuralreg.register(fixed, sides[0], "convex", start=start, device="cpu")
            warped = neuralreg.warp_labels(sides[1], result.field, fixed_labels.grid)
            scores = [v for label, v in dice(fixed_labels, warped).items() if label]
            row = {"pair": pair, "position lost": lost, "start": start}
            found = result.provenance["pre-alignment"]
            yield row | {"found": str(found), "dice": float(np.mean(scores))}


PARTS: dict[str, Callable[[], Iterator[dict[str, Any]]]] = {
    "masks": masks,
    "labels": labels,
    "refusals": refusals,
    "positions": positions,
}


def main(chosen: list[str]) -> None:
    if not PAIRS.is_dir():
        raise SystemExit("the shared data does not stand beside the repository")
    RESULTS.mkdir(exist_ok=True)
    for part in chosen or PARTS:
        print(part)
        rows = []
        try:
            for row in PARTS[part]():
                rows.append(row)
                cells = (f"{v:.3f}" if isinstance(v, float) else str(v) for v in row.values())
                print("  ", *cells, sep="  ", flush=True)
        except RegistrationError as error:
            raise SystemExit(str(error)) from error
        (RESULTS / f"brain_networks.{part}.json").write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main(sys.argv[1:])
