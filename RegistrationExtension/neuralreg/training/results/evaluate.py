"""Figures of registered pairs, from memory or from the folders that `predict` wrote."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from neuralreg.devices import own_modes
from neuralreg.errors import UnreadableFile
from neuralreg.geometry.image import Image
from neuralreg.progress import Progress, silent
from neuralreg.training.results.metrics import (
    Labels,
    Row,
    deformation_figures,
    image_figures,
    label_figures,
    write_tables,
)
from neuralreg.training.results.pair_files import (
    ABOUT,
    PREDICTED,
    PairFiles,
    masks,
    read_label_predictions,
    read_pair,
    values_of,
)


def figures_of_pair(files: PairFiles) -> list[Row]:
    """A row per label, or one row without: images, labels on the fixed grid, deformation."""
    of_pair = image_figures(files.fixed, files.before, files.warped)
    of_pair |= deformation_figures(files.field)
    values = values_of(files.labels)
    if not values:
        return [{"label": "", **of_pair}]
    rows = []
    for value in values:
        three = (masks(files.labels, role, value) for role in ("fixed", "before", "warped"))
        figures = label_figures(Labels(*three), files.fixed.grid)
        rows.append({"label": value, **figures, **of_pair})
    return rows


def label_prediction_figures(value: int, labels: Mapping[str, Image]) -> Row:
    """The row of one label that a conditional model predicted, see `write_label_prediction`."""
    fixed, moving, predicted = (labels[r].data[0] >= 0.5 for r in ("fixed", "moving", PREDICTED))
    return {"label": value, **label_figures(Labels(fixed, moving, predicted), labels["fixed"].grid)}


def _figures_in(folder: Path) -> list[Row]:
    answers = read_label_predictions(folder)
    if answers:
        return [label_prediction_figures(value, labels) for value, labels in answers.items()]
    return figures_of_pair(read_pair(folder))


@own_modes()
def evaluate(predictions: Path, folder: Path, *, progress: Progress = silent) -> list[Row]:
    """Measure all pairs in a folder of predictions again.

    Args:
        predictions: the folder that `predict` wrote.
        folder: gets the tables.
        progress: gets a fraction and a message.

    Returns:
        A row of figures per pair and label.

    Raises:
        UnreadableFile: there is no pair.
    """
    pairs = sorted(path for path in predictions.glob("pair_*") if path.is_dir())
    if not pairs:
        raise UnreadableFile(
            f"{predictions} holds no pairs", wanted="folders pair_0000, ... of `neuralreg predict`"
        )
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = []
    for number, path in enumerate(pairs):
        progress(number / len(pairs), path.name)
        about = json.loads((path / ABOUT).read_text("utf-8")) if (path / ABOUT).is_file() else {}
        about["pair"] = path.name
        rows += [{**about, **row} for row in _figures_in(path)]
    write_tables(rows, folder)
    progress(1.0, f"{len(pairs)} pairs")
    return rows
