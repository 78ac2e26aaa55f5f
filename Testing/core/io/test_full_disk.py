"""A disk that is full: an error, nothing half written, and no word of ITK on the terminal."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from neuralreg.errors import UnwritableOutput
from neuralreg.geometry.field import DisplacementField
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.image import Image
from neuralreg.io.files import write_whole
from neuralreg.io.image_files import read_image, write_image
from neuralreg.io.transform_files import read_transform, write_transform

GRID = Grid((24, 24, 24), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), tuple(np.eye(3).ravel()))
resource = pytest.importorskip("resource", reason="file sizes are limited on POSIX only")
ROOM = 20_000  # bytes; each file below needs more
NOISE = torch.from_numpy(np.random.default_rng(0).normal(size=(3, 24, 24, 24)))


@contextmanager
def room_for(count: int) -> Iterator[None]:
    """Let no file get larger, which a program sees as it sees a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (count, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd"])
def test_an_image_that_does_not_fit_is_an_error_and_leaves_nothing(tmp_path, capfd, suffix):
    image, path = Image(NOISE[:1].float(), GRID), tmp_path / f"image{suffix}"
    with room_for(ROOM), pytest.raises(UnwritableOutput, match="Make room"):
        write_image(image, path)
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")
    write_image(image, path)
    np.testing.assert_array_equal(read_image(path).data, image.data)


@pytest.mark.parametrize("suffix", [".tfm", ".txt", ".mat", ".h5", ".nii.gz", ".nrrd"])
def test_a_transform_that_does_not_fit_is_an_error_and_leaves_nothing(tmp_path, capfd, suffix):
    field, path = DisplacementField(NOISE, GRID), tmp_path / f"field{suffix}"
    with room_for(ROOM), pytest.raises(UnwritableOutput, match="Make room"):
        write_transform(field, path)
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")
    write_transform(field, path)
    read = read_transform(path)
    torch.testing.assert_close(read.vectors.double(), NOISE, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kilobytes", [1, 20, 300])
def test_a_transform_in_hdf5_that_does_not_fit_does_not_crash_the_process(tmp_path, kilobytes):
    """HDF5 keeps the file open after an error and crashes when the process ends."""
    write_transform(DisplacementField(NOISE, GRID), tmp_path / "field.nrrd")
    before = sorted(tmp_path.iterdir())
    done = subprocess.run(
        [sys.executable, "-m", "neuralreg", "invert", tmp_path / "field.nrrd",
         "-o", tmp_path / "inverse.h5"],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1024 * kilobytes,) * 2),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, "Make room" in done.stderr) == (4, True)
    assert sorted(tmp_path.iterdir()) == before


def test_an_earlier_file_stays_where_the_new_one_does_not_fit(tmp_path):
    path = tmp_path / "image.nii.gz"
    path.write_text("earlier")
    with room_for(ROOM), pytest.raises(UnwritableOutput):
        write_image(Image(NOISE[:1].float(), GRID), path)
    assert path.read_text() == "earlier"


def test_what_python_writes_says_that_there_is_no_room(tmp_path):
    def write(path: Path) -> None:
        with write_whole(path) as draft:
            draft.write_text("x" * 2 * ROOM)

    with room_for(ROOM), pytest.raises(UnwritableOutput, match="Make room"):
        write(tmp_path / "table.csv")
    assert list(tmp_path.iterdir()) == []
