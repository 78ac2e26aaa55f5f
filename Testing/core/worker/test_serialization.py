"""What is handed over arrives as it was, in slabs and without text."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from neuralreg.errors import InvalidImage, UnreadableFile, UnwritableOutput
from neuralreg.geometry.grid import Grid
from neuralreg.registration.options import FieldRefinement, RegistrationOptions
from neuralreg.worker.messages import Field, RegisterJob, Voxels
from neuralreg.worker.serialization import SLAB_BYTES, at_once, pack, slabs, unpack

TYPES = [np.uint8, np.int8, np.int16, np.uint16, np.int32, np.uint32, np.float32, np.float64]
GRID = Grid((7, 6, 5), (1.0, 2.0, 3.0), (-4.0, 5.0, 6.5), (1, 0, 0, 0, 1, 0, 0, 0, 1))


def sent(value, folder):
    """The value after its way through text and files."""
    return unpack(json.loads(json.dumps(at_once(pack(value, folder)))))


@pytest.mark.parametrize("dtype", TYPES)
def test_an_array_of_any_type_arrives_as_it_was(dtype, tmp_path):
    array = np.arange(210).reshape(GRID.shape).astype(dtype)
    found = sent(Voxels(array, GRID), tmp_path)
    assert found.grid == GRID
    assert found.data.dtype == array.dtype
    assert np.array_equal(found.data, array)


def test_a_folder_of_250_characters_with_spaces_and_umlauts_will_do(tmp_path):
    folder = tmp_path
    while len(str(folder)) < 250:
        folder = folder / "Übergabe für Söhne & Töchter"[: max(1, 249 - len(str(folder)))]
    folder.mkdir(parents=True)
    array = np.arange(210).reshape(GRID.shape)
    assert np.array_equal(sent(Voxels(array, GRID), folder).data, array)


def test_an_array_is_a_plain_numpy_file(tmp_path):
    array = np.random.default_rng(0).normal(size=GRID.shape)
    at_once(pack({"a": array}, tmp_path))
    (file,) = tmp_path.iterdir()
    assert np.array_equal(np.load(file), array)


def test_a_view_that_is_not_in_order_arrives_in_order(tmp_path):
    array = np.arange(210).reshape(7, 6, 5).T
    assert np.array_equal(sent(array, tmp_path), array)


def test_everything_of_a_job_arrives(tmp_path):
    field = Field(np.ones((*GRID.shape, 3), np.float32), GRID)
    image = Voxels(np.ones(GRID.shape), GRID, bend=field, straight=GRID, labels=True)
    options = RegistrationOptions(refinement=FieldRefinement(steps=3), full_resolution=True)
    job = RegisterJob(image, image, (image,), (), ((1.0, 0.0),), options, along=(image, image))
    found = sent(vars(job), tmp_path)
    assert found["options"] == options
    assert found["initial"] == ((1.0, 0.0),)
    assert len(found["along"]) == 2
    assert found["moving"].labels
    assert np.array_equal(found["fixed"].bend.vectors, field.vectors)


def test_the_reader_can_write_to_what_arrived_without_changing_the_file(tmp_path):
    found = sent(np.zeros(5), tmp_path)
    found[:] = 3
    (file,) = tmp_path.iterdir()
    assert np.load(file).tolist() == [0] * 5


def test_an_array_is_written_in_steps_of_a_few_megabytes(tmp_path):
    array = np.zeros((64, 256, 256), np.float32)
    steps = sum(1 for _ in pack(array, tmp_path))
    assert steps == len(slabs(array)) == array.nbytes // SLAB_BYTES


def test_a_full_or_missing_folder_is_said_in_words(tmp_path):
    with pytest.raises(UnwritableOutput, match="handed over"):
        at_once(pack(np.zeros(3), tmp_path / "missing"))


def test_a_missing_or_broken_file_is_said_in_words(tmp_path):
    (tmp_path / "a.npy").write_bytes(b"no array")
    for name in ("a.npy", "b.npy"):
        with pytest.raises(UnreadableFile, match="handed over"):
            unpack({"array": str(tmp_path / name)})


def test_too_little_memory_for_an_array_is_not_taken_for_a_broken_file(tmp_path):
    path = tmp_path / "large.npy"
    with path.open("wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": (1 << 36,)}
        np.lib.format.write_array_header_1_0(file, header)
        file.truncate(file.tell() + (1 << 36))  # no block of it is ever written
    code = (
        "import resource\n"
        "from neuralreg.errors import OutOfMemory\n"
        "from neuralreg.worker.serialization import unpack\n"
        "resource.setrlimit(resource.RLIMIT_DATA, (1 << 31, 1 << 31))\n"
        f"try: unpack({{'array': {str(path)!r}}})\n"
        "except OutOfMemory as error: print(error)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "too little memory" in told.stdout, told.stderr


def test_values_that_do_not_lie_on_their_grid_are_refused():
    with pytest.raises(InvalidImage, match="on its grid"):
        Voxels(np.zeros((7, 6, 5)), GRID)
