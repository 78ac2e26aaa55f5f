"""A moving image that shows only a part of the body, against one that was brought elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from neuralreg.review.assess import assess, case_of
from neuralreg.review.geometry.deformation import Deformation
from neuralreg.review.report.maps import maps_of

from Testing.support.phantom import CUBE


def similarity_of(case, deformation, moving):
    report = assess(deformation, fixed=case["fixed"], moving=moving)
    return report.line("similarity")


@pytest.mark.parametrize("share", [0.5, 0.6])
def test_what_the_moving_image_does_not_show_is_told_and_is_no_alarm(a_case, share):
    moving = a_case["moving"]
    part = moving[:, :, : int(share * moving.GetDepth())]
    line = similarity_of(a_case, a_case["transform"], part)
    assert line.verdict == "shown"
    assert "which shows no more of it" in line.words


def test_a_body_that_is_brought_beside_the_other_is_an_alarm(a_case):
    beside = np.eye(4)
    beside[2, 3] = 0.45 * CUBE.extent_mm[2]
    line = similarity_of(a_case, Deformation(3, matrix=beside), a_case["moving"])
    assert line.verdict == "attention"


def test_the_fixed_image_is_carried_back_onto_the_moving_one_s_voxels(a_case):
    """As SimpleITK resamples it through the known inverse of a shift."""
    shift = (4.0, -6.0, 2.0)
    matrix = np.eye(4)
    matrix[:3, 3] = shift
    moving = sitk.RegionOfInterest(a_case["moving"], [30, 28, 26], [5, 6, 7])
    case = case_of(Deformation(3, matrix=matrix), fixed=a_case["fixed"], moving=moving)
    values, grid = maps_of(case, ["carried_back"])["carried_back"]
    back = sitk.TranslationTransform(3, [-s for s in shift])
    expected = sitk.Resample(a_case["fixed"], moving, back, sitk.sitkLinear, 0.0)
    assert grid.size == moving.GetSize()
    inner = (slice(4, -4),) * 3
    assert np.allclose(values[inner], sitk.GetArrayFromImage(expected)[inner], atol=1e-3)
