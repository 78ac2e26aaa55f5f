"""Newton steps from a template to subjects, against deformations made with SimpleITK."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from neuralreg.geometry.field import DisplacementField
from neuralreg.geometry.image import Image
from neuralreg.geometry.linear import LinearTransform
from neuralreg.groups.template_steps import TemplateTarget, target_for
from neuralreg.io.itk import image_from_itk
from neuralreg.registration.options import FieldRefinement, RegistrationOptions, WeightRefinement
from scipy import ndimage

from Testing.support.command_line import neuralreg
from Testing.support.made_group import bent_body

SIZE = 44


def unit(image) -> Image:
    return image_from_itk(sitk.Cast(image, sitk.sitkFloat32) / 85)


def radial_growth(image, share):
    """Where points of the larger body were: nearer to the middle of the first cavity."""
    z, y, x = np.indices(image.GetSize()[::-1])
    points = np.stack([x, y, z], -1) * image.GetSpacing() + np.array(image.GetOrigin())
    away = points - np.array([9.0, -8.0, 0.0])
    radius = np.linalg.norm(away, axis=-1, keepdims=True)
    field = sitk.GetImageFromArray(-share * away * np.exp(-((radius / 14) ** 4)), isVector=True)
    field.CopyInformation(image)
    return sitk.Cast(field, sitk.sitkVectorFloat64)


@pytest.fixture(scope="module")
def pair():
    """A body, and one whose first cavity is larger and which lies elsewhere, with its way there."""
    body = bent_body((0, 0, 0), SIZE)
    pose = sitk.Euler3DTransform((0, 0, 0), 0.1, -0.05, 0.2, (3, -2, 4))
    growth = sitk.DisplacementFieldTransform(radial_growth(body, 0.1))
    way = sitk.CompositeTransform([growth, pose.GetInverse()])  # the last one first
    moved = sitk.Resample(bent_body((0, 0, 0), 2 * SIZE), body, way, sitk.sitkBSpline)
    linear = LinearTransform.from_parts(
        np.reshape(pose.GetMatrix(), (3, 3)), np.array(pose.GetTranslation())
    )
    return body, moved, way, linear


def error_at_the_cavity(field, way) -> float:
    """Mean distance in mm from the truth on the wall of the first cavity."""
    around = np.random.default_rng(0).normal(0, 1, (60, 3))
    around *= 8 / np.linalg.norm(around, axis=1, keepdims=True)
    points = around + np.array([9.0, -8.0, 0.0])
    back = [way.TransformPoint(p) for p in field(points).tolist()]
    return float(np.linalg.norm(back - points, axis=1).mean())


def test_a_known_deformation_is_found_without_folds(pair):
    body, moved, way, linear = pair
    start = DisplacementField.from_linear(linear, image_from_itk(body).grid)
    target = TemplateTarget([unit(body)], steps=20)
    field, fit = target.follow([unit(moved)], linear, start)
    assert fit > 0.95
    assert error_at_the_cavity(field, way) < 0.35  # 0.71 by the pose alone
    itk = sitk.GetImageFromArray(field.vectors.movedim(0, -1).double().numpy(), isVector=True)
    itk.SetSpacing(field.grid.spacing)
    determinant = sitk.DisplacementFieldJacobianDeterminant(itk)
    assert sitk.GetArrayViewFromImage(determinant).min() > 0


def test_a_channel_shows_what_the_image_does_not(pair):
    """The first image is the outer surface alone; the channel, on a grid of its own, the cavity."""
    body, moved, way, linear = pair
    full = unit(moved)
    start = DisplacementField.from_linear(linear, image_from_itk(body).grid)
    outlines = [unit(sitk.Cast(image > 20, sitk.sitkFloat32) * 85) for image in (body, moved)]
    for outline in outlines:
        outline.data[0] = fill_cavities(outline.data[0])
    alone, _ = TemplateTarget(outlines[:1], steps=20).follow(outlines[1:], linear, start)
    target = TemplateTarget([outlines[0], unit(body)], steps=20)
    both, _ = target.follow([outlines[1], full], linear, start)
    assert error_at_the_cavity(alone, way) > 0.6
    assert error_at_the_cavity(both, way) < 0.4


def fill_cavities(values):
    return torch.from_numpy(ndimage.binary_fill_holes(values.numpy() > 0).astype(np.float32))


def test_a_lesion_that_a_mask_leaves_out_does_not_pull(pair):
    """A bright ball beside the cavity's wall, in the subject alone."""
    body, moved, way, linear = pair
    start = DisplacementField.from_linear(linear, image_from_itk(body).grid)
    z, y, x = np.indices(moved.GetSize()[::-1])
    places = np.stack([x, y, z], -1) * moved.GetSpacing() + np.array(moved.GetOrigin())
    from_middle = np.linalg.norm(places - linear(np.array([[15.0, -8.0, 0.0]]))[0], axis=-1)
    values = sitk.GetArrayFromImage(moved)
    values[from_middle < 5] = 120
    ill = sitk.GetImageFromArray(values)
    ill.CopyInformation(moved)
    mask = Image(torch.from_numpy(from_middle > 7).float()[None], image_from_itk(moved).grid)
    target = TemplateTarget([unit(body)], steps=20)
    errors = [
        error_at_the_cavity(target.follow([unit(ill)], linear, start, weights)[0], way)
        for weights in (None, mask)
    ]
    assert errors[0] > 0.8
    assert errors[1] < 0.6


def test_the_same_image_does_not_move(pair):
    body = unit(pair[0])
    still = DisplacementField.identity(body.grid)
    target = TemplateTarget([body], steps=20)
    field, fit = target.follow([body], LinearTransform.identity(3), still)
    assert fit == pytest.approx(1, abs=1e-5)
    assert float(field.vectors.abs().max()) < 1e-4


@pytest.mark.parametrize(
    ("options", "by_steps"),
    [
        (RegistrationOptions(), True),
        (RegistrationOptions(refinement=FieldRefinement("lncc", steps=3)), True),
        (RegistrationOptions(model="convex"), False),
        (RegistrationOptions(refinement=FieldRefinement("mind")), False),
        (RegistrationOptions(refinement=WeightRefinement()), False),
    ],
)
def test_what_was_asked_for_by_name_is_done_so(pair, options, by_steps):
    assert (target_for([unit(pair[0])], options) is not None) == by_steps


def test_a_subject_of_another_contrast_is_named(tmp_path):
    for n, bend in enumerate([(2.0, -1, 0), (-1.0, 2, 0), (-1.0, -1, 0)]):
        image = bent_body(bend, 40, seed=n)[:, :, 20]
        if n == 2:
            image = 120 - image
        sitk.WriteImage(image, str(tmp_path / f"s{n}.nii.gz"))
    images = [tmp_path / f"s{n}.nii.gz" for n in range(3)]
    done = neuralreg("template", *images, "-o", tmp_path / "out", "--rounds", "1", "-q")
    assert done.exit_code == 0, done.stderr
    words = " ".join(done.stderr.split())
    assert "s2 was registered as two modalities are" in words
    assert "s0 was" not in words
    assert torch.isfinite(torch.from_numpy(sitk.GetArrayFromImage(
        sitk.ReadImage(str(tmp_path / "out" / "template.nii.gz"))))).all()  # fmt: skip
