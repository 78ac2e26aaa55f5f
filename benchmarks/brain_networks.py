"""The networks for brains on heads, on images that are no heads, and in registrations of brains.

    python -m benchmarks.brain_networks [masks] [labels] [refusals] [positions] [invariance]
        [drivers] [extraction] [memory]

Without a word all. Needs the shared data and weights beside the repository; two hours on one
thread. `extraction` downloads the template of the brain masks, unless NEURALREG_CACHE names a
folder that holds it and the weights.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import neuralreg
import numpy as np
import SimpleITK as sitk
from neuralreg.errors import InvalidImage, RegistrationError
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.image import Image
from neuralreg.io.itk import image_from_itk, image_to_itk
from neuralreg.measures.overlap import dice
from neuralreg.registration.image_checks import on_grid
from neuralreg.zoo.registry import model_card
from neuralreg.zoo.weights import is_available
from scipy.spatial.transform import Rotation

from benchmarks import RESULTS
from Testing.support.independent_scorer import load_scorer
from Testing.support.paths import PAIRS, SHARED, WEIGHTS

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
FOR_BRAINS = (
    "lapirn_disp.fea7", "conditional_lapirn.oasis_lite", "symnet.oasis", "lapirn_diff.fea7",
    "lku_net.ixi_4ch", "dirac.brats_t1ce",
)  # fmt: skip
LOST = "600 mm away"
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


def resample(
    image: Image, size: np.ndarray, spacing: np.ndarray, origin: np.ndarray, axes: np.ndarray
) -> Image:
    """The image on another grid of its world, its lowest value where it ends."""
    grid = (origin.tolist(), spacing.tolist(), axes.ravel().tolist())
    how = (sitk.Transform(), sitk.sitkLinear, *grid, image.lowest())
    return image_from_itk(sitk.Resample(image_to_itk(image), size.tolist(), *how))


def same_heads(image: Image) -> Iterator[tuple[str, Image]]:
    """The head as other scanners and programs would have stored it."""
    grid, plain = image.grid, image_to_itk(image)
    axes, spacing = np.reshape(grid.direction, (3, 3)), grid.spacing
    turned = Rotation.from_rotvec(np.radians([12.0, -9.0, 15.0])).as_matrix() @ axes
    cubes = np.full(3, max(min(spacing), 1.0))
    larger = np.ceil(1.3 * grid.extent_mm / cubes).astype(int)
    origin = grid.center - turned @ ((larger - 1) / 2 * cubes)
    yield "oblique grid of cubes", resample(image, larger, cubes, origin, turned)
    for name, (first, last) in (
        ("cropped to the head", head_bounds(image)),
        ("padded by 40 and 80 mm", padding(grid)),
    ):
        start = grid.points_at(first.astype(float))
        yield name, resample(image, last - first + 1, np.array(spacing), start, axes)
    for what, flipped in (("first axis", [True, False, False]), ("all axes", [True] * 3)):
        yield f"{what} flipped", image_from_itk(sitk.Flip(plain, flipped, False))
    yield "axes permuted", image_from_itk(sitk.PermuteAxes(plain, [1, 2, 0]))
    away = tuple(np.array(grid.origin) + 350)
    yield LOST, Image(image.data, Grid(grid.size, spacing, away, grid.direction))


def head_bounds(image: Image) -> tuple[np.ndarray, np.ndarray]:
    """First and last index, x y z, of what is brighter than a tenth of the bright voxels."""
    values = image.data[0].numpy()
    inside = np.argwhere(values > 0.1 * np.quantile(values, 0.98))[:, ::-1]
    return inside.min(0), inside.max(0)


def padding(grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """First and last index, x y z, of a field of view that reaches further, unevenly."""
    before, after = (np.round(mm / np.array(grid.spacing)).astype(int) for mm in (40, 80))
    return -before, np.array(grid.size) - 1 + after


def invariance() -> Iterator[dict[str, Any]]:
    """Masks of one head, stored otherwise, against the mask of the plain image on its grid."""
    name, how = HEADS[0][0], {"model": "mindgrab", "cache": WEIGHTS, "device": "cpu"}
    head = read(name)
    plain = neuralreg.brain_mask(head, **how).mask
    for what, other in same_heads(head):
        brain = neuralreg.brain_mask(other, **how)
        mask = Image(brain.mask.data, head.grid) if what == LOST else brain.mask
        back, _ = on_grid(mask, head.grid, "mask")
        row = {"head": name, "stored": what, "dice": dice(plain, back)[1]}
        yield row | {"liters": brain.liters, "warnings": list(brain.warnings)}


@cache
def scorer() -> ModuleType:
    return load_scorer()


def scored(pair: str, result: neuralreg.RegistrationResult) -> dict[str, float]:
    """What the independent scorer says of a result, as a file."""
    entry = scorer().load_manifest(str(SHARED / "data"))[pair]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fixed_to_moving.nii.gz"
        neuralreg.write_transform(result.field, path)
        figures = scorer().evaluate(entry, [str(path)], hd=False)
    return {"dice": figures["dice_mean"], "folding_percent": figures["folding_pct"]}


def drivers() -> Iterator[dict[str, Any]]:
    """Registrations with labels of a network that drive, and without."""
    os.environ["NEURALREG_CACHE"] = str(WEIGHTS)
    pair = "d01_brain_t1_fs"
    for source, weight in (("given", 0.0), ("auto", 1.0)):
        how = {"label_source": source, "label_weight": weight, "device": "cpu"}
        began = time.process_time()
        result = neuralreg.register(*map(read, sides(pair)), "convex", **how)
        row = {"pair": pair, "driven": bool(weight), "cpu_s": time.process_time() - began}
        yield row | scored(pair, result) | {"warnings": list(result.warnings)}


def sides(pair: str) -> tuple[str, str]:
    return f"{pair}/fixed", f"{pair}/moving"


def extraction() -> Iterator[dict[str, Any]]:
    """Networks for brains on heads, whose brains both kinds of masks have found."""
    os.environ.setdefault("NEURALREG_CACHE", str(WEIGHTS))
    pair = "d02_brain_t1_skull_atlas"
    heads = [read(name) for name in sides(pair)]
    for model in ("mindgrab", "template"):
        made = [neuralreg.brain_mask(head, model=model, device="cpu") for head in heads]
        masks = dict(
            zip(("fixed_mask", "moving_mask"), (brain.mask for brain in made), strict=True)
        )
        for name in FOR_BRAINS:
            if not is_available(model_card(name)):
                continue
            result = neuralreg.register(*heads, name, **masks, device="cpu")
            row = {"network": name, "masks": model, "liters": [brain.liters for brain in made]}
            yield row | scored(pair, result) | {"warnings": list(result.warnings)}


def memory() -> Iterator[dict[str, Any]]:
    """The largest memory of a process that makes one mask, and of one that reads the head only."""
    for head in (SHARED / "weights" / "golden" / "t1_crop.nii.gz", PAIRS / f"{HEADS[0][0]}.nii.gz"):
        for what in ("read", "mask"):
            command = [sys.executable, "-m", "benchmarks.brain_networks", f"--{what}", str(head)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            yield {"head": head.name, "what": what} | json.loads(done.stdout)


def peak_of(what: str, head: str) -> None:
    """Print the largest memory of this process in MB, and its processor time."""
    image = neuralreg.read_image(head)
    if what == "--mask":
        neuralreg.brain_mask(image, model="mindgrab", cache=WEIGHTS, device="cpu")
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps({"peak_mb": used.ru_maxrss / 1024, "cpu_s": used.ru_utime}))


PARTS: dict[str, Callable[[], Iterator[dict[str, Any]]]] = {
    "masks": masks,
    "labels": labels,
    "refusals": refusals,
    "positions": positions,
    "invariance": invariance,
    "drivers": drivers,
    "extraction": extraction,
    "memory": memory,
}


def main(chosen: list[str]) -> None:
    if chosen[:1] in (["--read"], ["--mask"]):
        return peak_of(*chosen)
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
