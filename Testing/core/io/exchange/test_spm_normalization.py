"""SPM's *_sn.mat: an affine and discrete cosines, against SciPy's transform and the definition."""

from __future__ import annotations

import numpy as np
import pytest
from neuralreg.errors import UnreadableFile
from neuralreg.io.exchange.families import read_content
from neuralreg.io.itk_transforms import read_itk_transform

from Testing.support.command_line import facts_of
from Testing.support.spm_files import (
    OBLIQUE,
    SIZE,
    STRAIGHT,
    normalize_by_definition,
    write,
)

RNG = np.random.default_rng(11)


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
