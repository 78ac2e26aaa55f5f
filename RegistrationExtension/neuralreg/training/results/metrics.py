"""How well a pair is registered, in numbers: images, labels, deformation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neuralreg.geometry.field import DisplacementField
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.image import Image
from neuralreg.geometry.sampling import magnitude
from neuralreg.measures.jacobian import folding_percent, jacobian_determinant, sd_log_jacobian
from neuralreg.measures.similarity import ncc, ssd
from neuralreg.measures.surfaces import SurfaceDistances
from neuralreg.registration.preprocess import scale_intensities

Row = dict[str, Any]
TABLES = ("metrics.csv", "metrics_stats_per_label.csv", "metrics_stats_overall.csv")
OF_LABELS = ("dice_before", "dice", "hd95_mm", "asd_mm", "centroid_mm")


@dataclass(frozen=True, eq=False)
class Labels:
    """One label on one grid: of the fixed image, of the moving one before and after warping.

    All (z, y, x), bool.

    Attributes:
        fixed: the label of the fixed image.
        before: the moving label resampled without a deformation.
        after: the moving label resampled with the deformation.
    """

    fixed: Tensor
    before: Tensor
    after: Tensor


def image_figures(fixed: Image, before: Image, after: Image) -> Row:
    """Mean squared difference (of images in 0..1) and correlation, before and after.

    Args:
        fixed: the fixed image.
        before: the moving image on the fixed grid without the deformation.
        after: the moving image on the fixed grid with the deformation.
    """
    one, *others = (scale_intensities(image, "extremes")[None] for image in (fixed, before, after))
    row: Row = {}
    for name, other in zip(("_before", ""), others, strict=True):
        row[f"ssd{name}"] = float(ssd(one, other))
        row[f"ncc{name}"] = 1 - float(ncc(one, other))
    return row


def deformation_figures(field: DisplacementField) -> Row:
    """Folding, spread of the Jacobian, and length of a field in the fixed field of view."""
    determinant = jacobian_determinant(field)
    length = magnitude(field.vectors)
    return {
        "folding_percent": folding_percent(determinant),
        "sd_log_jacobian": sd_log_jacobian(determinant),
        "mean_displacement_mm": float(length.mean()),
        "largest_displacement_mm": float(length.max()),
    }


def label_figures(labels: Labels, grid: Grid) -> Row:
    """Dice before and after, surface distances and distance of the centers, in mm.

    Distances to what is not there are NaN. HD95: the 95th percentile of the surface distances, the
    larger of both directions; ASD: their mean, of both directions.
    """
    fixed, after = labels.fixed, labels.after
    row: Row = {
        "dice_before": _dice(fixed, labels.before),
        "dice": _dice(fixed, after),
        "hd95_mm": float("nan"),
        "asd_mm": float("nan"),
        "centroid_mm": float("nan"),
    }
    if not (bool(fixed.any()) and bool(after.any())):
        return row
    sides = (after.bool().numpy(force=True), fixed.bool().numpy(force=True))
    distances = SurfaceDistances.between(*sides, grid.spacing[::-1])
    if distances is not None:
        row["hd95_mm"], row["asd_mm"] = distances.hd95, distances.mean
    row["centroid_mm"] = float(np.linalg.norm(_center(fixed, grid) - _center(after, grid)))
    return row


def _dice(one: Tensor, other: Tensor) -> float:
    both = int(one.sum()) + int(other.sum())
    return 2 * int((one & other).sum()) / both if both else float("nan")


def _center(mask: Tensor, grid: Grid) -> Any:
    index = torch.nonzero(mask).double().mean(0).flip(0).numpy()
    return grid.points_at(index)


def write_tables(rows: list[Row], folder: Path) -> None:
    """Write metrics.csv, and mean, median, deviation and range per label and over all.

    Args:
        rows: one per pair and label, "label" empty where there are none. Figures of a pair, which
            are in all of its rows, count once in metrics_stats_overall.csv.
        folder: gets the tables.
    """
    import pandas as pd

    for name in TABLES:
        (folder / name).unlink(missing_ok=True)  # of an earlier call, with other columns
    table = pd.DataFrame(rows)
    table.to_csv(folder / TABLES[0], index=False)
    names = [c for c in table.columns if pd.api.types.is_numeric_dtype(table[c]) and c != "label"]
    of_labels = [c for c in OF_LABELS if c in names]
    if of_labels:
        grouped = table.groupby("label")[of_labels].agg(["mean", "median", "std", "min", "max"])
        grouped.columns = ["_".join(column) for column in grouped.columns]
        grouped.to_csv(folder / TABLES[1])
    once = table.drop_duplicates("pair")[[c for c in names if c not in of_labels]]
    parts = [part.describe() for part in (table[of_labels], once) if len(part.columns)]
    if parts:
        pd.concat(parts, axis=1).to_csv(folder / TABLES[2])


def summary(rows: list[Row]) -> Mapping[str, float]:
    """Means over all rows of the most important figures."""
    names = ("dice_before", "dice", "hd95_mm", "ssd_before", "ssd", "folding_percent")
    means = {}
    for name in names:
        values = [row[name] for row in rows if row.get(name) == row.get(name) and name in row]
        if values:
            means[name] = sum(values) / len(values)
    return means
