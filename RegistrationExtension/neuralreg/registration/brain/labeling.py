"""A network for brains over one image: which box it sees, and how much memory that takes."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuralreg.devices import choose_device, own_modes
from neuralreg.errors import InvalidImage, OutOfMemory, convert_memory_errors
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.image import Image
from neuralreg.progress import Progress, stage
from neuralreg.registration.brain.conform import ConformedImage
from neuralreg.registration.brain.recent import RecentResults, content_key
from neuralreg.resources import free_memory
from neuralreg.zoo.card import ModelCard
from neuralreg.zoo.registry import load_labeler
from neuralreg.zoo.weights import path_of

_MARGIN = 8  # voxels around the head
_NORMALIZED_MARGIN = 4  # air beside it changes what such a network makes of the head
_BASE_BYTES = 400_000_000  # of the program and the image
_FEATURES = 1.4  # times the features of a layer: these, and the slices that are convolved
_THICKEST_MM = 6.0
_SMALLEST_HEAD_MM = 100.0
_WANTED = "one 3D image of a human head"


@dataclass(frozen=True, eq=False)
class LabeledBox:
    """What a network makes of the box around a head.

    Attributes:
        values: of each voxel, (z, y, x): scores, or labels.
        grid: of the values.
    """

    values: NDArray[Any]
    grid: Grid


_RECENT: RecentResults[LabeledBox] = RecentResults(4)  # both images of a pair, masks and labels


def brain_score(logits: Tensor) -> Tensor:
    """The score of brain over that of background, of logits (1, 2, z, y, x)."""
    return logits[:, 1:] - logits[:, :1]


def best_label(logits: Tensor) -> Tensor:
    """The label with the highest score, of logits (1, classes, z, y, x)."""
    return logits.argmax(1, keepdim=True).to(torch.uint8)


def label_box(
    image: Image,
    card: ModelCard,
    reduce: Callable[[Tensor], Tensor],
    *,
    cache: Path | None,
    device: str,
    progress: Progress,
    like: Grid | None = None,
    with_background: bool = False,
) -> LabeledBox:
    """Run the network of a card on the box around a head, unless it has just answered the same.

    Args:
        image: prepared for a registration.
        card: of a network for brain masks or labels.
        reduce: of logits (1, classes, z, y, x) of some slices to (1, 1, z, y, x), a function of
            this module.
        cache: folder of the weights, if not the usual one.
        device: as `register` takes it.
        progress: called after each layer.
        like: as for `ConformedImage.of`.
        with_background: counts what lies outside of the box as background where the network
            normalizes, see `MeshNet.forward`.

    Returns:
        Values that are not to be changed in place.

    Raises:
        OutOfMemory: the forecast says that the memory does not suffice.
        WeightsUnavailable, ChecksumMismatch, DeviceUnavailable: as `load_model`.
    """

    def run() -> LabeledBox:
        return _run(image, card, reduce, cache, device, progress, like, with_background)

    weights = path_of(card, cache)
    if weights is None:  # the answer would depend on more than this
        return run()
    state, chosen = weights.stat(), str(choose_device(device))
    network: Hashable = (card.model_dump_json(), weights, state.st_mtime_ns, state.st_size)
    key = (content_key(image), network, reduce, chosen, like, with_background)
    return _RECENT.get_or_compute(key, run)


def _run(
    image: Image,
    card: ModelCard,
    reduce: Callable[[Tensor], Tensor],
    cache: Path | None,
    device: str,
    progress: Progress,
    like: Grid | None,
    with_background: bool,
) -> LabeledBox:
    """What the network says of the box, for the arguments of `label_box`."""
    chosen = choose_device(device)
    with own_modes(), convert_memory_errors(str(chosen)):
        network = load_labeler(card, cache, device)
        progress(0.0, "bringing the image to 1 mm")
        head = ConformedImage.of(image, card, like)
        box = head.head_box(_NORMALIZED_MARGIN if network.normalize else _MARGIN)
        values, grid, voxels = head.tensor(box), head.part(box), head.grid.count
        background = head.background if with_background else None
        del head
        if chosen.type == "cpu":
            _require_memory(card, grid)
        how = {"background": background, "voxels": voxels, "reduce": reduce}
        reduced = network(values.to(chosen), **how, progress=stage(progress, 0.05, 0.95))
        box_values = reduced[0, 0].cpu().numpy()
        box_values.flags.writeable = False  # it may be handed out again
        return LabeledBox(box_values, grid)


def _require_memory(card: ModelCard, grid: Grid) -> None:
    features = int(card.arguments["channels"]) * 4 * grid.count
    needed = int(_BASE_BYTES + _FEATURES * features)
    free = free_memory()
    if free is not None and needed > free:
        raise OutOfMemory(
            "there is too little memory for this network",
            where=card.name,
            got=f"{free / 1e9:.1f} GB free",
            wanted=f"{needed / 1e9:.1f} GB for a head of {'x'.join(map(str, grid.size))} mm",
            remedy="Close other programs, or crop the image to the head.",
        )


def require_head(image: Image, where: str) -> None:
    """Check that an image could show a human head, before a network draws a brain into anything.

    Args:
        image: of any kind.
        where: how messages call it.

    Raises:
        InvalidImage: it is in 2D, has thick voxels, or is too small for a head.
    """
    grid = image.grid
    if grid.dimension != 3 or min(grid.size) < 2:
        got = f"{grid.dimension}D, {'x'.join(map(str, grid.size))} voxels"
        raise InvalidImage("brains are labeled in 3D only", where=where, got=got, wanted=_WANTED)
    if max(grid.spacing) > _THICKEST_MM:
        raise InvalidImage(
            "the voxels are too thick for a network of 1 mm",
            where=where,
            got=f"{max(grid.spacing):.1f} mm",
            wanted=f"at most {_THICKEST_MM:g} mm",
            remedy="Use a series with thinner slices, or the template (--model template).",
        )
    extent = np.sort(grid.extent_mm)
    if extent[1] < _SMALLEST_HEAD_MM:
        raise InvalidImage(
            "the field of view is too small for a human head",
            where=where,
            got=" x ".join(f"{e:.0f}" for e in grid.extent_mm) + " mm",
            wanted=f"at least {_SMALLEST_HEAD_MM:g} mm in two directions",
            remedy="The networks know human heads only, no animals and no parts of a head; check "
            "the spacing in the file.",
        )
