"""What a registration needs in memory is said, and refused only where it certainly is not there."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from neuralreg import register
from neuralreg.errors import InvalidOption, OutOfMemory
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.image import Image
from neuralreg.registration.memory.memory_forecast import forecast_memory, require_memory
from neuralreg.registration.options import USUAL, FieldRefinement, RegistrationOptions
from neuralreg.resources import MEMORY_LIMIT

# Largest resident sizes of `neuralreg register`, MB (2**20 bytes) as the kernel tells: cubes of a
# brain pair with so many voxels a side; fixed, moving, options, measured.
MIND = FieldRefinement(similarity="mind")
MEASURED = [
    (48, 48, {}, 527), (96, 96, {}, 958), (144, 144, {}, 1397), (192, 192, {}, 1447),
    (256, 256, {}, 1650), (320, 320, {}, 2110), (256, 48, {}, 1499), (48, 256, {}, 977),
    (256, 256, {"full_resolution": True}, 4493), (144, 144, {"full_resolution": True}, 1400),
    (192, 192, {"refinement": MIND}, 895), (320, 320, {"most_samples": 1_000_000}, 1118),
]  # fmt: skip
TINY = FieldRefinement(similarity="mind", steps=1)


def cube(side: int, spacing: float = 1.0) -> Grid:
    return Grid((side,) * 3, (spacing,) * 3, (0.0,) * 3, tuple(np.eye(3).ravel()))


def image(side: int) -> Image:
    z, y, x = np.ogrid[:side, :side, :side]
    far = ((x - side / 2) / 1.2) ** 2 + (y - side / 2) ** 2 + (z - side / 2) ** 2
    values = np.where(far < (side / 3) ** 2, 200.0 + 20 * np.sin(x) * np.cos(y), 0.0)
    return Image(torch.as_tensor(values, dtype=torch.int16)[None], cube(side))


@pytest.mark.parametrize(("fixed", "moving", "options", "measured_mb"), MEASURED)
def test_the_forecast_is_near_what_was_measured(fixed, moving, options, measured_mb):
    grids = (cube(side, 192 / side) for side in (fixed, moving))
    forecast = forecast_memory(*grids, USUAL.replace(**options))
    assert 0.9 < forecast.most / 2**20 / measured_mb < 1.25
    assert forecast.least <= forecast.most


def test_real_pairs_are_forecast_from_their_grids():
    """Two chests, one oblique to the other, in thick slices; a CT and an MR of an abdomen."""
    oblique = (0.9221, 0.3540, 0.1564, -0.3124, 0.9194, -0.2389, -0.2284, 0.1715, 0.9584)
    straight = tuple(np.eye(3).ravel())
    chest = Grid((115, 157, 129), (1.366, 1.366, 2.5), (0.0,) * 3, straight)
    other = Grid((96, 128, 140), (1.6, 1.6, 2.2), (0.0,) * 3, oblique)
    assert 0.9 < forecast_memory(chest, other, USUAL).most / 2**20 / 2207 < 1.25
    ct = Grid((122, 101, 30), (3.0, 3.0, 6.0), (0.0,) * 3, straight)
    mr = Grid((117, 91, 20), (3.0, 3.0, 9.0), (0.0,) * 3, straight)
    assert 0.75 < forecast_memory(ct, mr, USUAL).least / 2**20 / 636 < 1.25


@pytest.mark.parametrize("side", [320, 512, 1024])
def test_fewer_samples_need_less(side):
    grid = cube(side)
    all_of_them = forecast_memory(grid, grid, USUAL).most
    fewer = [forecast_memory(grid, grid, USUAL.replace(most_samples=n)).most
             for n in (20_000_000, 5_000_000, 200_000)]  # fmt: skip
    assert all_of_them > fewer[0] >= fewer[1] >= fewer[2]


def test_what_cannot_fit_is_refused_with_a_number_of_samples_that_fits(monkeypatch):
    monkeypatch.setenv(MEMORY_LIMIT, "5.5")
    large = cube(512)
    with pytest.raises(OutOfMemory) as refusal:
        require_memory(large, large, USUAL, "cpu")
    assert "512x512x512 and 512x512x512 voxels" in str(refusal.value)
    samples = int(re.search(r"--most-samples (\d+)", refusal.value.remedy)[1])
    options = RegistrationOptions(most_samples=samples)
    forecast, doubts = require_memory(large, large, options, "cpu")
    assert forecast.most < 5.5e9
    assert doubts == []


def test_what_may_fit_is_not_refused_but_doubted(monkeypatch):
    for name in ("resources", "registration.memory.memory_forecast"):  # not what tests hold before
        monkeypatch.setattr(f"neuralreg.{name}.used_memory", lambda: 300_000_000)
    grid = cube(200)
    forecast = forecast_memory(grid, grid, USUAL)
    for share in (1.01, 0.99, 0.85):
        monkeypatch.setenv(MEMORY_LIMIT, repr(share * forecast.least / 1e9))
        _, doubts = require_memory(grid, grid, USUAL, "cpu")
        assert "--most-samples" in doubts[0]
    monkeypatch.setenv(MEMORY_LIMIT, repr(0.75 * forecast.least / 1e9))
    with pytest.raises(OutOfMemory):
        require_memory(grid, grid, USUAL, "cpu")
    require_memory(grid, grid, USUAL, "cuda")  # whose memory this is not about


def test_a_registration_says_what_it_needs_and_keeps_it_in_the_record():
    said = []
    result = register(
        image(40), image(40), model="convex", refinement=TINY, linear="none",
        progress=lambda fraction, message: said.append(message),
    )  # fmt: skip
    assert re.fullmatch(r"needs .*0\.\d GB of memory(, [\d.]+ GB are there)?", said[0])
    memory = result.provenance["memory"]
    assert 0 < memory["least_bytes"] <= memory["most_bytes"] < 1e9


def test_images_are_made_coarser_to_the_number_of_samples_and_the_field_covers_them():
    options = RegistrationOptions(
        model="convex", refinement=TINY, linear="none", most_samples=40_000
    )
    result = register(image(48), image(48), options)
    notes = " ".join(result.warnings)
    assert "the fixed image was taken at 34x34x34 of 48x48x48" in notes
    assert "the moving image" in notes
    assert result.field.grid.count < 80_000
    reach = result.field.grid.indices_at(cube(48).corners())
    assert (reach >= -0.5).all()
    assert (reach <= np.subtract(result.field.grid.size, 0.5)).all()


@pytest.mark.parametrize("value", [-1, 100, 40_000.5, float("inf"), float("nan")])
def test_a_number_of_samples_is_whole_and_not_tiny(value):
    with pytest.raises(InvalidOption, match="samples"):
        RegistrationOptions(most_samples=value)


_IN_A_SHELL = """
import resource, sys
import neuralreg.registration.engine
pages = int(open("/proc/self/statm").read().split()[0])
limit = pages * resource.getpagesize() + 250 * 2**20
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
from neuralreg.cli.main import main
sys.exit(main())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits of the address space are Linux's")
def test_the_command_in_a_shell_with_too_little_memory_refuses_and_writes_nothing(tmp_path):
    values = image(224).data[0].numpy()
    files = [str(tmp_path / name) for name in ("fixed.nii", "moving.nii")]
    for name in files:
        sitk.WriteImage(sitk.GetImageFromArray(values), name)
    command = ["register", *files, "-o", str(tmp_path / "out"), "--model", "convex", "-q", "--json"]
    done = subprocess.run(
        [sys.executable, "-c", _IN_A_SHELL, *command], capture_output=True, text=True, check=False,
        timeout=120,
    )  # fmt: skip
    error = json.loads(done.stdout)["error"]
    assert error["kind"] == "OutOfMemory"
    assert "too little memory for this registration" in error["message"]
    assert "224x224x224" in error["message"]
    assert "Traceback" not in done.stderr
    assert done.returncode != 0
    assert not (tmp_path / "out").exists()
