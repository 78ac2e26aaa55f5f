"""Pairs as tensors: where they lie, which label, which changes, and that seeds decide alone."""

from __future__ import annotations

import gzip
import shutil
import struct

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from neuralreg.errors import InvalidOption, UnreadableFile
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.image import Image
from neuralreg.training.data.dataset_check import check_dataset
from neuralreg.training.data.network_grid import Placement, linear_part, resample_to_network
from neuralreg.training.data.pairs import Batches, PairData
from neuralreg.training.loop.run import Run

from Testing.support.trainings import training_config


def pairs(folder, split="train", training=True, one_label=False, **changes) -> PairData:
    dataset = training_config(folder, **{f"dataset__{k}": v for k, v in changes.items()}).dataset
    return PairData(dataset, split, training=training, one_label=one_label)


def test_a_pair_has_the_size_that_was_asked_for(shapes):
    data = pairs(shapes)
    pair = data[data.items(0)[0]]
    assert {key: tuple(v.shape) for key, v in pair.items()} == {
        "fixed": (1, 20, 24),
        "moving": (1, 20, 24),
        "fixed_labels": (1, 20, 24),
        "moving_labels": (1, 20, 24),
    }
    assert 0 <= float(pair["fixed"].min()) < float(pair["fixed"].max()) <= 1


def test_images_are_read_where_itk_reads_them(shapes):
    data = pairs(shapes, sample_label="all")
    item = data.items(0)[0]
    image = sitk.ReadImage(data.case(item.fixed).image.path)
    grid = Grid.of(image).resize((24, 20))
    reference = sitk.Image(grid.size, sitk.sitkFloat32)
    reference.SetSpacing(grid.spacing)
    reference.SetOrigin(grid.origin)
    values = sitk.GetArrayFromImage(image)
    wanted = sitk.GetArrayFromImage(sitk.Resample(image, reference))
    wanted = (wanted - values.min()) / (values.max() - values.min())
    np.testing.assert_allclose(data[item]["fixed"][0].numpy(), wanted, atol=1e-5)


def test_in_one_world_the_moving_image_is_seen_on_the_fixed_grid():
    unit = (1.0, 0.0, 0.0, 1.0)
    moving = Image(torch.rand(1, 6, 8), Grid((8, 6), (1, 1), (2, 0), unit))
    fixed = Grid((8, 6), (1, 1), (0, 0), unit)
    own = Placement.of(fixed, moving.grid, (8, 6), "own")
    world = Placement.of(fixed, moving.grid, (8, 6), "world")
    assert torch.equal(resample_to_network(moving, own.moving), moving.data)
    assert torch.equal(resample_to_network(moving, world.moving)[..., 2:], moving.data[..., :-2])
    assert (
        float(resample_to_network(moving, world.moving)[..., :2].abs().max()) == 0
    )  # beyond the image


def test_no_displacement_is_the_way_between_the_fields_of_view(a_grid):
    """Two boxes in the world: an affine motion, exact in mm."""
    d = a_grid.dimension
    other = Grid(
        tuple(n + 3 for n in a_grid.size),
        tuple(1.3 * s for s in a_grid.spacing),
        tuple(o + 7 for o in a_grid.origin),
        tuple(np.eye(d)[::-1].ravel().tolist()),
    )
    place = Placement.of(a_grid, other, (6, 5, 4)[:d], "own")
    field = place.field(torch.zeros(d, *place.fixed.shape))
    corners = field(place.fixed.points_at(np.zeros((1, d))))
    np.testing.assert_allclose(corners, other.resize((6, 5, 4)[:d]).points_at(np.zeros((1, d))),
                               atol=1e-4)  # fmt: skip
    linear, gap = linear_part(field)
    assert gap < 2e-3
    points = place.fixed.corners()
    wanted = other.points_at(
        (place.fixed.indices_at(points) + 0.5) * np.divide(other.size, (6, 5, 4)[:d]) - 0.5
    )
    np.testing.assert_allclose(linear(points), wanted, atol=2e-3)


def test_a_displacement_in_voxels_is_millimeters_along_the_moving_axes(a_grid):
    d = a_grid.dimension
    place = Placement.of(a_grid, a_grid, a_grid.size, "own")
    voxels = torch.zeros(d, *a_grid.shape)
    voxels[0] = 2.0
    field = place.field(voxels)
    wanted = 2 * a_grid.index_to_world[:d, 0]
    found = field.vectors.flatten(1).T.numpy()
    np.testing.assert_allclose(found, np.broadcast_to(wanted, found.shape), atol=1e-4)


