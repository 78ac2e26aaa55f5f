"""SPM's *_sn.mat: an affine and discrete cosines, against SciPy's transform and the definition."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from neuralreg.errors import UnreadableFile
from neuralreg.io.exchange.families import read_content
from neuralreg.io.itk_transforms import read_itk_transform
from scipy.fft import idctn
from scipy.io import savemat

from Testing.support.command_line import facts_of

SIZE = (20, 24, 18)
RNG = np.random.default_rng(11)
FLIP = np.array([-1.0, -1.0, 1.0])
AFFINE = np.array([[1.1, 0.05, 0, 2], [-0.04, 0.9, 0.1, -3], [0, 0.02, 1.0, 4], [0, 0, 0, 1]])


def space(steps: tuple[float, float, float], angles: tuple[float, float, float]) -> np.ndarray:
    """From voxels counted from 1 to RAS mm; anisotropic, oblique where there are angles."""
    turn = np.reshape(sitk.Euler3DTransform((0, 0, 0), *angles).GetMatrix(), (3, 3))
    matrix = np.eye(4)
    matrix[:3, :3] = turn * steps
    matrix[:3, 3] = (30.0, -50.0, -20.0)
    return matrix


STRAIGHT = space((-2.0, 2.0, 3.0), (0, 0, 0))  # left-handed, as SPM's templates
OBLIQUE = space((2.0, 1.5, 3.5), (0.3, -0.2, 0.5))
OBJECT = space((-1.2, 1.0, 1.4), (-0.1, 0.15, 0.2))


def write(path: Path, template: np.ndarray, coefficients: np.ndarray) -> Path:
    side = {"fname": "template.nii", "dim": np.array([[*SIZE]], float), "mat": template}
    other = {"fname": "t1.nii", "dim": np.array([[40.0, 40, 40]]), "mat": OBJECT}
    values = {
        "Affine": AFFINE,
        "Tr": coefficients,
        "VF": other,
        "VG": side,
        "flags": {"cutoff": 25},
    }
    savemat(path, values)
    return path


def normalize_by_definition(
    template: np.ndarray, coefficients: np.ndarray, index: np.ndarray
) -> tuple:
    """LPS mm of voxels of the template (from 0), and where these go in the image."""
    padded = np.zeros((*SIZE, 3))
    padded[tuple(slice(n) for n in coefficients.shape[:3])] = coefficients
    sums = np.stack([idctn(padded[..., c], norm="ortho") for c in range(3)], -1)
    ones = np.ones((len(index), 1))
    voxels = np.hstack([index + 1.0, ones])
    bent = np.hstack([index + 1.0 + sums[tuple(index.T)], ones])
    start, end = (voxels @ template.T)[:, :3], (bent @ (OBJECT @ AFFINE).T)[:, :3]
    return start * FLIP, end * FLIP


@pytest.mark.parametrize("template", [STRAIGHT, OBLIQUE], ids=["straight", "oblique"])
def test_every_voxel_of_the_template_goes_where_the_cosines_say(tmp_path, template):
    coefficients = RNG.normal(0, 12, (5, 4, 6, 3))
    transform = read_itk_transform(write(tmp_path / "t1_sn.mat", template, coefficients))
    index = np.stack([RNG.integers(0, n, 200) for n in SIZE], -1)
    start, end = normalize_by_definition(template, coefficients, index)
    assert np.linalg.norm(end - start, axis=1).std() > 0.5  # it bends
    moved = np.array([transform.TransformPoint(point) for point in start])
    np.testing.assert_allclose(moved, end, atol=1e-3)


def test_without_coefficients_it_is_the_matrix_alone(tmp_path):
    path = write(tmp_path / "t1_sn.mat", OBLIQUE, np.empty((0, 0)))
    content, family = read_content(path)
    assert (family, content.IsLinear()) == ("spm", True)
    index = np.stack([RNG.integers(0, n, 20) for n in SIZE], -1)
    start, end = normalize_by_definition(OBLIQUE, np.zeros((1, 1, 1, 3)), index)
    moved = np.array([content.TransformPoint(point) for point in start])
    np.testing.assert_allclose(moved, end, atol=1e-3)


def test_it_becomes_a_field_of_itk_by_one_command(tmp_path):
    path = write(tmp_path / "t1_sn.mat", STRAIGHT, RNG.normal(0, 5, (2, 3, 2, 3)))
    facts = facts_of("convert", path, "-o", tmp_path / "t.h5")
    assert facts["read"][0].startswith(f"{path} (SPM")
    assert facts_of("info", path)["program"] == "SPM"


def test_a_damaged_one_is_refused(tmp_path):
    path = write(tmp_path / "t1_sn.mat", STRAIGHT, RNG.normal(0, 5, (2, 3, 2)))
    with pytest.raises(UnreadableFile, match="shape"):
        read_content(path)
