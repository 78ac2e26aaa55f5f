"""Images in OME-Zarr: placed by the specification, read by level, channel and frame."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from neuralreg.errors import InvalidImage, PackageMissing, UnreadableFile
from neuralreg.geometry.remarks import RemarkKind
from neuralreg.io.files import sha256_of
from neuralreg.io.formats import ome_zarr
from neuralreg.io.image_files import read_image
from neuralreg.io.itk_images import open_frames, open_grid

from Testing.support.command_line import facts_of

zarr = pytest.importorskip("zarr")

VALUES = np.random.default_rng(3).integers(0, 3000, (12, 10, 8)).astype(np.uint16)
MICROMETERS = {"scale": (40.0, 20.0, 10.0), "translation": (-70.0, 30.0, 500.0)}  # z y x
UP = {"z": "inferior-to-superior", "y": "posterior-to-anterior", "x": "left-to-right"}
KINDS = {"t": "time", "c": "channel"}


def write(
    path: Path,
    levels: list[np.ndarray],
    axes: str = "zyx",
    *,
    unit: str | None = "micrometer",
    version: str = "0.4",
    orientation: dict[str, str] | None = None,
    whole: list[dict[str, Any]] | None = None,
    **attributes: Any,
) -> Path:
    """An image of levels, each half as fine as the one before, with the specification's words."""
    group = zarr.open_group(str(path), mode="w", zarr_format=3 if version == "0.5" else 2)
    datasets = []
    for k, values in enumerate(levels):
        group.create_array(f"s{k}", data=values)
        scale = [MICROMETERS["scale"]["zyx".index(a)] * 2**k if a in "zyx" else 1.0 for a in axes]
        # The middle of the first voxel of a coarser level is between those that it was made of.
        shift = [MICROMETERS["translation"]["zyx".index(a)]
                 + MICROMETERS["scale"]["zyx".index(a)] * (2**k - 1) / 2 if a in "zyx" else 0.0
                 for a in axes]  # fmt: skip
        steps = [{"type": "scale", "scale": scale}, {"type": "translation", "translation": shift}]
        datasets.append({"path": f"s{k}", "coordinateTransformations": steps})
    about: list[dict[str, Any]] = []
    for name in axes:
        axis: dict[str, Any] = {"name": name, "type": KINDS.get(name, "space")}
        if unit and name in "zyx":
            axis["unit"] = unit
        if orientation and name in orientation:
            axis["orientation"] = {"type": "anatomical", "value": orientation[name]}
        about.append(axis)
    image: dict[str, Any] = {"axes": about, "datasets": datasets, "name": "body"}
    if whole:
        image["coordinateTransformations"] = whole
    if version == "0.5":
        group.attrs["ome"] = {"version": version, "multiscales": [image], **attributes}
    else:
        group.attrs.update({"multiscales": [{**image, "version": version}], **attributes})
    return path


