"""Padding in DICOM series and files of several frames; the right values are computed by NumPy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.remarks import RemarkKind
from neuralreg.io.image_files import read_image
from neuralreg.worker.handed_volumes import canonical_voxels
from neuralreg.worker.messages import Origin, Voxels

from Testing.support.dicom_files import write_multiframe, write_slices

PLACES = [4.0, 0.0, 8.0, 2.0, 6.0]
PADDING = -2000
STRAIGHT = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


@pytest.fixture
def stored() -> np.ndarray:
    """Frames of 16 bits with two rows of padding."""
    values = np.random.default_rng(0).integers(0, 999, (5, 6, 7)).astype(np.int16)
    values[:, :2] = PADDING
    return values


def filled(values: np.ndarray, padded: np.ndarray) -> np.ndarray:
    return np.where(padded, values[~padded].min(), values)


@pytest.mark.parametrize(
    ("shared", "own", "file"),
    [
        ({}, [], {"PixelPaddingValue": PADDING}),
        ({"PixelPaddingValue": PADDING}, [], {}),
        ({}, [{"PixelPaddingValue": PADDING}] * 5, {}),
        ({}, [{"PixelPaddingValue": PADDING}] * 5, {"PixelPaddingValue": 7}),
        ({"RescaleSlope": 0.37, "RescaleIntercept": 12}, [], {"PixelPaddingValue": PADDING}),
    ],
    ids=["file", "shared", "own", "own before file", "scaled"],
)
def test_padding_of_frames_is_background_wherever_it_is_named(tmp_path, stored, shared, own, file):
    path = write_multiframe(tmp_path / "all.dcm", stored, PLACES, shared, own, **file)
    read = read_image(path)
    slope, intercept = shared.get("RescaleSlope", 1), shared.get("RescaleIntercept", 0)
    right = filled(stored, stored == PADDING)[np.argsort(PLACES)] * slope + intercept
    np.testing.assert_allclose(read.data[0].numpy(), right, rtol=1e-6)
    (remark,) = read.remarks
    assert remark.kind is RemarkKind.PADDED
    assert remark.values["count"] == (stored == PADDING).sum()
    assert remark.values["value"] == pytest.approx(PADDING * slope + intercept)


def test_each_frame_has_its_own_padding(tmp_path, stored):
    own = [{"PixelPaddingValue": -3000 - k, "RescaleSlope": k + 1.5, "RescaleIntercept": k}
           for k in range(5)]  # fmt: skip
    for k in range(5):
        stored[k, 0] = -3000 - k
    path = write_multiframe(tmp_path / "all.dcm", stored, PLACES, own=own)
    slopes, intercepts = np.arange(5)[:, None, None] + 1.5, np.arange(5)[:, None, None]
    padded = stored == -3000 - np.arange(5)[:, None, None]
    right = filled(stored * slopes + intercepts, padded)[np.argsort(PLACES)]
    read = read_image(path)
    np.testing.assert_allclose(read.data[0].numpy(), right, rtol=1e-6)
    (remark,) = read.remarks
    assert remark.kind is RemarkKind.PADDED_RANGE
    assert remark.values["count"] == padded.sum()


@pytest.mark.parametrize("limit", [-1990, -2010])
@pytest.mark.parametrize("form", ["series", "frames"])
def test_a_range_of_padding_is_background(tmp_path, stored, limit, form):
    stored[:, 0] = (PADDING + limit) // 2
    stored[:, 2] = limit
    stored[0, 3, 3] = min(PADDING, limit) - 1  # a value
    named = {"PixelPaddingValue": PADDING, "PixelPaddingRangeLimit": limit}
    if form == "frames":
        path, order = write_multiframe(tmp_path / "all.dcm", stored, PLACES, **named), PLACES
    else:
        path, order = write_slices(tmp_path, stored, np.ones(5), **named), range(5)
    padded = (stored >= min(PADDING, limit)) & (stored <= max(PADDING, limit))
    read = read_image(path)
    right = filled(stored, padded)[np.argsort(order)]
    np.testing.assert_array_equal(read.data[0].numpy(), right)
    (remark,) = read.remarks
    assert remark.values == {"count": padded.sum(), "low": min(PADDING, limit),
                             "high": max(PADDING, limit)}  # fmt: skip


def test_padding_of_slices_with_slopes_of_their_own(tmp_path, stored):
    slopes = np.array([1, 0.37, 0.5, 2.25, 0.001])
    write_slices(tmp_path, stored, slopes, PixelPaddingValue=PADDING)
    right = filled(stored * slopes[:, None, None], stored == PADDING)
    read = read_image(tmp_path)
    np.testing.assert_allclose(read.data[0].numpy(), right, rtol=1e-6)
    kinds = [remark.kind for remark in read.remarks]
    assert kinds == [RemarkKind.RESCALED_BY_SLICE, RemarkKind.PADDED_RANGE]


@pytest.mark.parametrize("bits", [12, 16])
def test_padding_that_is_written_without_its_sign(tmp_path, stored, bits):
    write_slices(tmp_path, stored, np.ones(5), BitsStored=bits, HighBit=bits - 1)
    for path in tmp_path.iterdir():
        made = pydicom.dcmread(path)
        made.add_new(0x00280120, "US", PADDING + (1 << bits))
        made.save_as(path)
    right = filled(stored, stored == PADDING)
    np.testing.assert_array_equal(read_image(tmp_path).data[0].numpy(), right)


def handed(path: Path, values: np.ndarray) -> Voxels:
    grid = Grid(values.shape[::-1], (2.0, 2.0, 2.0), (0.0, 0.0, 0.0), STRAIGHT)
    return canonical_voxels(Voxels(values, grid, name="node", origin=Origin((str(path),))))


def test_padding_of_a_volume_that_was_loaded_from_frames(tmp_path, stored):
    scale = {"RescaleSlope": 2, "RescaleIntercept": 10}
    named = {"PixelPaddingValue": PADDING}
    path = write_multiframe(tmp_path / "all.dcm", stored, PLACES, scale, **named)
    voxels = handed(path, stored * 2 + 10)
    np.testing.assert_array_equal(voxels.data, filled(stored, stored == PADDING) * 2 + 10)
    assert [remark.kind for remark in voxels.remarks] == [RemarkKind.PADDED]


def test_frames_with_padding_of_their_own_leave_a_volume_as_it_is_and_say_so(tmp_path, stored):
    own = [{"PixelPaddingValue": PADDING - k} for k in range(5)]
    voxels = handed(write_multiframe(tmp_path / "all.dcm", stored, PLACES, own=own), stored)
    np.testing.assert_array_equal(voxels.data, stored)
    assert [remark.kind for remark in voxels.remarks] == [RemarkKind.PADDING_BY_FRAME]