def test_one_label_is_drawn_in_training_and_all_are_used_otherwise(shapes):
    training = pairs(shapes)
    drawn = {
        int(training[item]["fixed_labels"].sum() > 60)
        for epoch in range(6)
        for item in training.items(epoch)
    }
    assert drawn == {0, 1}  # the small hole, and the body
    assert pairs(shapes, sample_label="all")[training.items(0)[0]]["fixed_labels"].shape[0] == 2
    valid = pairs(shapes, "valid", training=False)
    assert valid[valid.items(0)[0]]["fixed_labels"].shape[0] == 2


def test_conditional_networks_get_each_label_by_itself(shapes):
    valid = pairs(shapes, "valid", training=False, one_label=True)
    items = valid.items(0)
    assert [item.label for item in items] == [0, 1]
    assert valid[items[1]]["moving_labels"].shape[0] == 1


def test_chosen_labels_are_the_only_ones(shapes):
    data = pairs(shapes, labels=[2], sample_label="all")
    pair = data[data.items(0)[0]]
    assert pair["fixed_labels"].shape[0] == 1
    assert 0 < float(pair["fixed_labels"].mean()) < 0.1


CHANGES = [
    {"name": "affine", "rotate": 20, "scale": 0.1},
    {"name": "deformable", "magnitude": [20, 40], "of": "moving"},
    {"name": "noise", "prob": 1.0},
    {"name": "contrast", "prob": 1.0},
    {"name": "brightness", "prob": 1.0},
    {"name": "bias_field", "prob": 1.0},
    {"name": "blur", "prob": 1.0},
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda c: c["name"])
def test_a_change_changes_images_and_its_seed_decides_how(shapes, change):
    data = pairs(shapes, augmentation=[change])
    plain = pairs(shapes)
    one, other = data.items(0)[:2]
    torch.manual_seed(1)
    np.random.seed(1)
    first = data[one]
    torch.manual_seed(2)
    np.random.seed(2)
    again = data[one]
    assert all(torch.equal(first[key], again[key]) for key in first)
    side = "moving" if change.get("of") == "moving" else "fixed"
    assert not torch.equal(first[side], plain[one][side])
    other_seed = type(one)(one.fixed, one.moving, one.label, other.seed)
    assert not torch.equal(first[side], data[other_seed][side])


def test_intensities_of_labels_never_change(shapes):
    data = pairs(shapes, augmentation=CHANGES[2:])
    plain = pairs(shapes)
    item = data.items(0)[0]
    assert torch.equal(data[item]["fixed_labels"], plain[item]["fixed_labels"])


def test_labels_follow_their_image(shapes):
    """Where the changed body is bright, the changed label is; unchanged, it would be elsewhere."""
    data = pairs(shapes, augmentation=[{"name": "affine", "rotate": 40, "translate": 4}],
                 labels=[1], sample_label="all")  # fmt: skip
    for item in data.items(0)[:4]:
        pair = data[item]
        inside = pair["fixed"][pair["fixed_labels"] > 0.9].mean()
        outside = pair["fixed"][pair["fixed_labels"] < 0.01].mean()
        assert inside > outside + 0.4


def test_both_images_change_together_where_that_is_asked(shapes):
    together = pairs(shapes, augmentation=[{"name": "affine", "rotate": 30, "together": True}])
    apart = pairs(shapes, augmentation=[{"name": "affine", "rotate": 30}])
    item = together.items(0)[0]
    twin = type(item)(item.fixed, item.fixed, item.label, item.seed)
    assert torch.equal(together[twin]["fixed"], together[twin]["moving"])
    assert not torch.equal(apart[twin]["fixed"], apart[twin]["moving"])


def test_patches_lie_where_the_body_is(shapes):
    data = pairs(shapes, patch={"size": [8, 6], "foreground": 1.0})
    found = [data[item] for item in data.items(0)]
    assert all(pair["fixed"].shape == (1, 6, 8) for pair in found)
    assert all(pair["moving_labels"].shape == (1, 6, 8) for pair in found)
    assert all(float(pair["fixed_labels"].max()) > 0.3 for pair in found)


def test_validation_pairs_are_the_same_in_each_epoch_and_never_changed(shapes):
    data = pairs(shapes, "valid", training=False, augmentation=["noise"], patch={"size": [8, 6]})
    assert data.items(0) == data.items(5)
    assert data[data.items(0)[0]]["fixed"].shape == (1, 20, 24)


def test_training_pairs_change_with_the_epoch(shapes):
    data = pairs(shapes)
    assert data.items(0) == data.items(0)
    assert data.items(0) != data.items(1)


@pytest.mark.parametrize("cache", ["memory", "disk", "none"])
def test_each_cache_gives_the_same_pairs(shapes, cache, tmp_path):
    dataset = training_config(shapes, dataset__cache=cache).dataset
    data = PairData(dataset, "train", training=True, cache_folder=tmp_path / "cache")
    item = data.items(0)[0]
    plain = pairs(shapes)[item]
    for _ in range(2):
        assert torch.equal(data[item]["fixed"], plain["fixed"])
        assert torch.equal(data[item]["fixed_labels"], plain["fixed_labels"])


