"""Images and transforms in whatever form Python users have them."""

from __future__ import annotations

import sys
from pathlib import Path

import neuralreg
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from neuralreg.errors import InvalidImage, InvalidTransform, RegistrationError
from neuralreg.geometry.field import DisplacementField
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.image import Image
from neuralreg.geometry.linear import LinearTransform
from neuralreg.io.arguments import as_field, as_image, as_itk_transform
from neuralreg.io.itk import image_to_itk, linear_to_itk, to_itk

from Testing.support.phantom import CUBE, SQUARE, seen

SMALL = CUBE.resize((20, 22, 18))


@pytest.fixture
def an_image() -> Image:
    return seen(SMALL)


@pytest.fixture
def forms(an_image, tmp_path):
    """One image as a path, a text, an image of SimpleITK, of nibabel, and of the core."""
    nibabel = pytest.importorskip("nibabel")
    path = tmp_path / "image.nii.gz"
    neuralreg.write_image(an_image, path)
    return path, str(path), image_to_itk(an_image), nibabel.load(path), an_image


def same_grid(one: Grid, other: Grid) -> bool:
    return one.size == other.size and one.is_close(other)


def test_an_image_is_taken_in_each_form(forms, an_image):
    for form in forms:
        image = as_image(form)
        assert same_grid(image.grid, an_image.grid), type(form)
        assert torch.allclose(image.data, an_image.data), type(form)
    assert as_image(an_image) is an_image


def test_nibabel_lies_where_the_reader_puts_its_file(tmp_path, a_grid):
    nibabel = pytest.importorskip("nibabel")
    if a_grid.dimension != 3:
        pytest.skip("NIfTI in the plane has no orientation")
    values = torch.arange(a_grid.count, dtype=torch.int16).view(1, *a_grid.shape)
    neuralreg.write_image(Image(values, a_grid), tmp_path / "a.nii")
    ours, theirs = as_image(tmp_path / "a.nii"), as_image(nibabel.load(tmp_path / "a.nii"))
    assert np.allclose(ours.grid.corners(), theirs.grid.corners(), atol=1e-3)
    assert torch.equal(ours.data, theirs.data)


def test_nibabel_is_not_loaded_for_the_question():
    assert as_image(image_to_itk(seen(SQUARE))).grid.dimension == 2
    code = "import neuralreg.io.arguments, sys; print('nibabel.spatialimages' in sys.modules)"
    import subprocess

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() in ("False", "True")  # only what readers need


@pytest.mark.parametrize("wrong", [np.zeros((8, 8)), torch.zeros(8, 8), 3, None, b"x"])
def test_anything_else_is_refused_with_what_is_taken(wrong):
    with pytest.raises(InvalidImage, match=r"neuralreg\.read_image") as caught:
        as_image(wrong)
    assert "SimpleITK or nibabel" in caught.value.wanted


def test_register_takes_each_form_and_gives_the_same(tmp_path):
    fixed, moving = seen(SQUARE), seen(SQUARE, lambda p: p + [2.0, 1.0], seed=1)
    expected = neuralreg.register(fixed, moving).field.vectors
    for image, name in ((fixed, "fixed"), (moving, "moving")):
        neuralreg.write_image(image, tmp_path / f"{name}.nrrd")
    pairs = (
        (image_to_itk(fixed), image_to_itk(moving)),
        (tmp_path / "fixed.nrrd", str(tmp_path / "moving.nrrd")),
    )
    for pair in pairs:
        assert torch.equal(neuralreg.register(*pair).field.vectors, expected)
    with pytest.raises(RegistrationError, match=r"fixed image.*numpy\.ndarray"):
        neuralreg.register(np.zeros((8, 8)), moving)


