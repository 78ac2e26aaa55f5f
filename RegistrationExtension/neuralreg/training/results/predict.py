"""What a trained model makes of the pairs of a split, as files."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from neuralreg.composition.transforms import Transform, velocity_of
from neuralreg.devices import choose_device, own_modes
from neuralreg.errors import InvalidOption, UnwritableOutput
from neuralreg.geometry.field import DisplacementField
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.image import Image
from neuralreg.geometry.normalized import identity_map, resize, to_voxels
from neuralreg.geometry.warp import warp
from neuralreg.io.itk import linear_to_itk
from neuralreg.io.transform_files import write_transform
from neuralreg.progress import Progress, silent
from neuralreg.training.config import schema
from neuralreg.training.data.dataset_files import (
    Case,
    read_case_image,
    read_case_labels,
    require_outside,
)
from neuralreg.training.data.network_grid import Placement, linear_part
from neuralreg.training.data.pairs import Item, PairData
from neuralreg.training.loop.checkpoint import random_numbers_of_the_caller
from neuralreg.training.loop.tasks import split_pairs
from neuralreg.training.model.export import load_weights
from neuralreg.training.model.methods import Conditional, Matrix, build_model, voxels_of
from neuralreg.training.pictures import read_png, stack_pictures, write_png
from neuralreg.training.results.evaluate import figures_of_pair, label_prediction_figures
from neuralreg.training.results.metrics import Row, write_tables
from neuralreg.training.results.pair_files import (
    ABOUT,
    PREDICTED,
    PairFiles,
    as_label_images,
    warp_label_images,
    write_label_prediction,
    zero_field,
)
from neuralreg.training.results.prediction_folder import ALL_PAIRS, replace_predictions
from neuralreg.training.tensor_files import weights_of_run

_SHOWN = 6  # pairs in one picture


@dataclass(frozen=True)
class PredictOptions:
    """Options of `predict`.

    Attributes:
        split: whose pairs.
        nifti: whether images and fields are written.
        png: whether pictures are written.
        device: as for training.
    """

    split: str = "test"
    nifti: bool = True
    png: bool = True
    device: str = "auto"


@own_modes()
def load_trained(config: schema.Configuration, checkpoint: Path, device: str) -> nn.Module:
    """The model of a run.

    Args:
        config: of the run.
        checkpoint: its folder (the best weights) or one of its checkpoints.
        device: as for training.

    Raises:
        UnreadableFile: there is no checkpoint.
        IncompatibleModel: the checkpoint is of another network.
    """
    model = build_model(config.model, config.dataset.network_shape)
    file = weights_of_run(checkpoint, config.name) if checkpoint.is_dir() else checkpoint
    load_weights(model, file)
    return model.eval().to(choose_device(device))


@own_modes()
def predict(
    config: schema.Configuration,
    checkpoint: Path,
    folder: Path,
    options: PredictOptions | None = None,
    *,
    progress: Progress = silent,
) -> list[Row]:
    """Register all pairs of a split.

    Torch and the generators of random numbers are afterwards as they were.

    Fields are in LPS mm on the network's grid over the fixed image; images are warped once, from
    the original moving image onto the fixed one's own grid.

    Args:
        config: of the training.
        checkpoint: as for `load_trained`.
        folder: gets metrics.csv with its statistics, a folder per pair, and pairs.png; what an
            earlier prediction left there is replaced as a whole.
        options: what is written, and where it is computed.
        progress: gets a fraction and a message.

    Returns:
        A row of figures per pair and label.

    Raises:
        InvalidOption: the configuration has no such split.
        UnreadableFile, IncompatibleModel: as `load_trained`.
        UnwritableOutput: the folder of a pair holds images of the data set.
    """
    options = options or PredictOptions()
    if options.split not in ("train", "valid", "test"):
        raise InvalidOption(
            "there is no such split", got=f"'{options.split}'", wanted="train, valid or test"
        )
    require_outside(folder, config.dataset)
    with random_numbers_of_the_caller():
        torch.manual_seed(config.training.seed)
        model = load_trained(config, checkpoint, options.device)
        pairs = split_pairs(config, options.split, folder)
        pairs.report_remarks()
        items = {f"pair_{number:04d}": item for number, item in enumerate(pairs.items(0))}
        _require_no_input([folder / name for name in items], pairs.cases)
        folder.mkdir(parents=True, exist_ok=True)
        with replace_predictions(folder):
            rows = _write_pairs(model, pairs, items, folder, options, progress)
    progress(1.0, f"{len(items)} pairs")
    return rows


def _write_pairs(
    model: nn.Module,
    pairs: PairData,
    items: Mapping[str, Item],
    folder: Path,
    options: PredictOptions,
    progress: Progress,
) -> list[Row]:
    rows: list[Row] = []
    one = _label_of if isinstance(model, Conditional) else _transform_of
    for number, (name, item) in enumerate(items.items()):
        fixed, moving = pairs.case(item.fixed), pairs.case(item.moving)
        progress(number / len(items), f"{fixed.name} and {moving.name}")
        about = {"pair": name, "fixed": fixed.name, "moving": moving.name}
        rows_of_pair = one(model, pairs, item, folder / name, options)
        if options.nifti:
            (folder / name / ABOUT).write_text(json.dumps(about), encoding="utf-8")
        rows += [{**about, **row} for row in rows_of_pair]
    write_tables(rows, folder)
    drawn = [folder / name / "pair.png" for name in list(items)[:_SHOWN]]
    if options.png and drawn[0].is_file():
        write_png(stack_pictures([read_png(path) for path in drawn]), folder / ALL_PAIRS)
    return rows


def _require_no_input(folders: list[Path], cases: list[Case]) -> None:
    """Raise UnwritableOutput when a folder of a pair holds images or label maps of the data set."""
    taken = {folder.resolve() for folder in folders}
    for case in cases:
        for part in (case.image, case.labels, case.mask):
            if part is not None and taken & {*Path(part.path).resolve().parents}:
                raise UnwritableOutput(
                    "the predictions would replace images that they are made of",
                    got=str(part),
                    remedy="Choose another folder.",
                )


def _network_inputs(pairs: PairData, item: Item, device: torch.device) -> dict[str, Tensor]:
    return {key: values[None].to(device) for key, values in pairs[item].items()}


def _device(model: nn.Module) -> torch.device:
    return next(model.parameters()).device


def _transform_of(
    model: nn.Module, pairs: PairData, item: Item, folder: Path, options: PredictOptions
) -> list[Row]:
    inputs = _network_inputs(pairs, item, _device(model))
    fixed, moving = pairs.case(item.fixed), pairs.case(item.moving)
    d = len(pairs.config.size)
    images = read_case_image(fixed.image, d), read_case_image(moving.image, d)
    start = time.monotonic()
    with torch.no_grad():
        shape = tuple(inputs["fixed"].shape[2:])
        transform = model(inputs["fixed"], inputs["moving"])
        coordinates = transform(identity_map(shape, inputs["fixed"]))
    took = time.monotonic() - start
    placement = Placement.of_images(*images, pairs.config)
    field = placement.field(voxels_of(coordinates)[0].cpu())
    files = _apply_field(fixed, moving, images, field, pairs)
    files = replace(files, velocity=_velocity(transform, placement.fixed))
    if options.nifti:
        files.write(folder)
        _write_linear(model, field, folder)
    if options.png:
        files.draw(folder, coordinates[0].cpu())
    return [{**row, "seconds": took} for row in figures_of_pair(files)]


def _velocity(transform: Transform, grid: Grid) -> DisplacementField | None:
    """The velocity in mm behind a transform of normalized coordinates, at the samples of a grid."""
    velocity = velocity_of(transform)
    if velocity is None:
        return None
    voxels = to_voxels(resize(velocity, grid.shape, aligned=True))[0].cpu()
    return DisplacementField.from_voxels(voxels, grid)


def _apply_field(
    fixed: Case,
    moving: Case,
    images: tuple[Image, Image],
    field: DisplacementField,
    pairs: PairData,
) -> PairFiles:
    grid = images[0].grid
    before = zero_field(*images, pairs.config)
    labels: dict[str, dict[int, Image]] = {}
    if pairs.labeled and fixed.labels and moving.labels:
        d = len(pairs.config.size)
        moving_labels = as_label_images(read_case_labels(moving.labels, d), pairs.labels)
        labels["fixed"] = as_label_images(read_case_labels(fixed.labels, d), pairs.labels)
        labels["moving"] = moving_labels
        labels["warped"] = warp_label_images(moving_labels, field, grid)
        labels["before"] = warp_label_images(moving_labels, before, grid)
    return PairFiles(
        fixed=images[0],
        moving=images[1],
        warped=warp(images[1], field, grid),
        before=warp(images[1], before, grid),
        field=field,
        labels=labels,
    )


def _write_linear(model: nn.Module, field: DisplacementField, folder: Path) -> None:
    """affine.txt (homogeneous, LPS mm, fixed to moving) and affine.tfm, of affine models."""
    if not any(isinstance(part, Matrix) for part in model.modules()):
        return
    linear, gap = linear_part(field)
    if gap < min(field.grid.spacing) / 100:
        np.savetxt(folder / "affine.txt", linear.matrix, delimiter=",")
        write_transform(linear_to_itk(linear), folder / "affine.tfm")


def _label_of(
    model: nn.Module, pairs: PairData, item: Item, folder: Path, options: PredictOptions
) -> list[Row]:
    """The answer of a conditional model: a label on the network's grid, and its overlap."""
    inputs = _network_inputs(pairs, item, _device(model))
    with torch.no_grad():
        predicted = model(inputs["fixed"], inputs["moving"], inputs["moving_labels"])[0]
    fixed = read_case_image(pairs.case(item.fixed).image, len(pairs.config.size))
    grid = fixed.grid.resize(pairs.config.size)
    value = pairs.labels[item.label or 0]
    parts = {
        "fixed": inputs["fixed_labels"][0],
        "moving": inputs["moving_labels"][0],
        PREDICTED: predicted,
    }
    label_images = {role: Image(values.cpu(), grid) for role, values in parts.items()}
    folder.mkdir(parents=True, exist_ok=True)
    if options.nifti:
        write_label_prediction(label_images, value, folder)
    return [label_prediction_figures(value, label_images)]
