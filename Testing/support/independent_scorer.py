"""A program that shares no code with this one scores what the review scores.

Each pair is deformed by a transform of ours: the pair's own affine motion where landmarks give it,
then a smooth bend of a tenth of the image.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import SimpleITK as sitk
from neuralreg.geometry.grid import Grid
from neuralreg.io.itk_images import read_volume
from neuralreg.io.landmark_files import read_pairs
from neuralreg.review.assess import assess
from neuralreg.review.geometry.deformation import place_on_grid
from neuralreg.review.report_model import QualityReport

from Testing.support.paths import SHARED

SCORER = SHARED / "data" / "evaluate.py"
TOLERANCE = 1e-3


def load_scorer() -> ModuleType:
    """The independent scorer as a module; SystemExit where it is not on this machine."""
    spec = importlib.util.spec_from_file_location("evaluate", SCORER)
    if spec is None or spec.loader is None:
        raise SystemExit("the shared data is not beside the repository")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write_transform_of(pair: dict[str, Any], folder: Path) -> Path:
    """A displacement field on the fixed grid: affine by the landmarks, and a smooth bend."""
    grid = Grid.of(read_volume(Path(pair["dir"]) / pair["fixed"], []))
    d = grid.dimension
    index = np.stack(np.meshgrid(*(np.arange(n) for n in grid.size), indexing="ij"), -1)
    share = index / np.maximum(np.subtract(grid.size, 1), 1)
    bend = np.stack([np.sin(np.pi * (share.sum(-1) * 1.3 + c)) for c in range(d)], -1)
    u = bend * 0.04 * grid.extent_mm.min()
    if pair.get("points"):
        points = np.loadtxt(Path(pair["dir"]) / pair["points"], delimiter=",", ndmin=2)
        fixed, moving = points[:, :d], points[:, d : 2 * d]
        homogeneous = np.hstack([fixed, np.ones((len(fixed), 1))])
        affine = np.linalg.lstsq(homogeneous, moving, rcond=None)[0]
        points_of_grid = grid.points_at(index.astype(float))
        u = u + points_of_grid @ affine[:d] + affine[d] - points_of_grid
    vectors = np.ascontiguousarray(u.transpose(*range(d - 1, -1, -1), d), np.float32)
    path = folder / f"{pair['id']}.nrrd"
    sitk.WriteImage(place_on_grid(sitk.GetImageFromArray(vectors, isVector=True), grid), str(path))
    return path


def mask_of(pair: dict[str, Any]) -> sitk.Image:
    """The region that the scorer uses, by its rule, so that both look at the same voxels."""
    fixed = read_volume(Path(pair["dir"]) / pair["fixed"], [])
    values = np.nan_to_num(sitk.GetArrayFromImage(fixed).astype(float))
    inside = values > np.percentile(values, 40)
    if pair.get("fixed_mask"):
        inside = sitk.GetArrayFromImage(read_volume(Path(pair["dir"]) / pair["fixed_mask"], [])) > 0
    elif pair.get("fixed_labels") and pair.get("labels"):
        labels = sitk.GetArrayFromImage(read_volume(Path(pair["dir"]) / pair["fixed_labels"], []))
        inside = labels > 0 if (labels > 0).mean() > 0.03 else inside
    if inside.sum() < 10:
        inside = np.ones_like(inside)
    return place_on_grid(sitk.GetImageFromArray(inside.astype(np.uint8)), Grid.of(fixed))


def review(pair: dict[str, Any], transform: Path) -> QualityReport:
    folder = Path(pair["dir"])
    sides = {
        name: folder / pair[name]
        for name in ("fixed", "moving", "fixed_labels", "moving_labels")
        if pair.get(name)
    }
    names = {int(label): name for label, name in (pair.get("labels") or {}).items()}
    points = read_pairs(folder / pair["points"]) if pair.get("points") else None
    return assess(
        transform,
        **sides,
        names=names,
        mask=mask_of(pair),
        landmarks=points,
        compare_on="fixed",
    )


def differences(
    pair: dict[str, Any], scored: dict[str, Any], report: QualityReport
) -> dict[str, float]:
    """How far both are apart, by measure; the largest over the structures."""
    gaps: dict[str, float] = {}
    ours = {one.name: one.after for one in report.overlaps}
    for name, theirs in (scored.get("labels") or {}).items():
        mine = ours[name]
        assert mine is not None
        gaps["dice"] = max(gaps.get("dice", 0), abs(theirs["dice"] - mine.dice))
        if theirs["hd95"] is not None:
            gaps["hd95"] = max(gaps.get("hd95", 0), abs(theirs["hd95"] - mine.hd95_mm))
    regions = {one.region: one for one in report.jacobian}
    whole, mask = regions["the whole image"], regions.get("the mask")
    for theirs, mine in (
        ("folding_pct", whole.folding_percent),
        ("sdlogj", whole.sd_log),
        ("folding_pct_mask", mask.folding_percent if mask else None),
        ("sdlogj_mask", mask.sd_log if mask else None),
        ("detj_min_mask", mask.minimum if mask else None),
        ("detj_max_mask", mask.maximum if mask else None),
    ):
        if theirs in scored and mine is not None:
            gaps[theirs] = abs(scored[theirs] - mine)
    if scored.get("tre") and report.landmarks:
        summary = report.landmarks.summary("after")
        for name, key in (
            ("mean", "mean"),
            ("median", "median"),
            ("p95", "p95"),
            ("maximum", "max"),
        ):
            gaps[f"tre_{key}"] = abs(getattr(summary, name) - scored["tre"][key])
    return gaps