def test_masks_and_starts_are_taken_in_each_form(tmp_path):
    fixed, moving = seen(SQUARE), seen(SQUARE, lambda p: p + [2.0, 1.0], seed=1)
    mask = Image((fixed.data > 20).to(torch.uint8), fixed.grid)
    start = LinearTransform(np.array([[1, 0, 2.0], [0, 1, 1.0], [0, 0, 1]]))
    neuralreg.write_image(mask, tmp_path / "mask.nrrd")
    neuralreg.write_transform(start, tmp_path / "start.tfm")
    given = {"fixed_mask": mask, "initial": linear_to_itk(start)}
    expected = neuralreg.register(fixed, moving, **given).field.vectors
    for initial in (start, tmp_path / "start.tfm", str(tmp_path / "start.tfm")):
        given = {"fixed_mask": str(tmp_path / "mask.nrrd"), "initial": initial}
        found = neuralreg.register(fixed, moving, **given).field.vectors
        assert torch.allclose(found, expected, atol=1e-4)
    with pytest.raises(InvalidTransform, match="no transform"):
        neuralreg.register(fixed, moving, initial=np.eye(3))


def test_warp_takes_files_and_images_of_itk(tmp_path, an_image):
    linear = LinearTransform.from_parts(np.eye(3), np.array([3.0, -2.0, 4.0]))
    field = DisplacementField.from_linear(linear, SMALL)
    expected = neuralreg.warp(an_image, field)
    neuralreg.write_image(an_image, tmp_path / "moving.nii.gz")
    neuralreg.write_transform(field, tmp_path / "field.nii.gz")
    neuralreg.write_transform(linear, tmp_path / "linear.tfm")
    transforms = (field, to_itk(field), linear, linear_to_itk(linear))
    for transform in (*transforms, tmp_path / "field.nii.gz", str(tmp_path / "linear.tfm")):
        for image in (tmp_path / "moving.nii.gz", image_to_itk(an_image)):
            warped = neuralreg.warp(image, transform, tmp_path / "moving.nii.gz")
            assert float((warped.data - expected.data).abs().max()) < 1e-2
    labels = Image((an_image.data > 40).to(torch.uint8), SMALL)
    neuralreg.write_image(labels, tmp_path / "labels.nii.gz")
    warped = neuralreg.warp_labels(str(tmp_path / "labels.nii.gz"), linear, an_image)
    assert torch.equal(warped.data, neuralreg.warp_labels(labels, field).data)


@pytest.mark.parametrize("dtype", [torch.float32, torch.int16, torch.uint16, torch.uint8])
def test_what_the_moving_image_does_not_show_is_its_lowest_value(dtype):
    low = 0 if dtype in (torch.uint8, torch.uint16) else -1000
    values = torch.full((1, *SMALL.shape), 40.0)
    values[..., :2] = low
    if dtype == torch.float32:
        values[..., -2:] = torch.nan
    far = LinearTransform.from_parts(np.eye(3), np.array([1e4, 0.0, 0.0]))
    image = Image(values.to(dtype), SMALL)
    assert (neuralreg.warp(image, far, SMALL).data == low).all()
    assert (neuralreg.warp(image, far, SMALL, outside=7).data == 7).all()
    assert (neuralreg.warp(image, far, SMALL, interpolation="nearest").data == 0).all()
    still = neuralreg.warp(image, LinearTransform.identity(3), SMALL).data
    assert still.double().round().unique().tolist() == [low, 40]


def test_a_transform_without_a_grid_asks_for_one(an_image):
    linear = LinearTransform.identity(3)
    for transform in (linear, linear_to_itk(linear)):
        with pytest.raises(InvalidTransform, match="no grid of its own"):
            as_field(transform)
        assert as_field(transform, SMALL).grid.dimension == 3
    with pytest.raises(InvalidTransform, match=r"neuralreg\.read_transform"):
        as_field(np.eye(4), SMALL)
    assert isinstance(as_itk_transform(linear), sitk.Transform)


def test_refine_and_brain_mask_take_files(tmp_path, monkeypatch):
    fixed, moving = seen(SQUARE), seen(SQUARE, lambda p: p + [2.0, 1.0], seed=1)
    neuralreg.write_image(fixed, tmp_path / "fixed.nrrd")
    identity = DisplacementField.identity(SQUARE)
    options = neuralreg.FieldRefinement(steps=2)
    expected = neuralreg.refine(identity, fixed, moving, options).vectors
    found = neuralreg.refine(identity, tmp_path / "fixed.nrrd", image_to_itk(moving), options)
    assert torch.equal(found.vectors, expected)
    with pytest.raises(InvalidImage, match="head"):
        neuralreg.brain_mask(np.zeros((4, 4, 4)))
    assert Path(tmp_path / "fixed.nrrd").is_file()