def test_a_cache_on_disk_does_not_serve_another_size(shapes, tmp_path):
    for size in ([24, 20], [12, 10]):
        dataset = training_config(shapes, dataset__cache="disk", dataset__size=size).dataset
        data = PairData(dataset, "train", cache_folder=tmp_path / "cache")
        assert data[data.items(0)[0]]["fixed"].shape == (1, *size[::-1])


def test_batches_go_on_where_they_were(shapes):
    batches = Batches(pairs(shapes), 2)
    whole = [batch["fixed"] for batch in batches(3)]
    rest = [batch["fixed"] for batch in batches(3, 2)]
    assert batches.count(3) == len(whole) == 4
    assert len(rest) == 2
    assert all(torch.equal(a, b) for a, b in zip(whole[2:], rest, strict=True))


def test_processes_that_load_change_nothing(shapes):
    data = pairs(shapes, augmentation=["affine", "noise"])
    here = [batch["fixed"] for batch in Batches(data, 2)(1)]
    there = [batch["fixed"] for batch in Batches(data, 2, workers=1)(1)]
    assert all(torch.equal(a, b) for a, b in zip(here, there, strict=True))


def test_processes_that_train_together_share_each_batch(shapes):
    data = pairs(shapes)
    parts = [[b["fixed"] for b in Batches(data, 2, share=(n, 2))(0)] for n in range(2)]
    whole = [b["fixed"] for b in Batches(data, 4)(0)]
    for one, other, both in zip(*parts, whole, strict=True):
        assert torch.equal(torch.cat((one, other)).sum((1, 2, 3)).sort().values,
                           both.sum((1, 2, 3)).sort().values)  # fmt: skip


def test_paired_images_may_have_different_shapes(shapes, tmp_path):
    images = sorted((shapes / "train" / "images").iterdir())[:4]
    for side, step in (("fixed", 1), ("moving", 2)):
        for part in ("images", "labels"):
            folder = tmp_path / "train" / f"{side}_{part}"
            folder.mkdir(parents=True)
            for path in images:
                picture = sitk.ReadImage(str(path).replace("images", part))
                sitk.WriteImage(picture[::step], str(folder / path.name))
    data = pairs(tmp_path, type="paired", valid=None, test=None)
    items = data.items(0)
    assert len(items) == 4
    pair = data[items[0]]
    assert pair["fixed"].shape == pair["moving"].shape == (1, 20, 24)
    # The same picture: what is left comes from the coarser samples alone.
    assert float((pair["fixed"] - pair["moving"]).abs().mean()) < 0.05


def test_masks_are_loaded_changed_and_cut_with_their_images(shapes, tmp_path):
    for part, source in (("images", "images"), ("masks", "labels")):
        shutil.copytree(shapes / "train" / source, tmp_path / "train" / part)
    train = {"dir": str(tmp_path / "train"), "masked": True}
    data = pairs(tmp_path, train=train, valid=None, test=None,
                 augmentation=[{"name": "affine", "rotate": 30}, "noise"])  # fmt: skip
    pair = data[data.items(0)[0]]
    assert pair["fixed_mask"].shape == (1, 20, 24)
    inside = pair["fixed_mask"] > 0.9
    assert pair["fixed"][inside].mean() > pair["fixed"][pair["fixed_mask"] < 0.1].mean() + 0.3
    assert float(pair["fixed_mask"].max()) <= 1  # noise is for images
    small = pairs(tmp_path, train=train, valid=None, test=None, patch={"size": [8, 6]})
    assert small[small.items(0)[0]]["moving_mask"].shape == (1, 6, 8)
    next((tmp_path / "train" / "masks").iterdir()).unlink()
    with pytest.raises(InvalidOption, match="each image has masks of the same name"):
        pairs(tmp_path, train=train, valid=None, test=None)


def test_volumes_in_groups_are_pairs_too(volumes):
    data = pairs(volumes, type="grouped", size=[16, 12, 10])
    pair = data[data.items(0)[0]]
    assert pair["fixed"].shape == (1, 10, 12, 16)
    item = data.items(0)[0]
    assert data.case(item.fixed).group == data.case(item.moving).group


def test_a_split_that_is_not_there_is_named(shapes):
    with pytest.raises(InvalidOption, match="no valid images"):
        pairs(shapes, "valid", valid=None)


