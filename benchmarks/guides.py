"""What steers, and corrections by hand: what they gain and what they cost.

    python -m benchmarks.guides [--parts landmarks starts multimodal labels repair channels ...]

Needs the shared pairs beside the repository, but for channels and sliding. Prints tables and writes
them to results/guides.json.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import neuralreg
import numpy as np
import SimpleITK as sitk
import torch
from neuralreg.devices import choose_device
from neuralreg.geometry.field import DisplacementField, compose
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.image import Image
from neuralreg.geometry.sampling import index_grid, sample
from neuralreg.io.image_files import read_labels
from neuralreg.measures.jacobian import jacobian_determinant
from neuralreg.measures.overlap import dice
from neuralreg.progress import silent
from neuralreg.registration.image_checks import Inputs
from neuralreg.registration.initial_alignment import initial_alignment
from neuralreg.registration.options import RegistrationOptions
from neuralreg.training.descriptors.synthesis import Synthesis
from scipy import ndimage
from scipy.interpolate import RBFInterpolator
from scipy.spatial.transform import Rotation

from benchmarks import RESULTS
from Testing.support.paths import SHARED
from Testing.support.sliding_bodies import SlidingBodies

Rows = list[dict[str, Any]]
Points = np.ndarray
WITH_POINTS = ("d08_ct_abdomen_gt", "d09_ct_lung_oblique_gt", "d13_tmpl_t2_pd_gt")
WITH_LABELS = ("d05_hippocampus", "d06_lungmr_lobes", "d12_ct_mr_abdomen", "d14_cord_t1_t2")
WITH_PARTS = (("d05_hippocampus", 1), ("d12_ct_mr_abdomen", 1), ("d12_ct_mr_abdomen", 6))
WITH_SURFACES = ("d05_hippocampus", "d12_ct_mr_abdomen", "d14_cord_t1_t2")
GIVEN, HELD_OUT, STARTS, MADE = 6, 200, 20, 10


def folder_of(pair: str) -> Path:
    return SHARED / "data" / "dev" / pair


def images_of(pair: str) -> tuple[Image, Image]:
    fixed, moving = (neuralreg.read_image(folder_of(pair) / f"{n}.nii.gz") for n in SIDES)
    return fixed, moving


SIDES = ("fixed", "moving")


def points_of(pair: str) -> tuple[Points, Points]:
    """Pairs of known points, in LPS mm."""
    table = np.loadtxt(folder_of(pair) / "points.csv", delimiter=",", comments="#")
    return table[:, :3], table[:, 3:]


def guide(fixed: Points, moving: Points, **settings: float) -> neuralreg.LandmarkGuide:
    return neuralreg.LandmarkGuide(fixed.tolist(), moving.tolist(), **settings)


def error(moved: Points, truth: Points) -> float:
    """Mean distance in mm."""
    return round(float(np.linalg.norm(moved - truth, axis=1).mean()), 3)


def landmarks() -> Rows:
    """Six known pairs given, the error at 200 others, with and without; and the time."""
    rows = []
    for pair in WITH_POINTS:
        fixed, moving = points_of(pair)
        order = np.random.default_rng(0).permutation(len(fixed))
        given, others = order[:GIVEN], order[GIVEN : GIVEN + HELD_OUT]
        row: dict[str, Any] = {"pair": pair}
        for name, steering in (("without", None), ("with", guide(fixed[given], moving[given]))):
            began = time.process_time()
            result = neuralreg.register(*images_of(pair), "convex", landmarks=steering)
            row[f"{name}_s"] = round(time.process_time() - began, 1)
            row[f"{name}_mm"] = error(result.field(fixed[others]), moving[others])
            row[f"{name}_folding_percent"] = result.outcome.folding_percent
        row["time_ratio"] = round(row["with_s"] / row["without_s"], 2)
        rows.append(row)
    return rows


def starts() -> Rows:
    """One side turned by 150 degrees and shifted by half its field of view: linear stage alone."""
    pair = "d13_tmpl_t2_pd_gt"
    fixed, moving = images_of(pair)
    points, partners = points_of(pair)
    random = np.random.default_rng(1)
    good = {"without": 0, "with": 0}
    usual, _ = _linear(fixed, moving, None)
    within = 1.5 * error(usual(points), partners)
    for _ in range(STARTS):
        axis = random.normal(size=3)
        turn = Rotation.from_rotvec(np.radians(150) * axis / np.linalg.norm(axis)).as_matrix()
        shift = 0.5 * moving.grid.extent_mm * random.choice([-1, 1], 3)
        center = moving.grid.center
        displaced = Grid(
            moving.grid.size,
            moving.grid.spacing,
            tuple(turn @ (np.array(moving.grid.origin) - center) + center + shift),
            tuple((turn @ np.reshape(moving.grid.direction, (3, 3))).ravel()),
        )
        truth = (partners - center) @ turn.T + center + shift
        given = random.permutation(len(points))[:GIVEN]
        for name, steering in (("without", None), ("with", guide(points[given], truth[given]))):
            linear, _ = _linear(fixed, Image(moving.data, displaced), steering)
            good[name] += error(linear(points), truth) < within
    return [{"of": STARTS, **good, "within_mm": round(within, 2)}]


def _linear(fixed: Image, moving: Image, steering: neuralreg.LandmarkGuide | None) -> Any:
    inputs = Inputs.prepare(fixed, moving, None, None, choose_device("cpu"), steering)
    return initial_alignment(inputs, None, RegistrationOptions(), silent)


def multimodal() -> Rows:
    """CT to MR: points of organs, half given; the engine against a thin-plate spline."""
    pair = "d12_ct_mr_abdomen"
    fixed, moving = organ_points(pair)
    rows = []
    for given, others in ((slice(0, None, 2), slice(1, None, 2)), (slice(1, None, 2), slice(0, None, 2))):  # noqa: E501  # fmt: skip
        spline = RBFInterpolator(fixed[given], moving[given], kernel="thin_plate_spline")
        plain = neuralreg.register(*images_of(pair), "convex")
        steered = neuralreg.register(
            *images_of(pair), "convex", landmarks=guide(fixed[given], moving[given])
        )
        rows.append(
            {
                "given": len(fixed[given]),
                "spline_mm": error(spline(fixed[others]), moving[others]),
                "images_mm": error(plain.field(fixed[others]), moving[others]),
                "with_landmarks_mm": error(steered.field(fixed[others]), moving[others]),
            }
        )
    return rows


def organ_points(pair: str) -> tuple[Points, Points]:
    """The middle and the outermost points along the axes of each organ on both sides."""
    sides = []
    labels = [sitk.ReadImage(str(folder_of(pair) / f"{n}_labels.nii.gz")) for n in SIDES]
    arrays = [sitk.GetArrayFromImage(image) for image in labels]
    both = sorted((set(np.unique(arrays[0])) & set(np.unique(arrays[1]))) - {0})
    for image, array in zip(labels, arrays, strict=True):
        grid, points = Grid.of(image), []
        for label in both:
            world = grid.points_at(np.argwhere(array == label)[:, ::-1].astype(float))
            points.append(world.mean(0))
            for axis in range(3):
                order = np.argsort(world[:, axis])
                share = max(1, len(order) // 50)
                points += [world[order[:share]].mean(0), world[order[-share:]].mean(0)]
        sides.append(np.array(points))
    return sides[0], sides[1]


def labels() -> Rows:
    """Every second label given: Dice of these and of the others, with and without."""
    return [_labels_of(pair) for pair in WITH_LABELS]


def _labels_of(pair: str) -> dict[str, Any]:
    sides = [read_labels(folder_of(pair) / f"{name}_labels.nii.gz") for name in SIDES]
    both = set(sides[0].data.unique().tolist()) & set(sides[1].data.unique().tolist())
    given = sorted(both - {0})[::2]
    halves = [Image(s.data * torch.isin(s.data, torch.tensor(given)), s.grid) for s in sides]
    driven = {"labels": (halves[0], halves[1]), "label_weight": 1.0}
    row: dict[str, Any] = {"pair": pair}
    for name, settings in (("without", {}), ("with", driven)):
        began = time.process_time()
        result = neuralreg.register(*images_of(pair), "convex", **settings)
        row[f"{name}_s"] = round(time.process_time() - began, 1)
        overlap = dice(sides[0], neuralreg.warp_labels(sides[1], result.field, sides[0].grid))
        for part, chosen in (("given", True), ("others", False)):
            values = [v for label, v in overlap.items() if (label in given) == chosen]
            row[f"{name}_{part}"] = round(float(np.mean(values)), 3) if values else None
    return row


def repair() -> Rows:
    """An organ of a good result shifted by 8 mm, and 1, 2, 4 pairs to correct it."""
    pair, organ_label = "d01_brain_t1_fs", 15
    good = neuralreg.register(*images_of(pair), "convex")
    label = neuralreg.read_image(folder_of(pair) / "fixed_labels.nii.gz")
    organ = (label.data[0] == organ_label).float().numpy()
    wide = ndimage.binary_dilation(organ > 0, iterations=12).astype(np.float32)
    blurred = ndimage.gaussian_filter(wide, 6.0)  # the organ itself moves as a whole
    shift = np.array([5.0, -5.0, 3.9])
    bump = Image(torch.from_numpy(blurred / blurred.max())[None], label.grid)
    ratio = DisplacementField(bump.data.expand(3, -1, -1, -1).contiguous(), label.grid)
    added = ratio.at(good.field.grid) * torch.from_numpy(shift).float().view(3, 1, 1, 1)
    before = DisplacementField(added, good.field.grid)
    wrong = replace(
        good,
        field=compose(before, good.field),
        inverse_field=compose(good.inverse_field, neuralreg.invert(before, tolerance_mm=0.02)),
    )
    inside = np.argwhere(organ > 0)[:, ::-1].astype(float)
    points = label.grid.points_at(inside)
    far_from = np.random.default_rng(0).uniform(-0.45, 0.45, (20000, 3)) * label.grid.extent_mm
    far_from = far_from + label.grid.center
    return [_repair_with(n, good, wrong, points, far_from) for n in (1, 2, 4)]


def _repair_with(n: int, good: Any, wrong: Any, points: Points, others: Points) -> dict[str, Any]:
    chosen = points.mean(0)[None]
    if n > 1:  # spread over the organ
        chosen = points[[int(np.argmin(np.abs(points - points.mean(0)).sum(1)))]]
        while len(chosen) < n:
            distance = np.linalg.norm(points[:, None] - chosen, axis=-1).min(1)
            chosen = np.vstack([chosen, points[np.argsort(distance)[int(0.9 * len(points))]]])
    landmarks_given = guide(chosen, good.field(chosen))
    began = time.perf_counter()
    done = neuralreg.repair(wrong, landmarks_given, radius_mm=20.0)
    seconds = time.perf_counter() - began
    far = others[np.linalg.norm(others[:, None] - chosen, axis=-1).min(1) > 40]
    determinant = jacobian_determinant(done.field)
    return {
        "pairs": n,
        "before_mm": error(wrong.field(points), good.field(points)),
        "after_mm": error(done.field(points), good.field(points)),
        "beyond_two_radii_mm": float(np.abs(done.field(far) - wrong.field(far)).max()),
        "least_determinant": round(float(determinant.min()), 3),
        "seconds": round(seconds, 2),
    }


def channels() -> Rows:
    """Pairs of made shapes in two contrasts, each of which tells other neighbors apart."""
    return [_channels_of(seed) for seed in range(MADE)]


def _channels_of(seed: int) -> dict[str, Any]:
    contrasts, truth, points = made_pair(seed)
    one, two = contrasts
    row: dict[str, Any] = {"seed": seed, "before_mm": error(points, truth)}
    given = {"first": (one, {}), "second": (two, {}), "both": (one, {"channels": [two]})}
    for name, (images, more) in given.items():
        began = time.process_time()
        result = neuralreg.register(*images, "convex", linear="none", **more)
        row[f"{name}_mm"] = error(result.field(points), truth)
        row[f"{name}_s"] = round(time.process_time() - began, 1)
    row["better"] = row["both_mm"] < min(row["first_mm"], row["second_mm"])
    return row


def made_pair(seed: int) -> tuple[list[tuple[Image, Image]], Points, Points]:
    """Two contrasts of shapes and their deformation, where points go, and the points, LPS mm."""
    shape = (48, 56, 48)
    grid = Grid(shape[::-1], (2.0,) * 3, (0.0,) * 3, tuple(np.eye(3).ravel()))
    random = torch.Generator().manual_seed(seed)
    made = Synthesis(shape, random, labels=(12, 24))
    shapes, shift = made.label_map(), made.displacement()
    shift = shift - shift.mean((1, 2, 3), keepdim=True)
    at = index_grid(shape, like=shift) + shift.movedim(0, -1)
    bent = sample(shapes[None].float(), at, mode="nearest")[0].long()
    contrasts = []
    for _ in range(2):
        grays = torch.randint(0, 3, (int(shapes.max()) + 1,), generator=random) / 2
        noisy = (grays[s] + 0.05 * torch.randn(shape, generator=random) for s in (bent, shapes))
        fixed, moving = (Image(values[None], grid) for values in noisy)
        contrasts.append((fixed, moving))
    axes = [np.arange(8, n - 8, 3) for n in grid.size]
    index = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
    points = grid.points_at(index.astype(float))
    moved = shift[:, index[:, 2], index[:, 1], index[:, 0]].T.double().numpy()
    return contrasts, points + moved * grid.spacing, points


def rigid() -> Rows:
    """A label as rigid part: its deviation, Dice of the other labels, and the least determinant."""
    rows = []
    for pair, label in WITH_PARTS:
        sides = [read_labels(folder_of(pair) / f"{name}_labels.nii.gz") for name in SIDES]
        row: dict[str, Any] = {"pair": pair, "label": label}
        for name, more in (("free", {}), ("rigid", {"rigid": sides[0], "rigid_labels": (label,)})):
            began = time.process_time()
            result = neuralreg.register(*images_of(pair), "convex", **more)
            row[f"{name}_s"] = round(time.process_time() - began, 1)
            overlap = dice(sides[0], neuralreg.warp_labels(sides[1], result.field, sides[0].grid))
            others = [value for other, value in overlap.items() if other != label]
            row[f"{name}_dice_of_others"] = round(float(np.mean(others)), 4)
            row[f"{name}_folding_percent"] = result.outcome.folding_percent
        record: Any = result.provenance["rigid parts"]
        row["before_mm"] = round(record["before_mm"][0], 3)
        row["after_mm"] = round(record["after_mm"][0], 5)
        row["inverse_error_mm"] = round(result.outcome.inverse_error_max_mm, 3)
        rows.append(row)
    return rows


def surfaces() -> Rows:
    """The border of all labels together pulls: Dice of all labels."""
    rows = []
    for pair in WITH_SURFACES:
        sides = [read_labels(folder_of(pair) / f"{name}_labels.nii.gz") for name in SIDES]
        insides = [Image((side.data > 0).byte(), side.grid) for side in sides]
        row: dict[str, Any] = {"pair": pair}
        for name, more in (("without", {}), ("with", {"surfaces": [tuple(insides)]})):
            began = time.process_time()
            result = neuralreg.register(*images_of(pair), "convex", **more)
            row[f"{name}_s"] = round(time.process_time() - began, 1)
            overlap = dice(sides[0], neuralreg.warp_labels(sides[1], result.field, sides[0].grid))
            row[f"{name}_dice"] = round(float(np.mean(list(overlap.values()))), 3)
            row[f"{name}_folding_percent"] = result.outcome.folding_percent
        rows.append(row)
    return rows


def sliding() -> Rows:
    """A cylinder that slides by 15 mm in a body: error beside the border, and away from it."""
    rows = []
    for seed in range(3):
        grid = Grid((72,) * 3, (2.0,) * 3, (-71.0,) * 3, tuple(np.eye(3).ravel()))
        bodies = SlidingBodies(grid, seed=seed)
        points = grid.points_at(np.round(grid.indices_at(bodies.points(8.0))))
        row: dict[str, Any] = {"seed": seed, "before_mm": error(points, bodies.moved(points))}
        for name, more in (("smooth", {}), ("sliding", {"sliding": bodies.mask()})):
            began = time.process_time()
            result = neuralreg.register(*bodies.images(), "convex", **more)
            row[f"{name}_s"] = round(time.process_time() - began, 1)
            row[f"{name}_mm"] = error(result.field(points), bodies.moved(points))
            row[f"{name}_back_mm"] = error(result.inverse_field(bodies.moved(points)), points)
            row[f"{name}_folding_percent"] = result.outcome.folding_percent
        record: Any = result.provenance["sliding"]
        row |= {name: round(record[name], 2) for name in ("slide_mean_mm", "gap_mean_mm")}
        row["ratio"] = round(row["sliding_mm"] / row["smooth_mm"], 2)
        rows.append(row)
    return rows


PARTS: dict[str, Callable[[], Rows]] = {
    "landmarks": landmarks,
    "starts": starts,
    "multimodal": multimodal,
    "labels": labels,
    "repair": repair,
    "channels": channels,
    "rigid": rigid,
    "surfaces": surfaces,
    "sliding": sliding,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", nargs="*", default=list(PARTS), choices=list(PARTS))
    parts = parser.parse_args().parts
    path = RESULTS / "guides.json"
    tables: dict[str, Rows] = json.loads(path.read_text()) if path.is_file() else {}
    for part in parts:
        tables[part] = PARTS[part]()
        print(f"\n{part}", flush=True)
        for row in tables[part]:
            print("  " + ", ".join(f"{name} {value}" for name, value in row.items()), flush=True)
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(tables, indent=1) + "\n")


if __name__ == "__main__":
    main()