def halve(values: np.ndarray) -> np.ndarray:
    z, y, x = (n // 2 for n in values.shape)
    return values.reshape(z, 2, y, 2, x, 2).mean((1, 3, 5)).astype(values.dtype)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_values_and_place_are_those_of_the_specification(tmp_path, version):
    path = write(tmp_path / "a.ome.zarr", [VALUES], version=version)
    image = read_image(path)
    np.testing.assert_array_equal(image.data[0].numpy(), VALUES)
    assert image.grid.size == (8, 10, 12)
    assert image.grid.spacing == pytest.approx((0.01, 0.02, 0.04))  # of micrometers, in mm
    assert image.grid.origin == pytest.approx((0.5, 0.03, -0.07))
    assert image.grid.direction == pytest.approx(tuple(np.eye(3).ravel()))
    assert [remark.kind for remark in image.remarks] == [RemarkKind.AXES_ASSUMED]


def test_axes_in_any_order_are_the_same_image(tmp_path):
    straight = read_image(write(tmp_path / "a.zarr", [VALUES]))
    turned = read_image(write(tmp_path / "b.zarr", [VALUES.transpose(2, 0, 1)], "xzy"))
    assert turned.grid.is_close(straight.grid)
    assert (turned.data == straight.data).all()


def test_anatomical_orientation_turns_the_axes_into_lps(tmp_path):
    image = read_image(write(tmp_path / "a.zarr", [VALUES], orientation=UP))
    assert image.grid.direction == pytest.approx((-1, 0, 0, 0, -1, 0, 0, 0, 1))
    assert image.grid.origin == pytest.approx((-0.5, -0.03, -0.07))
    assert image.remarks == ()
    lying = {"z": "left-to-right", "y": "superior-to-inferior", "x": "anterior-to-posterior"}
    image = read_image(write(tmp_path / "b.zarr", [VALUES], orientation=lying))
    index = np.array([1.0, 2.0, 3.0])
    x, y, z = 0.5 + 0.01 * index[0], 0.03 + 0.02 * index[1], -0.07 + 0.04 * index[2]
    assert image.grid.points_at(index) == pytest.approx((-z, x, -y))
    with pytest.raises(UnreadableFile, match="oriented"):
        read_image(write(tmp_path / "c.zarr", [VALUES], orientation={**UP, "y": UP["x"]}))


def test_transformations_of_all_levels_come_after_those_of_one(tmp_path):
    whole = [{"type": "scale", "scale": [2.0] * 3}, {"type": "translation", "translation": [1] * 3}]
    grid = open_grid(write(tmp_path / "a.zarr", [VALUES], unit="millimeter", whole=whole))[0]
    assert grid.spacing == pytest.approx((20, 40, 80))
    assert grid.origin == pytest.approx((1001, 61, -139))


def test_a_level_is_chosen_by_size_or_by_name_and_lies_where_the_fine_one_does(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(ome_zarr, "ENOUGH", 100)
    fine = np.random.default_rng(0).normal(0, 1, (32, 16, 16)).astype(np.float32)
    levels = [fine, halve(fine), halve(halve(fine)), halve(halve(halve(fine)))]
    path = write(tmp_path / "a.ome.zarr", levels)
    image = read_image(path)
    np.testing.assert_array_equal(image.data[0].numpy(), levels[2])  # 128 voxels, 16 in the next
    (remark,) = (one for one in image.remarks if one.kind is RemarkKind.LEVEL_CHOSEN)
    assert f"{path}::0" in str(remark)
    assert "level 2 of 4" in str(remark)
    grids = []
    for k, name in enumerate(("0", "s1", "2", "s3")):
        chosen = read_image(Path(f"{path}::{name}"))
        np.testing.assert_array_equal(chosen.data[0].numpy(), levels[k])
        assert RemarkKind.LEVEL_CHOSEN not in [one.kind for one in chosen.remarks]
        grids.append(chosen.grid)
        assert open_grid(Path(f"{path}::{name}"))[0].is_close(chosen.grid)
    for grid in grids[1:]:  # the field of view is one
        first, last = grid.points_at([-0.5] * 3), grid.points_at(np.subtract(grid.size, 0.5))
        assert first == pytest.approx(grids[0].points_at([-0.5] * 3))
        assert last == pytest.approx(grids[0].points_at(np.subtract(grids[0].size, 0.5)))
    with pytest.raises(UnreadableFile, match=r"'7'.*0: 16x16x32.*3: 2x2x4"):
        read_image(Path(f"{path}::7"))


def test_channels_are_named_and_never_mixed(tmp_path):
    both = np.stack([VALUES, VALUES[::-1]])
    omero = {"channels": [{"label": "DAPI"}, {"label": "cFos"}]}
    path = write(tmp_path / "a.zarr", [both, both[:, ::2, ::2, ::2]], "czyx", omero=omero)
    with pytest.raises(InvalidImage, match=r"2 channels: 0 'DAPI', 1 'cFos'.*::c=0"):
        read_image(path)
    for name, wanted in (("c=cFos", both[1]), ("c=0", both[0]), ("1,c=1", both[1, ::2, ::2, ::2])):
        np.testing.assert_array_equal(read_image(Path(f"{path}::{name}")).data[0].numpy(), wanted)
    with pytest.raises(InvalidImage, match="'GFP'"):
        read_image(Path(f"{path}::c=GFP"))


def test_time_is_frames(tmp_path):
    frames = np.stack([VALUES, VALUES + 1, VALUES + 2])
    path = write(tmp_path / "a.zarr", [frames[:, None]], "tczyx")
    volumes, start, step = open_frames(path)
    assert (len(volumes), start, step) == (3, 0.0, 1.0)
    for volume, wanted in zip(volumes, frames, strict=True):
        np.testing.assert_array_equal(sitk.GetArrayFromImage(volume.image), wanted)
    kinds = [remark.kind for remark in read_image(path).remarks]
    assert RemarkKind.FRAME_CHOSEN in kinds


@pytest.mark.parametrize("kind", ["<f4", ">i2", "<u4", "bool", "<f2", "<i8"])
def test_every_number_type_is_read(tmp_path, kind):
    values = (VALUES % 2).astype(kind)
    image = read_image(write(tmp_path / "a.zarr", [values[0]], "yx"))
    assert image.grid.dimension == 2
    np.testing.assert_array_equal(image.data[0].numpy(), values[0].astype(float))


def test_what_is_not_said_or_not_known_is_a_remark_or_refused(tmp_path):
    image = read_image(write(tmp_path / "a.zarr", [VALUES], unit=None))
    assert RemarkKind.NO_UNIT in [remark.kind for remark in image.remarks]
    assert image.grid.spacing == pytest.approx((10, 20, 40))
    for path, words in (
        (write(tmp_path / "b.zarr", [VALUES], unit="furlong"), "furlong"),
        (write(tmp_path / "c.zarr", [VALUES], whole=[{"type": "rotation"}]), "rotation"),
    ):
        with pytest.raises(UnreadableFile, match=words):
            read_image(path)
    empty = tmp_path / "plate.zarr"
    zarr.open_group(str(empty), mode="w", zarr_format=2).create_group("A1")
    with pytest.raises(UnreadableFile, match=r"0 multiscales; groups A1"):
        read_image(empty)
    (tmp_path / "a.zarr" / ".zattrs").write_text("{")
    with pytest.raises(UnreadableFile, match="OME-Zarr"):
        read_image(tmp_path / "a.zarr")


def test_without_the_package_the_message_names_it(tmp_path, monkeypatch):
    path = write(tmp_path / "a.zarr", [VALUES])
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(PackageMissing, match=r"neuralreg\[exchange\]"):
        read_image(path)


def test_commands_take_it_and_its_hash_covers_the_chunks(tmp_path):
    path = write(tmp_path / "a.ome.zarr", [VALUES.astype(np.float32)], unit="millimeter")
    assert facts_of("info", path)["highest"] == VALUES.max()
    shift = sitk.TranslationTransform(3, (10.0, 0.0, 0.0))
    sitk.WriteTransform(shift, str(tmp_path / "shift.tfm"))
    out = tmp_path / "warped.nii.gz"
    facts_of("warp", path, tmp_path / "shift.tfm", "-r", path, "-o", out)
    warped = sitk.GetArrayFromImage(sitk.ReadImage(str(out)))
    np.testing.assert_allclose(warped[..., :-1], VALUES[..., 1:], atol=0.01)
    before = sha256_of(path)
    write(path, [(VALUES + 1).astype(np.float32)], unit="millimeter")
    assert sha256_of(path) != before


def test_what_its_own_library_writes_is_read(tmp_path):
    writer = pytest.importorskip("ome_zarr.writer")
    path = tmp_path / "own.ome.zarr"
    writer.write_image(
        image=VALUES, group=str(path), axes="zyx", scale={"z": 3.0, "y": 2.0, "x": 1.5},
        axes_units={"z": "millimeter", "y": "millimeter", "x": "millimeter"},
    )  # fmt: skip
    image = read_image(Path(f"{path}::0"))
    np.testing.assert_array_equal(image.data[0].numpy(), VALUES)
    assert image.grid.spacing == pytest.approx((1.5, 2.0, 3.0))
