"""The brain in a head by a network, and whether what it found looks like one.

Source: mindgrab, doi:10.48550/arXiv.2506.11860. The network always draws a brain, so its result is
checked: volume, share of undecided voxels, connectedness, and what the field of view cuts off.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch
from numpy.typing import NDArray

from neuralreg.errors import InvalidImage
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.image import Image
from neuralreg.measures.modality import looks_like_ct
from neuralreg.progress import Progress, silent, stage
from neuralreg.registration.brain.conform import largest_component, resample_to_image
from neuralreg.registration.brain.labeling import brain_score, label_box, require_head
from neuralreg.registration.image_checks import prepare
from neuralreg.registration.model_choice import ImageContent
from neuralreg.zoo.registry import model_card

MINDGRAB = "mindgrab"
_NOT_BRAIN = -3.0  # logit of parts beside the largest one
_OUTSIDE = -10.0  # and beyond the box
_UNDECIDED = 3.0  # logits closer to 0 than this
_MM3_PER_LITER = 1e6
_LITERS = (1.0, 2.1)  # of heads: a warning outside of these ...
_LITERS_AT_ALL = (0.7, 2.4)  # ... a refusal outside of these
_UNDECIDED_SHARE = (0.02, 0.04)  # warning, refusal
_CONNECTED_SHARE = 0.95
_CUT_CM2 = 25.0  # of the brain in an outermost slice


@dataclass(frozen=True)
class MaskFigures:
    """What tells a brain mask from one that a network drew into something else.

    Attributes:
        liters: of the mask.
        undecided_share: voxels of which the network is not sure, as a share of the mask.
        connected_share: of the mask in its largest part.
        cut_cm2: of the mask in the outermost slice of the image that holds most of it.
    """

    liters: float
    undecided_share: float
    connected_share: float
    cut_cm2: float

    def refusals(self) -> list[str]:
        """Why this is no brain, in words."""
        low, high = _LITERS_AT_ALL
        said = []
        if not low <= self.liters <= high:
            said.append(f"a brain of {self.liters:.2g} l")
        if self.undecided_share > _UNDECIDED_SHARE[1]:
            said.append(f"{100 * self.undecided_share:.1f} % of it undecided")
        if self.connected_share < _CONNECTED_SHARE:
            said.append(f"only {100 * self.connected_share:.0f} % of it in one part")
        return said

    def warnings(self) -> list[str]:
        """What to look at, in words."""
        low, high = _LITERS
        said = []
        if not low <= self.liters <= high:
            said.append(f"the brain has an unusual size ({self.liters:.2f} l): look at the mask")
        if self.undecided_share > _UNDECIDED_SHARE[0]:
            share = f"{100 * self.undecided_share:.1f} %"
            said.append(f"the network is not sure of {share} of the brain: look at the mask")
        if self.cut_cm2 > _CUT_CM2:
            said.append(
                f"the image ends within the brain ({self.cut_cm2:.0f} cm² in an outermost slice): "
                "the mask holds the part in view"
            )
        return said


@dataclass(frozen=True, eq=False)
class NetworkMask:
    """A brain mask by a network.

    Attributes:
        mask: 1 in the brain, 0 elsewhere, on the image's grid.
        figures: of the mask; None for an image whose skull was removed before.
        warnings: what to look at.
    """

    mask: Image
    figures: MaskFigures | None
    warnings: tuple[str, ...]

    @property
    def liters(self) -> float:
        """Size of the brain."""
        voxel = float(np.prod(self.mask.grid.spacing))
        return float(self.mask.data.sum()) * voxel / _MM3_PER_LITER


def extract_brain(
    image: Image,
    *,
    role: str = "head",
    cache: Path | None = None,
    device: str = "auto",
    progress: Progress = silent,
) -> NetworkMask:
    """Where the brain is in an image of a human head, by mindgrab.

    An image whose skull was removed already needs no network: its mask is what it shows. Where the
    network is unsure of the box around the head, which happens without much skull, it looks once
    more with the background counted in, and the surer mask is taken.

    Args:
        image: in 3D, of any MR contrast.
        role: how messages call it.
        cache: folder of the weights, if not the usual one. Nothing is downloaded.
        device, progress: as `register` takes them.

    Raises:
        InvalidImage: it shows no human head, as far as the result tells.
        OutOfMemory, WeightsUnavailable, ChecksumMismatch, DeviceUnavailable: as `load_model`.
    """
    require_head(image, role)
    checked, notes = prepare(image, role)
    if ImageContent.of(checked).is_brain:
        notes.append(f"the {role} has no skull: the mask is what it shows")
        progress(1.0, "brain mask")
        return NetworkMask(_content_mask(checked), None, tuple(notes))
    if looks_like_ct(checked.data):
        notes.append(f"the {role} looks like a CT, for which mindgrab was not tried")
    look = partial(_look, checked, cache=cache, device=device)
    mask, figures = look(False, progress=stage(progress, 0.0, 0.5))
    low, high = _LITERS_AT_ALL
    if figures.undecided_share > _UNDECIDED_SHARE[0] and low <= figures.liters <= high:
        second = look(True, progress=stage(progress, 0.5, 1.0))
        if second[1].undecided_share < figures.undecided_share:
            mask, figures = second
    if refusals := figures.refusals():
        raise InvalidImage(
            f"the {role} does not look like a human head: the network always draws a brain",
            got=" and ".join(refusals),
            wanted="one connected brain of {:g} to {:g} l".format(*_LITERS_AT_ALL),
            remedy="Check that the right image was chosen. A mask can be made by hand, or "
            "from the template (--model template).",
        )
    progress(1.0, "brain mask")
    return NetworkMask(mask, figures, (*notes, *figures.warnings()))


def _look(
    image: Image,
    with_background: bool,
    *,
    cache: Path | None,
    device: str,
    progress: Progress,
) -> tuple[Image, MaskFigures]:
    """The mask of the box around a head, alone or with the background as part of the image."""
    scores = label_box(
        image,
        model_card(MINDGRAB),
        brain_score,
        cache=cache,
        device=device,
        progress=progress,
        with_background=with_background,
    )
    return mask_of_scores(scores.values, scores.grid, image.grid)


def mask_of_scores(
    scores: NDArray[np.float32], grid: Grid, image: Grid
) -> tuple[Image, MaskFigures]:
    """The mask at an image's voxels, and its figures.

    Args:
        scores: logit of brain minus that of background, (z, y, x).
        grid: of the scores.
        image: of the mask.

    Returns:
        1 in the brain, 0 elsewhere: where the interpolated score of the largest part is above 0.
    """
    brain = scores > 0
    largest = largest_component(brain)
    whole, connected = int(brain.sum()), int(largest.sum())
    alone = np.where(brain & ~largest, np.float32(_NOT_BRAIN), scores)
    inside = resample_to_image(alone, grid, image, _OUTSIDE) > 0
    figures = MaskFigures(
        connected * float(np.prod(grid.spacing)) / _MM3_PER_LITER,
        float((np.abs(scores) < _UNDECIDED).sum()) / max(whole, 1),
        connected / max(whole, 1),
        _cut_cm2(inside, image),
    )
    return Image(torch.from_numpy(inside.astype(np.uint8))[None], image), figures


def _cut_cm2(inside: NDArray[np.bool_], grid: Grid) -> float:
    """The largest area of a mask in an outermost slice, in cm²."""
    areas = []
    for axis in range(3):
        spacing = [s for n, s in enumerate(reversed(grid.spacing)) if n != axis]
        voxels = max(int(inside.take(end, axis).sum()) for end in (0, -1))
        areas.append(voxels * float(np.prod(spacing)) / 100)
    return max(areas)


def _content_mask(image: Image) -> Image:
    """What is not background, without holes."""
    content = sitk.GetImageFromArray((image.data[0] > image.data.min()).cpu().byte().numpy())
    filled = torch.from_numpy(sitk.GetArrayFromImage(sitk.BinaryFillhole(content)))
    return Image(filled[None], image.grid)