def test_the_check_lists_what_is_wrong(tmp_path, shapes):
    for split, part in (("train", "images"), ("train", "labels")):
        (tmp_path / split / part).mkdir(parents=True)
    values = np.random.default_rng(0).random((10, 12)).astype(np.float32)

    def save(name, image, labels, away_mm=0.0):
        path = tmp_path / "train" / "{}" / f"{name}.nii.gz"
        sitk.WriteImage(sitk.GetImageFromArray(image), str(path).format("images"))
        drawn = sitk.GetImageFromArray(labels.astype(np.uint8))
        drawn.SetOrigin([away_mm] * drawn.GetDimension())
        sitk.WriteImage(drawn, str(path).format("labels"))

    save("good", values, values > 0.5)
    save("flat", np.ones_like(values), values > 0.5)
    save("empty", values, values > 2)
    save("away", values, values > 0.5, away_mm=100.0)
    save("volume", np.stack([values] * 5), np.stack([values > 0.5] * 5))
    (tmp_path / "train/images/broken.nii.gz").write_bytes(b"no image")
    (tmp_path / "train/labels/broken.nii.gz").write_bytes(b"no image")
    config = training_config(tmp_path, dataset__valid=None, dataset__test=None)
    report = check_dataset(config)
    said = {where.rpartition("/")[2].partition(".")[0]: what for where, what in report.problems}
    assert sorted(said) == ["away", "broken", "empty", "flat", "volume"]
    assert "everywhere" in said["flat"]
    assert "holds no label" in said["empty"]
    assert "not on its image" in said["away"]
    assert "3 axes" in said["volume"]
    assert report.images == {"train": 6}
    assert check_dataset(training_config(shapes)).problems == ()


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_image_is_named_whoever_reads_it(workers, shapes, tmp_path):
    shutil.copytree(shapes / "train", tmp_path / "train")
    damaged = tmp_path / "train" / "images" / "003.nii.gz"
    damaged.write_bytes(damaged.read_bytes()[:200])
    batches = Batches(pairs(tmp_path, cache="none"), 2, workers=workers)
    with pytest.raises(UnreadableFile) as caught:
        list(batches(0))
    assert str(damaged) in str(caught.value)
    assert "Traceback" not in str(caught.value)


def test_the_check_lists_what_was_left_out_and_counts_the_rest(shapes, tmp_path):
    for split in ("train", "valid", "test"):
        shutil.copytree(shapes / split, tmp_path / split)
    (tmp_path / "train" / "images" / "notes.txt").write_text("seen by nobody")
    report = check_dataset(training_config(tmp_path))
    assert report.images["train"] == len(list((shapes / "train" / "images").iterdir()))
    assert [one.path.rpartition("/")[2] for one in report.left_out] == ["notes.txt"]
    assert "left out" in report.in_words()
    assert report.problems == ()


def test_a_batch_is_described_by_its_images(shapes):
    batches = Batches(pairs(shapes), 2)
    names = batches.describe(0, 1)
    first = batches.pairs.items(0)[2]
    assert batches.pairs.case(first.fixed).image.path in names
    assert names.count(" and ") == 2


@pytest.mark.parametrize("cache", ["memory", "disk", "none"])
def test_processes_that_train_together_read_and_report_each_image_once(
    shapes, cache, tmp_path, caplog
):
    shutil.copytree(shapes / "train", tmp_path / "train")
    for packed in (tmp_path / "train" / "images").glob("*.nii.gz"):
        raw = bytearray(gzip.decompress(packed.read_bytes()))
        raw[112:120] = struct.pack("<2f", 0.0, 5.0)  # an intercept without a slope
        packed.write_bytes(gzip.compress(raw))
    dataset = training_config(tmp_path, dataset__cache=cache, dataset__valid=None).dataset
    data = PairData(dataset, "train", training=True, cache_folder=tmp_path / "cache")
    caplog.clear()
    for number in range(3):
        data.report_remarks((number, 3))
    names = [record.getMessage().partition(".nii.gz")[0] for record in caplog.records]
    assert sorted(names) == sorted(str(case.image).partition(".nii.gz")[0] for case in data.cases)


def test_splits_that_share_images_are_named(shapes, tmp_path, caplog):
    """Here by links with other names, which a look at the folders does not show."""
    for split in ("train", "valid"):
        shutil.copytree(shapes / split, tmp_path / split)
    for kind in ("images", "labels"):
        leaked = sorted((tmp_path / "train" / kind).iterdir())[:2]
        for n, file in enumerate(leaked):
            (tmp_path / "valid" / kind / f"other{n}.nii.gz").symlink_to(file)
    config = training_config(tmp_path, dataset__test=None, training__max_steps=1)
    (remark,) = check_dataset(config).remarks
    assert remark.startswith("train and valid have 2 images in common, such as ")
    assert check_dataset(training_config(shapes)).remarks == ()
    Run(config, tmp_path / "run").train()
    assert remark in caplog.messages
