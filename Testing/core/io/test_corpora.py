"""Files that nibabel and pydicom test themselves with: read as they read them, or refused."""

from __future__ import annotations

import warnings
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
from neuralreg.errors import RegistrationError
from neuralreg.geometry.image import Image
from neuralreg.geometry.remarks import RemarkKind
from neuralreg.io.image_files import read_image
from pydicom.pixels import apply_rescale

NIBABEL, PYDICOM = Path(nibabel.__file__).parent, Path(pydicom.__file__).parent
FOLDERS = (
    NIBABEL / "tests/data",
    NIBABEL / "nicom/tests/data",
    PYDICOM / "data/test_files",
)
SUFFIXES = (".nii", ".nii.gz", ".hdr", ".mgz", ".mnc", ".head", ".dcm", ".v")
FILES = sorted(
    path for folder in FOLDERS for path in folder.glob("*") if path.name.lower().endswith(SUFFIXES)
)
MOST_REFUSED = 2  # of the plain gray images
LOSSY = 0.02  # of the range: decoders of JPEG differ by that
EXACT = 1e-3
# Another value is right where a remark says what was repaired. Of several frames the first counts.
ANOTHER_CHOICE = {RemarkKind.PADDED}


def read_theirs(path: Path) -> tuple[np.ndarray, np.ndarray | None] | None:
    """Values (z, y, x) and affine (LPS) by a file's own library; None where that has no image."""
    try:
        return _by_pydicom(path) if path.suffix == ".dcm" else _by_nibabel(path)
    except Exception:  # noqa: BLE001 - whatever their library raises, it has no image
        return None


def _by_pydicom(path: Path) -> tuple[np.ndarray, np.ndarray | None] | None:
    header = pydicom.dcmread(path, force=True)
    values = np.asarray(header.pixel_array)
    if header.get("SamplesPerPixel", 1) > 1:
        return None
    if "RescaleSlope" in header:
        values = np.asarray(apply_rescale(values, header))
    elif "DoseGridScaling" in header:
        values = values * float(header.DoseGridScaling)
    places = ("ImageOrientationPatient", "ImagePositionPatient", "PixelSpacing")
    if values.ndim > 2 or any(place not in header for place in places):
        return values.astype(float), None
    axes = np.array(header.ImageOrientationPatient, float).reshape(2, 3)
    affine = np.eye(4)
    affine[:3, :2] = (axes * np.array(header.PixelSpacing, float)[::-1, None]).T
    affine[:3, 3] = np.array(header.ImagePositionPatient, float)
    return values.astype(float), affine


def _by_nibabel(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    image = nibabel.load(path)
    values = np.asarray(image.get_fdata())
    if path.suffix == ".mnc":  # z y x already, and t z y x
        return values[0] if values.ndim > 3 else values, None
    values = values.reshape(*values.shape[:3], -1)[..., 0]
    return values.T, np.diag([-1, -1, 1, 1]) @ image.affine


def differs(path: Path, ours: Image, values: np.ndarray, affine: np.ndarray | None) -> str:
    """What is other than theirs; empty where nothing is."""
    mine, theirs = ours.data[0].numpy().astype(float).squeeze(), values.squeeze()
    if mine.shape != theirs.shape:
        return f"shape {mine.shape}, not {theirs.shape}"
    tolerance = LOSSY if "JP" in path.name else EXACT
    if np.nanmax(np.abs(mine - theirs)) > tolerance * max(float(np.ptp(theirs)), 1e-9):
        return "values"
    if affine is None or ours.grid.dimension != 3:
        return ""
    ends = np.array([[0, 0, 0], np.subtract(ours.grid.size, 1)], float)
    gap = ours.grid.points_at(ends) - (ends @ affine[:3, :3].T + affine[:3, 3])
    return f"{np.abs(gap).max():.3g} mm off" if np.abs(gap).max() > 0.01 else ""


@pytest.fixture(scope="module")
def outcomes() -> tuple[dict[str, str], dict[str, str]]:
    """By file: what differs from its own library without a remark, and what is refused in vain."""
    wrong, refused = {}, {}
    for path in FILES:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # theirs, about their own odd files
            theirs = read_theirs(path)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                ours = read_image(path)
        except RegistrationError as error:
            if theirs is not None and theirs[0].squeeze().ndim in (2, 3):
                refused[path.name] = str(error)
            continue
        if theirs is None or ANOTHER_CHOICE & {remark.kind for remark in ours.remarks}:
            continue
        if difference := differs(path, ours, *theirs):
            wrong[path.name] = difference
    return wrong, refused


def test_the_corpora_are_there():
    assert len(FILES) > 100


def test_no_file_is_read_other_than_by_its_own_library(outcomes):
    assert outcomes[0] == {}


def test_hardly_a_gray_image_is_refused(outcomes):
    assert len(outcomes[1]) <= MOST_REFUSED, outcomes[1]
