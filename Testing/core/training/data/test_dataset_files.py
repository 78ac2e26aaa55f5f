"""Images and labels from folders and HDF5 files."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from neuralreg.errors import InvalidImage, InvalidOption, UnreadableFile
from neuralreg.training.config.schema import Split
from neuralreg.training.data.dataset_files import (
    find_cases,
    label_channels,
    label_values,
    list_left_out,
    read_case_image,
    read_case_labels,
)

ARRAY = np.arange(24, dtype=np.float32).reshape(2, 3, 4)  # axes x y z


def save(array: np.ndarray, path, spacing=(1.0, 2.0, 3.0)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing[: image.GetDimension()] + (1.0,) * (image.GetDimension() - 3))
    sitk.WriteImage(image, str(path))


def split(*folders, **about) -> Split:
    return Split.model_validate({"dir": list(map(str, folders)), **about})


def test_files_pair_by_name_and_folders_are_groups(tmp_path):
    for name in ("b/2.nii.gz", "b/1.nii", "a/1.nrrd"):
        save(ARRAY, tmp_path / "images" / name)
        save(ARRAY.astype(np.uint8), tmp_path / "labels" / name)
    cases = find_cases(split(tmp_path, labeled=True), "grouped")
    assert [(c.name, c.group) for c in cases] == [("a/1", "a"), ("b/1", "b"), ("b/2", "b")]
    assert all(c.labels is not None for c in cases)


def test_several_folders_are_looked_through_in_order(tmp_path):
    for folder in ("two", "one"):
        save(ARRAY, tmp_path / folder / "images" / "x.nii.gz")
    cases = find_cases(split(tmp_path / "two", tmp_path / "one"), "unpaired")
    assert [c.name for c in cases] == ["0/x", "1/x"]
    assert "two" in cases[0].image.path


def test_paired_images_have_folders_of_their_own(tmp_path):
    for side in ("fixed", "moving"):
        save(ARRAY, tmp_path / f"{side}_images" / "x.nii.gz")
    cases = find_cases(split(tmp_path), "paired")
    assert sorted(c.role for c in cases) == ["fixed", "moving"]


def test_an_image_without_labels_is_named(tmp_path):
    save(ARRAY, tmp_path / "images" / "x.nii.gz")
    (tmp_path / "labels").mkdir()
    with pytest.raises(InvalidOption, match="only one of both for x"):
        find_cases(split(tmp_path, labeled=True), "unpaired")


def test_missing_folders_and_files_are_named(tmp_path):
    with pytest.raises(UnreadableFile, match="no folder 'images'"):
        find_cases(split(tmp_path), "unpaired")
    with pytest.raises(UnreadableFile, match=r"no file 'images\.h5'"):
        find_cases(split(tmp_path, format="h5"), "unpaired")
    with pytest.raises(UnreadableFile, match="is no folder"):
        find_cases(split(tmp_path / "nowhere"), "unpaired")


def test_hdf5_keys_of_groups_count_as_numbers(tmp_path):
    with h5py.File(tmp_path / "images.h5", "w") as file:
        for key in ("group-2-1", "group-10-1", "group-2-10", "group-2-2"):
            file[key] = ARRAY
    cases = find_cases(split(tmp_path, format="h5"), "grouped")
    assert [c.name for c in cases] == ["group-2-1", "group-2-2", "group-2-10", "group-10-1"]
    assert [c.group for c in cases] == ["2", "2", "2", "10"]


def test_an_hdf5_array_has_axes_x_y_z_and_may_say_its_spacing(tmp_path):
    with h5py.File(tmp_path / "images.h5", "w") as file:
        file["plain"] = ARRAY
        file["placed"] = ARRAY
        file["placed"].attrs["spacing"] = (0.5, 1.0, 2.0)
        file["placed"].attrs["origin"] = (1.0, 2.0, 3.0)
    placed, plain = find_cases(split(tmp_path, format="h5"), "unpaired")
    image = read_case_image(plain.image, 3)
    assert image.grid.size == (2, 3, 4)
    assert image.data.shape == (1, 4, 3, 2)
    assert float(image.data[0, 3, 1, 0]) == ARRAY[0, 1, 3]
    assert read_case_image(placed.image, 3).grid.spacing == (0.5, 1.0, 2.0)
    assert read_case_image(placed.image, 3).grid.origin == (1.0, 2.0, 3.0)


def test_an_image_of_another_dimension_is_refused(tmp_path):
    save(ARRAY, tmp_path / "images" / "x.nii.gz")
    (case,) = find_cases(split(tmp_path), "unpaired")
    with pytest.raises(InvalidImage, match="3 axes"):
        read_case_image(case.image, 2)


def test_soft_labels_lie_in_channels(tmp_path):
    soft = np.stack([np.full((4, 3, 2), v, np.float32) for v in (0.25, 0.75)])
    save(ARRAY, tmp_path / "images" / "x.nii.gz")
    path = tmp_path / "labels" / "x.nii.gz"
    path.parent.mkdir()
    sitk.WriteImage(sitk.JoinSeries([sitk.GetImageFromArray(part) for part in soft]), str(path))
    (case,) = find_cases(split(tmp_path, labeled=True), "unpaired")
    labels = read_case_labels(case.labels, 3)
    assert labels.data.shape == (2, 4, 3, 2)
    assert label_values([case], 3) == (1, 2)
    assert torch.equal(label_channels(labels, (2,)).data, labels.data[1:])


def test_a_label_map_becomes_a_channel_per_value(tmp_path):
    values = (np.arange(24).reshape(4, 3, 2) % 3).astype(np.uint8) * 5
    save(values, tmp_path / "images" / "x.nii.gz")
    save(values, tmp_path / "labels" / "x.nii.gz")
    (case,) = find_cases(split(tmp_path, labeled=True), "unpaired")
    assert label_values([case], 3) == (5, 10)
    channels = label_channels(read_case_labels(case.labels, 3), (5, 10)).data
    assert channels.sum().item() == (values > 0).sum()
    assert np.array_equal(channels[1].numpy() > 0, values == 10)


def test_values_that_are_neither_labels_nor_shares_are_refused(tmp_path):
    save(ARRAY, tmp_path / "images" / "x.nii.gz")
    save(ARRAY + 0.5, tmp_path / "labels" / "x.nii.gz")
    (case,) = find_cases(split(tmp_path, labeled=True), "unpaired")
    with pytest.raises(InvalidImage, match=r"values 0\.5 to 23\.5"):
        read_case_labels(case.labels, 3)


def test_links_capital_endings_and_pairs_of_files_are_images(tmp_path):
    top = tmp_path / "set" / "images"
    save(ARRAY, top / "plain.nii.gz")
    save(ARRAY, tmp_path / "elsewhere" / "linked.mha")
    save(ARRAY, tmp_path / "capital.nii.gz")
    (tmp_path / "capital.nii.gz").rename(top / "capital.NII.GZ")
    save(ARRAY, top / "pair.hdr")
    (top / "scanner").symlink_to(tmp_path / "elsewhere")
    cases = find_cases(split(tmp_path / "set"), "unpaired")
    assert [c.name for c in cases] == ["capital", "pair", "plain", "scanner/linked"]
    for case in cases:
        assert torch.equal(read_case_image(case.image, 3).data[0], torch.from_numpy(ARRAY))
    assert list_left_out(split(tmp_path / "set"), "unpaired") == []


def test_what_is_no_image_is_listed_with_its_reason(tmp_path):
    top = tmp_path / "images"
    save(ARRAY, top / "a.nii.gz")
    for name in ("._a.nii.gz", ".DS_Store", "notes.txt", "b.png"):
        (top / name).write_bytes(b"x")
    save(ARRAY, top / ".backup" / "a.nii.gz")
    (top / "again").symlink_to(top)
    (case,) = find_cases(split(tmp_path), "unpaired")
    assert case.name == "a"
    why = {one.path.removeprefix(f"{top}/"): one.why for one in list_left_out(split(tmp_path), "")}
    assert why == {
        "._a.nii.gz": "a resource fork of macOS",
        ".DS_Store": "a hidden file",
        ".backup": "a hidden folder",
        "again": "a link to a folder that it is in",
        "b.png": "its ending is none of a volume's format",
        "notes.txt": "its ending is none of a volume's format",
    }


def test_two_images_of_one_name_are_refused(tmp_path):
    for name in ("a.nii.gz", "a.nrrd"):
        save(ARRAY, tmp_path / "images" / name)
    with pytest.raises(InvalidOption, match=r"a\.nii\.gz and a\.nrrd"):
        find_cases(split(tmp_path), "unpaired")


def test_a_folder_that_is_given_twice_is_refused(tmp_path):
    save(ARRAY, tmp_path / "images" / "a.nii.gz")
    with pytest.raises(InvalidOption, match="given twice"):
        find_cases(split(tmp_path, f"{tmp_path}/../{tmp_path.name}"), "unpaired")


def test_visits_have_the_order_of_their_numbers_in_files_and_in_hdf5(tmp_path):
    names = ["visit10", "visit2", "visit1"]
    for name in names:
        save(ARRAY, tmp_path / "images" / "p1" / f"{name}.nii.gz")
    with h5py.File(tmp_path / "images.h5", "w") as file:
        for name in names:
            file[name] = ARRAY
    files = find_cases(split(tmp_path), "grouped")
    keys = find_cases(split(tmp_path, format="h5"), "unpaired")
    assert [c.name for c in files] == ["p1/visit1", "p1/visit2", "p1/visit10"]
    assert [c.name for c in keys] == ["visit1", "visit2", "visit10"]


def test_keys_of_hdf5_that_name_no_group_are_refused_where_groups_count(tmp_path):
    with h5py.File(tmp_path / "images.h5", "w") as file:
        file["visit1"] = ARRAY
    with pytest.raises(InvalidOption, match="visit1"):
        find_cases(split(tmp_path, format="h5"), "grouped")


@pytest.mark.parametrize(
    ("value", "got"), [("folder", r"a folder with 'data', 'label'"), ("text", "object")]
)
def test_hdf5_of_another_layout_is_refused_with_file_and_key(value, got, tmp_path):
    with h5py.File(tmp_path / "images.h5", "w") as file:
        if value == "folder":
            file["case1/data"] = file["case1/label"] = ARRAY
        else:
            file["case1"] = "words"
    with pytest.raises(UnreadableFile, match=rf"images\.h5.*case1.*{got}"):
        find_cases(split(tmp_path, format="h5"), "unpaired")


def test_an_attribute_of_another_length_is_named(tmp_path):
    with h5py.File(tmp_path / "images.h5", "w") as file:
        file["a"] = ARRAY
        file["a"].attrs["spacing"] = (1.0, 2.0)
    (case,) = find_cases(split(tmp_path, format="h5"), "unpaired")
    with pytest.raises(InvalidImage, match=r"'spacing'.*wanted 3 numbers"):
        read_case_image(case.image, 3)


@pytest.mark.parametrize("number", [np.int32, np.float64])
@pytest.mark.parametrize("format", ["nifti", "h5"])
def test_atlas_numbers_beyond_single_precision_are_labels_of_their_own(number, format, tmp_path):
    numbers = np.zeros((4, 3, 2), number)
    numbers[0, 0, 0], numbers[1, 0, 0] = 312782604, 312782605
    save(ARRAY, tmp_path / "images" / "x.nii.gz")
    save(numbers, tmp_path / "labels" / "x.nii.gz")
    for name in ("images", "labels"):
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            file["x"] = numbers.transpose()
    (case,) = find_cases(split(tmp_path, labeled=True, format=format), "unpaired")
    assert label_values([case], 3) == (312782604, 312782605)
    channels = label_channels(read_case_labels(case.labels, 3), (312782605,)).data
    assert channels.sum() == 1
    assert channels[0, 1, 0, 0] == 1


def test_soft_labels_of_planes_lie_in_channels(tmp_path):
    soft = np.stack([np.full((4, 3), v, np.float32) for v in (0.25, 0.75)])
    save(ARRAY[0], tmp_path / "images" / "x.nii.gz")
    save(soft, tmp_path / "labels" / "x.nii.gz")
    (case,) = find_cases(split(tmp_path, labeled=True), "unpaired")
    labels = read_case_labels(case.labels, 2)
    assert torch.equal(labels.data, torch.from_numpy(soft))
    assert labels.grid.spacing == (1.0, 2.0)


def test_labels_of_a_dimension_that_is_none_of_the_images_are_refused(tmp_path):
    save(ARRAY[0].astype(np.uint8), tmp_path / "labels" / "x.nii.gz")
    save(ARRAY, tmp_path / "images" / "x.nii.gz")
    (case,) = find_cases(split(tmp_path, labeled=True), "unpaired")
    with pytest.raises(InvalidImage, match=r"got 2 axes, wanted 3 or 4 axes"):
        read_case_labels(case.labels, 3)


@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd", ".mha"])
def test_images_and_labels_with_nan_are_named_in_every_format(ending, tmp_path):
    array = ARRAY.copy()
    array[1, 1, 1] = np.nan
    for kind in ("images", "labels"):
        save(array, tmp_path / kind / f"x{ending}")
    (case,) = find_cases(split(tmp_path, labeled=True), "unpaired")
    with pytest.raises(InvalidImage, match=rf"images/x\{ending}.*in 1 of 24 voxels"):
        read_case_image(case.image, 3)
    with pytest.raises(InvalidImage, match=rf"labels/x\{ending}.*NaN"):
        read_case_labels(case.labels, 3)
