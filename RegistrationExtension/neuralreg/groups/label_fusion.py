"""Label maps of several atlases made one: by votes, by STAPLE, or by how the images agree."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations

import numpy as np
import SimpleITK as sitk
import torch
from torch import Tensor
from torch.nn import functional

from neuralreg.errors import InvalidImage
from neuralreg.geometry.image import Image
from neuralreg.measures.overlap import dice

_RADIUS = 2  # voxels of a patch, as in the joint label fusion of ANTs
_SHARPNESS = 2.0  # beta of Wang et al.
_RIDGE = 0.1  # alpha of Wang et al., against the mean of the diagonal
_LOCAL_POWER = 4.0  # of local correlation: from all the same to the best one only
_LEAST_CORRELATION = 0.05  # so that also where no atlas fits the votes are counted
_CHUNK = 20_000  # voxels that are solved at once


class Fusion(StrEnum):
    """How the labels of several atlases become one."""

    MAJORITY = "majority"
    STAPLE = "staple"
    LOCAL = "local"
    JOINT = "joint"


@dataclass(frozen=True, eq=False)
class FusedLabels:
    """One label map out of several.

    Attributes:
        labels: only such as the atlases have.
        uncertainty: 0 where all the weight is for the label, up to 1: (1, z, y, x).
        agreement: mean Dice between the atlases, by label.
    """

    labels: Image
    uncertainty: Image
    agreement: dict[int, float]


def fuse_labels(
    image: Image,
    warped: Sequence[Image],
    labels: Sequence[Image],
    method: Fusion = Fusion.JOINT,
) -> FusedLabels:
    """The labels that several registered atlases give an image.

    Args:
        image: that is labelled; (1, z, y, x).
        warped: images of the atlases on its grid.
        labels: label maps of the atlases on its grid.
        method: MAJORITY, every atlas has one vote, of equal counts the lowest label wins; STAPLE
            (Warfield et al. 2004, doi:10.1109/TMI.2004.828354, of SimpleITK; undecided voxels go to
            the majority); LOCAL, votes weighted by local correlation to the fourth power
            (Artaechevarria et al. 2009, doi:10.1109/TMI.2009.2014372); JOINT, weights that allow
            for atlases making the same errors (Wang et al. 2013, doi:10.1109/TPAMI.2012.143).

    Raises:
        InvalidImage: grids differ, or there are no atlases.
    """
    if not labels or len(warped) != len(labels):
        raise InvalidImage("each atlas has an image and labels", got=f"{len(labels)} label maps")
    for one in (*warped, *labels):
        if not one.grid.is_close(image.grid):
            raise InvalidImage("the atlases lie on the grid of the image", got=str(one.grid.size))
    votes = torch.stack([one.data[0].long() for one in labels])
    names = torch.unique(votes)
    if method in (Fusion.STAPLE, Fusion.MAJORITY):
        weights = torch.ones(len(votes), *image.grid.shape)
    else:
        images = torch.stack([_standardize(one.data[0].float()) for one in warped])
        target = _standardize(image.data[0].float())
        weigh = _local_weights if method is Fusion.LOCAL else _joint_weights
        weights = weigh(target, images, votes)
    share = torch.stack([(weights * (votes == name)).sum(0) for name in names])
    share /= share.sum(0, keepdim=True).clamp(min=1e-9)
    best = _staple(labels, names, share) if method is Fusion.STAPLE else share.argmax(0)
    chosen = names[best].to(labels[0].data.dtype)[None]
    certain = share.gather(0, best[None])
    return FusedLabels(
        Image(chosen, image.grid), Image(1 - certain, image.grid), _agreement(labels)
    )


def _standardize(values: Tensor) -> Tensor:
    return (values - values.mean()) / values.std().clamp(min=1e-9)


def _windows_mean(values: Tensor, radius: int) -> Tensor:
    """Means over cubes around each voxel; values (n, z, y, x) or (n, y, x)."""
    pool = functional.avg_pool3d if values.dim() == 4 else functional.avg_pool2d
    size = 2 * radius + 1
    return pool(values[:, None], size, 1, radius, count_include_pad=False)[:, 0]


def _local_weights(target: Tensor, images: Tensor, votes: Tensor) -> Tensor:
    """Positive local correlation with the image to a power, (n, z, y, x)."""
    mean, means = (_windows_mean(v, _RADIUS) for v in (target[None], images))
    var = (_windows_mean(target[None] ** 2, _RADIUS) - mean**2).clamp(min=1e-6)
    variances = (_windows_mean(images**2, _RADIUS) - means**2).clamp(min=1e-6)
    cross = _windows_mean(images * target, _RADIUS) - means * mean
    return (cross / (var * variances).sqrt()).clamp(_LEAST_CORRELATION, 1) ** _LOCAL_POWER


def _joint_weights(target: Tensor, images: Tensor, votes: Tensor) -> Tensor:
    """Weights of least expected error (n, z, y, x); all the same where the atlases agree."""
    n = len(images)
    weights = torch.full_like(images, 1 / n)
    undecided = torch.nonzero((votes != votes[:1]).any(0))
    if not len(undecided):
        return weights
    errors = _patch_errors(target, images)
    for rows in torch.split(undecided, _CHUNK):
        at = tuple(rows.T)
        patch = errors(at)  # (voxels, n, patch)
        matrix = (patch @ patch.mT / patch.shape[-1]) ** _SHARPNESS
        ridge = _RIDGE * matrix.diagonal(dim1=1, dim2=2).mean(1).clamp(min=1e-9)
        matrix += ridge[:, None, None] * torch.eye(n)
        solved = torch.linalg.solve(matrix, torch.ones(len(rows), n, 1))[..., 0].clamp(min=0)
        weights[:, *at] = (solved / solved.sum(1, keepdim=True).clamp(min=1e-12)).T
    return weights


def _patch_errors(target: Tensor, images: Tensor) -> Callable[[tuple[Tensor, ...]], Tensor]:
    """A function of voxels: absolute differences of normalized patches (voxels, n, patch)."""
    pads = [_RADIUS] * (2 * target.dim())
    both = functional.pad(torch.cat([target[None], images])[None], pads, mode="replicate")[0]
    offsets = torch.cartesian_prod(*[torch.arange(2 * _RADIUS + 1)] * target.dim())

    def at(voxels: tuple[Tensor, ...]) -> Tensor:
        index = [v[:, None] + o[None] for v, o in zip(voxels, offsets.T, strict=True)]
        patches = both[:, *index].movedim(0, 1)  # (voxels, 1 + n, patch)
        patches = patches - patches.mean(-1, keepdim=True)
        patches = patches / patches.norm(dim=-1, keepdim=True).clamp(min=1e-6)
        errors: Tensor = (patches[:, 1:] - patches[:, :1]).abs()
        return errors

    return at


def _staple(labels: Sequence[Image], names: Tensor, share: Tensor) -> Tensor:
    """Indices of `names` by SimpleITK, of the majority where STAPLE does not decide."""
    number = {int(name): n for n, name in enumerate(names.tolist())}
    undecided = len(names)
    maps = []
    for one in labels:
        values = np.vectorize(number.get, otypes=[np.uint16])(one.data[0].numpy())
        maps.append(sitk.GetImageFromArray(values))
    staple = sitk.MultiLabelSTAPLEImageFilter()
    staple.SetLabelForUndecidedPixels(undecided)
    decided = torch.from_numpy(sitk.GetArrayFromImage(staple.Execute(maps)).astype(np.int64))
    return torch.where(decided == undecided, share.argmax(0), decided)


def _agreement(labels: Sequence[Image]) -> dict[int, float]:
    """Mean Dice over all pairs of atlases in which a label occurs."""
    overlaps: dict[int, list[float]] = {}
    for first, second in combinations(labels, 2):
        for name, value in dice(first, second).items():
            overlaps.setdefault(name, []).append(value)
    return {name: float(np.mean(values)) for name, values in sorted(overlaps.items())}
