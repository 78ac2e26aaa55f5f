"""A pair with a known deformation, as the review takes it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from neuralreg.review.geometry.deformation import Deformation, place_on_grid

from Testing.support.phantom import CUBE, body
from Testing.support.reviewed import field, itk, places, structures, wavy


@pytest.fixture(scope="session")
def a_case() -> dict[str, object]:
    """A pair on a cube, its true deformation, labels and landmarks: arguments of `assess`."""
    u = wavy(CUBE)
    at = places(CUBE)
    random = np.random.default_rng(0)
    fixed = 100 * body(at + u) + random.normal(0, 0.5, CUBE.shape)
    moving = 100 * body(at) + random.normal(0, 0.5, CUBE.shape)
    return {
        "transform": field(u, CUBE),
        "fixed": itk(fixed.astype(np.float32), CUBE),
        "moving": itk(moving.astype(np.float32), CUBE),
        "fixed_labels": itk(structures(at + u), CUBE),
        "moving_labels": itk(structures(at), CUBE),
        "names": {1: "Large", 2: "Small"},
    }


@pytest.fixture
def files(tmp_path: Path, a_case: dict[str, object]) -> Callable[[str], Path]:
    """The case as files: files("fixed"), files("transform"), ..."""
    deformation = a_case["transform"]
    assert isinstance(deformation, Deformation)
    vectors = place_on_grid(sitk.GetImageFromArray(deformation.vectors, isVector=True), CUBE)
    sitk.WriteImage(vectors, str(tmp_path / "transform.nrrd"))
    for name in ("fixed", "moving", "fixed_labels", "moving_labels"):
        sitk.WriteImage(a_case[name], str(tmp_path / f"{name}.nrrd"))
    return lambda name: tmp_path / f"{name}.nrrd"
