"""Masks, soft weights and excluded parts: what counts, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from neuralreg.devices import choose_device
from neuralreg.errors import InvalidImage
from neuralreg.geometry.image import Image
from neuralreg.geometry.linear import LinearTransform
from neuralreg.registration.guides.voxel_weights import combine_weights
from neuralreg.registration.image_checks import Inputs

from Testing.support.command_line import neuralreg
from Testing.support.made_group import bent_body
from Testing.support.phantom import CUBE, seen


def of(values) -> Image:
    return Image(torch.as_tensor(np.ascontiguousarray(values))[None], CUBE)


def test_fractions_of_a_mask_weigh_the_images():
    weights = np.zeros(CUBE.shape, np.float32)
    weights[:, :, 6:] = 0.25
    weights[:, 6:] = 1.0
    inputs = Inputs.prepare(seen(CUBE), seen(CUBE, seed=1), of(weights), None, choose_device("cpu"))
    pair = inputs.working_pair(LinearTransform.identity(3), None)
    np.testing.assert_allclose(pair.valid.numpy(), weights, atol=1e-6)


def test_mask_weight_and_exclusion_are_multiplied():
    mask, weight, lesion = (np.zeros(CUBE.shape, d) for d in (np.uint8, np.float32, np.uint8))
    mask[2:] = 1
    weight[:, 3:] = 0.5
    lesion[:, :, :4] = 1
    found, notes = combine_weights(seen(CUBE), of(mask), of(weight), of(lesion), "fixed image")
    np.testing.assert_allclose(found.data[0].numpy(), mask * weight * (1 - lesion))
    assert notes == []
    assert combine_weights(seen(CUBE), None, None, None, "fixed image") == (None, [])


@pytest.mark.parametrize("bad", [-0.5, 1.5, float("nan")])
def test_a_weight_that_is_none_is_refused(bad):
    weight = np.ones(CUBE.shape, np.float32)
    weight[0, 0, :3] = bad
    with pytest.raises(InvalidImage, match=r"weight of the fixed image.*2 more such voxels"):
        combine_weights(seen(CUBE), None, of(weight), None, "fixed image")


def test_masks_that_exclude_everything_are_refused():
    mask = np.zeros(CUBE.shape, np.uint8)
    mask[:4] = 1
    with pytest.raises(InvalidImage, match="nothing of the moving image is left"):
        combine_weights(seen(CUBE), of(mask), None, of(mask), "moving image")


@pytest.fixture(scope="module")
def lesion_pair(tmp_path_factory):
    """A body and the same one bent, and in the fixed one a lesion that the other lacks."""
    folder = tmp_path_factory.mktemp("lesion")
    fixed, moving = bent_body((0, 0, 0), 24), bent_body((2.0, -2.0, 1.0), 24, seed=1)
    values = sitk.GetArrayFromImage(fixed)
    lesion = np.zeros(values.shape, np.uint8)
    lesion[9:14, 5:10, 14:19] = 1
    values[lesion > 0] = 160.0
    changed, mask = sitk.GetImageFromArray(values), sitk.GetImageFromArray(lesion)
    for image, name in ((changed, "fixed"), (mask, "lesion")):
        image.CopyInformation(fixed)
        sitk.WriteImage(image, str(folder / f"{name}.nii.gz"))
    sitk.WriteImage(moving, str(folder / "moving.nii.gz"))
    return folder, lesion > 0


def test_a_lesion_that_is_excluded_bends_the_image_less_and_is_in_the_record(lesion_pair, tmp_path):
    folder, lesion = lesion_pair
    ask = "register", folder / "fixed.nii.gz", folder / "moving.nii.gz", "--prealign", "none", "-q"
    lengths = {}
    for name, more in (("with", ()), ("without", ("--exclude", folder / "lesion.nii.gz"))):
        done = neuralreg(*ask, "-o", tmp_path / name, *more)
        assert done.exit_code == 0, done.stderr
        field = sitk.ReadImage(str(tmp_path / name / "fixed_to_moving.nii.gz"))
        grid = sitk.ReadImage(str(folder / "fixed.nii.gz"))
        on_fixed = sitk.TransformToDisplacementField(
            sitk.DisplacementFieldTransform(sitk.Cast(field, sitk.sitkVectorFloat64)),
            sitk.sitkVectorFloat64, grid.GetSize(), grid.GetOrigin(), grid.GetSpacing(),
            grid.GetDirection(),
        )  # fmt: skip
        z, y, x = (np.indices(lesion.shape) - 11.5) * 80 / 24
        truth = np.stack([2.0 * np.cos(y / 16), -2.0 * np.sin(z / 15), 1.0 * np.cos(x / 17)], -1)
        error = np.linalg.norm(sitk.GetArrayFromImage(on_fixed) - truth, axis=-1)
        lengths[name] = error[lesion].mean()
    assert lengths["without"] < lengths["with"]
    record = json.loads((tmp_path / "without" / "result.json").read_text())
    assert record["inputs"]["fixed_exclude"]["name"] == "lesion.nii.gz"
