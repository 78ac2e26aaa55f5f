"""Fusion of labels against closed forms, SimpleITK's voting, and itself."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from neuralreg.errors import InvalidImage
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.image import Image
from neuralreg.groups.label_fusion import Fusion, fuse_labels

GRID = Grid((14, 13, 12), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), tuple(np.eye(3).ravel()))


def image_of(values) -> Image:
    return Image(torch.as_tensor(np.ascontiguousarray(values))[None], GRID)


@pytest.fixture(scope="module")
def atlases():
    """A truth, and five atlases that are wrong along its border by chance, with fitting images."""
    rng = np.random.default_rng(0)
    z, y, x = np.indices(GRID.shape)
    radius = np.sqrt((x - 6.5) ** 2 + (y - 6) ** 2 + (z - 5.5) ** 2)
    truth = (radius < 4).astype(np.uint8)
    target = 100 / (1 + np.exp(3 * (radius - 4))) + rng.normal(0, 1, truth.shape)
    images, labels = [], []
    for k in range(5):
        shifted = radius + rng.normal(0, 0.7) + 0.15 * (x - 6.5) * (k - 2) / 2
        labels.append((shifted < 4).astype(np.uint8))
        images.append(100 / (1 + np.exp(3 * (shifted - 4))) + rng.normal(0, 1, truth.shape))
    return truth, image_of(target), [image_of(i) for i in images], [image_of(v) for v in labels]


def overlap(fused, truth) -> float:
    ours = fused.labels.data[0].numpy() == 1
    return 2 * (ours & (truth == 1)).sum() / (ours.sum() + truth.sum())


def test_the_majority_is_that_of_simpleitk(atlases):
    _, target, images, labels = atlases
    fused = fuse_labels(target, images, labels, Fusion.MAJORITY)
    maps = [sitk.GetImageFromArray(one.data[0].numpy()) for one in labels]
    theirs = sitk.GetArrayFromImage(sitk.LabelVoting(maps, 255))
    np.testing.assert_array_equal(fused.labels.data[0].numpy(), theirs)
    votes = np.stack([one.data[0].numpy() for one in labels]).sum(0)
    certain = np.maximum(votes, 5 - votes) / 5
    np.testing.assert_allclose(fused.uncertainty.data[0].numpy(), 1 - certain, atol=1e-6)


@pytest.mark.parametrize("method", list(Fusion))
def test_atlases_that_agree_are_believed(atlases, method):
    _, target, images, labels = atlases
    fused = fuse_labels(target, images, [labels[0]] * 5, method)
    assert torch.equal(fused.labels.data, labels[0].data)
    assert fused.uncertainty.data.max() < 1e-5
    assert fused.agreement == {1: 1.0}


@pytest.mark.parametrize("method", list(Fusion))
def test_no_label_is_invented_and_the_number_type_stays(atlases, method):
    _, target, images, labels = atlases
    renamed = [Image(one.data.to(torch.int16) * 77, GRID) for one in labels]
    fused = fuse_labels(target, images, renamed, method)
    assert fused.labels.data.dtype == torch.int16
    assert set(fused.labels.data.unique().tolist()) == {0, 77}


def test_weights_by_the_images_beat_every_single_atlas_and_plain_votes(atlases):
    truth, target, images, labels = atlases
    plain = overlap(fuse_labels(target, images, labels, Fusion.MAJORITY), truth)
    single = [
        overlap(fuse_labels(target, [i], [v], Fusion.MAJORITY), truth)
        for i, v in zip(images, labels, strict=True)
    ]
    joint = overlap(fuse_labels(target, images, labels, Fusion.JOINT), truth)
    local = overlap(fuse_labels(target, images, labels, Fusion.LOCAL), truth)
    assert joint > max(plain, *single)
    assert local >= plain


def test_doubled_errors_do_not_count_twice(atlases):
    """The point of joint fusion: copies of the worst atlas do not outvote a good one."""
    truth, target, images, labels = atlases
    scores = [
        overlap(fuse_labels(target, [i], [v], Fusion.MAJORITY), truth)
        for i, v in zip(images, labels, strict=True)
    ]
    worst, best = int(np.argmin(scores)), int(np.argmax(scores))
    order = [worst, worst, worst, best]
    many = [images[k] for k in order], [labels[k] for k in order]
    joint = overlap(fuse_labels(target, *many, Fusion.JOINT), truth)
    plain = overlap(fuse_labels(target, *many, Fusion.MAJORITY), truth)
    assert plain == pytest.approx(scores[worst])
    assert joint > 0.5 * (scores[worst] + scores[best])


def test_other_grids_are_refused(atlases):
    _, target, images, labels = atlases
    elsewhere = Image(labels[0].data, Grid(GRID.size, (2.0, 1.0, 1.0), GRID.origin, GRID.direction))
    with pytest.raises(InvalidImage, match="grid"):
        fuse_labels(target, images[:1], [elsewhere])
