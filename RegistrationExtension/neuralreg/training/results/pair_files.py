"""The folder of one registered pair: images, labels, the field, and pictures of them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from neuralreg.errors import UnreadableFile
from neuralreg.geometry.field import DisplacementField
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.image import Image
from neuralreg.geometry.warp import warp, warp_labels
from neuralreg.io.image_files import read_image, read_labels, write_image
from neuralreg.io.transform_files import read_transform, write_transform, write_velocity
from neuralreg.registration.working_grid import quantiles
from neuralreg.training.config import schema
from neuralreg.training.data.network_grid import Placement
from neuralreg.training.pictures import (
    Picture,
    at_height,
    enlarge_picture,
    gray,
    grid_picture,
    middle_slice,
    side_by_side,
    write_png,
)

FIELD, VELOCITY = "fixed_to_moving.nii.gz", "velocity.nii.gz"
PREDICTED = "predicted"
ABOUT = "pair.json"
ROLES = ("fixed", "moving", "warped", "before")

LabelImages = dict[int, Image]  # by value; 0 stands for all values of one map


@dataclass(frozen=True, eq=False)
class PairFiles:
    """What belongs to a registered pair.

    Attributes:
        fixed: the fixed image.
        moving: the moving image.
        warped: the moving image on the fixed grid, with the field.
        before: the moving image on the fixed grid, without the field: the network's own starting
            point.
        field: fixed to moving.
        velocity: mm per unit of time, whose integral the field is.
        labels: by role, then by value; integer maps have all of their values under 0, soft labels
            one each.
    """

    fixed: Image
    moving: Image
    warped: Image
    before: Image
    field: DisplacementField
    velocity: DisplacementField | None = None
    labels: dict[str, LabelImages] = dataclasses.field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Everything as files that `read_pair` reads again."""
        folder.mkdir(parents=True, exist_ok=True)
        for role in ROLES:
            write_image(getattr(self, role), folder / f"{role}.nii.gz")
            for value, image in self.labels.get(role, {}).items():
                write_image(image, folder / f"{role}_{_label_name(value)}.nii.gz")
        write_transform(self.field, folder / FIELD)
        if self.velocity is not None:
            write_velocity(self.velocity, folder / VELOCITY)

    def draw(self, folder: Path, coordinates: Tensor) -> Picture:
        """Draw the middle slice of each image as a PNG, and all of them in pair.png.

        Args:
            folder: gets the files.
            coordinates: where the network's samples go, normalized, (d, z, y, x).

        Returns:
            The picture in pair.png: fixed, moving, warped, and the deformed grid.
        """
        folder.mkdir(parents=True, exist_ok=True)
        panels = []
        for role in ("fixed", "moving", "warped"):
            image = getattr(self, role)
            low, high = quantiles(image.data, 0.005, 0.995)
            picture = gray(middle_slice(image.data[0]), low, high)
            write_png(picture, folder / f"{role}.png")
            panels.append(picture)
            for value, labels in self.labels.get(role, {}).items():
                plane = middle_slice(labels.data[0]).float()
                picture_of_labels = gray(plane, 0.0, max(float(labels.data.max()), 1.0))
                write_png(picture_of_labels, folder / f"{role}_{_label_name(value)}.png")
        plane = (
            coordinates[:2] if coordinates.dim() == 3 else coordinates[:2, len(coordinates[0]) // 2]
        )
        size = enlarge_picture(panels[0]).shape[:2]
        row = [*(at_height(panel, size[0]) for panel in panels), grid_picture(plane, size)]
        pair = side_by_side(row)
        write_png(pair, folder / "pair.png")
        return pair


def write_label_prediction(images: dict[str, Image], value: int, folder: Path) -> None:
    """Write what a conditional model predicts for one label.

    Args:
        images: "fixed", "moving" and "predicted".
        value: of the label.
        folder: gets the files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for role, image in images.items():
        write_image(image, folder / f"{role}_{_label_name(value)}.nii.gz")


def read_label_predictions(folder: Path) -> dict[int, dict[str, Image]]:
    """What `write_label_prediction` wrote, by label; nothing where a transform was predicted.

    Raises:
        UnreadableFile: something is missing.
    """
    by_label = {}
    for file in sorted(folder.glob(f"{PREDICTED}_label_*.nii.gz")):
        value = int(file.name.removesuffix(".nii.gz").rpartition("_")[2])
        roles = ("fixed", "moving", PREDICTED)
        by_label[value] = {
            r: read_image(folder / f"{r}_{_label_name(value)}.nii.gz") for r in roles
        }
    return by_label


def read_pair(folder: Path) -> PairFiles:
    """What `PairFiles.write` wrote.

    Raises:
        UnreadableFile: something is missing.
    """
    if not (folder / FIELD).is_file():
        raise UnreadableFile(
            f"{folder} holds no prediction",
            wanted=f"{FIELD}, or {PREDICTED}_label_1.nii.gz of a conditional model",
            remedy="Predict again, without --no-nifti.",
        )
    images = {role: read_image(folder / f"{role}.nii.gz") for role in ROLES}
    field = read_transform(folder / FIELD)
    assert isinstance(field, DisplacementField)
    labels: dict[str, LabelImages] = {}
    for role in ROLES:
        label_map = folder / f"{role}_labels.nii.gz"
        if label_map.is_file():
            labels[role] = {0: read_labels(label_map)}
        for file in sorted(folder.glob(f"{role}_label_*.nii.gz")):
            value = int(file.name.removesuffix(".nii.gz").rpartition("_")[2])
            labels.setdefault(role, {})[value] = read_image(file)
    fixed, moving, warped, before = (images[role] for role in ROLES)
    return PairFiles(fixed, moving, warped, before, field, labels=labels)


def _label_name(value: int) -> str:
    return f"label_{value}" if value else "labels"


def as_label_images(labels: Image, values: tuple[int, ...]) -> LabelImages:
    """A label map as it is, without values that do not count; or each soft label by itself."""
    if labels.data.is_floating_point():
        return {v: Image(labels.data[v - 1 : v], labels.grid) for v in values}
    counted = torch.isin(labels.data.long(), torch.tensor(values))
    return {0: Image(torch.where(counted, labels.data, 0), labels.grid)}


def warp_label_images(labels: LabelImages, field: DisplacementField, grid: Grid) -> LabelImages:
    """Label maps by their nearest voxel, soft labels linearly."""
    return {
        value: warp(image, field, grid, outside=0) if value else warp_labels(image, field, grid)
        for value, image in labels.items()
    }


def zero_field(fixed: Image, moving: Image, config: schema.Dataset) -> DisplacementField:
    """The field of a network that moves nothing: what counts as before."""
    placement = Placement.of_images(fixed, moving, config)
    return placement.field(torch.zeros(placement.fixed.dimension, *placement.fixed.shape))


def masks(labels: dict[str, LabelImages], role: str, value: int) -> Tensor:
    """Where a label is, (z, y, x), bool; soft labels are cut at 0.5."""
    images = labels[role]
    if value in images:
        return images[value].data[0] >= 0.5
    return images[0].data[0].long() == value


def values_of(labels: dict[str, LabelImages]) -> list[int]:
    """All labels of the fixed image and of the warped one."""
    values: set[int] = set()
    for role in ("fixed", "warped"):
        for value, image in labels.get(role, {}).items():
            values |= {value} if value else {int(v) for v in torch.unique(image.data)} - {0}
    return sorted(values)
