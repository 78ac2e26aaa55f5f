"""The hash that names a transform."""

import numpy as np
import pytest
import SimpleITK as sitk
from neuralreg.review.geometry.deformation import Deformation


@pytest.mark.filterwarnings("error")
def test_transforms_over_hundreds_of_meters_have_hashes_of_their_own():
    far = [Deformation.of(sitk.TranslationTransform(3, (x, 0.0, 0.0))) for x in (4e5, 4e5 + 1)]
    assert far[0].sha256 != far[1].sha256


@pytest.mark.filterwarnings("error")
def test_fields_over_hundreds_of_meters_have_hashes_of_their_own():
    def field(value: float) -> sitk.Transform:
        image = sitk.GetImageFromArray(np.full((4, 4, 4, 3), value), isVector=True)
        return sitk.DisplacementFieldTransform(image)

    assert Deformation.of(field(4e5)).sha256 != Deformation.of(field(-4e5)).sha256


def test_the_hash_of_an_ordinary_transform_stays_what_it_was():
    shift = sitk.TranslationTransform(3, (1.5, -2.25, 3.0))
    assert (
        Deformation.of(shift).sha256
        == "fb475137964d4213c5b349e38091dafb0a63b68db6a402ecd9282cf472f8f2c8"
    )
