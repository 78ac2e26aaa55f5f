"""The job "register" against `neuralreg.register` and SimpleITK, without a process around it."""

from __future__ import annotations

import dataclasses
import json

import neuralreg
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from neuralreg.errors import InvalidOption
from neuralreg.geometry.field import DisplacementField
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.image import Image
from neuralreg.geometry.linear import LinearTransform
from neuralreg.geometry.slicer_interpolation import (
    interpolation_difference,
    resample_for_linear_readers,
)
from neuralreg.io.itk import image_to_itk, to_itk
from neuralreg.registration.guides.landmark_guide import LandmarkGuide
from neuralreg.registration.options import (
    FieldRefinement,
    LinearAlignment,
    RegistrationOptions,
    WeightRefinement,
)
from neuralreg.worker.jobs import register_job
from neuralreg.worker.messages import RegisterJob, Voxels
from neuralreg.worker.register_job import run
from neuralreg.worker.serialization import at_once, pack, unpack
from neuralreg.worker.shared_images import field_of, image_of, record_of

from Testing.support.known_results import known_result
from Testing.support.phantom import CUBE, seen

SMALL = CUBE.resize((20, 22, 18))


def voxels(image: Image, **more) -> Voxels:
    return Voxels(image.data[0].numpy(), image.grid, **more)


@pytest.fixture
def a_pair():
    return seen(SMALL), seen(SMALL, lambda p: p + [4.0, -3.0, 2.0], seed=1)


@pytest.fixture
def a_known_engine(smooth_field):
    """An engine that answers a known field, and remembers what it was asked."""

    def engine(fixed, moving, options, **asked):
        engine.asked = {"fixed": fixed, "moving": moving, "options": options, **asked}
        field = smooth_field(fixed.grid.pad(3), 5.0)
        back = DisplacementField(-field.vectors, field.grid)
        return known_result(
            field,
            back,
            model=options.model,
            warnings=("as it was told",),
            timings={"all": 1.0},
            provenance={"version": "1"},
        )

    return engine


def itk_warped(moving: sitk.Image, field, grid: Grid, how, outside: float) -> np.ndarray:
    reference = image_to_itk(Image(torch.zeros(1, *grid.shape), grid))
    return sitk.GetArrayFromImage(sitk.Resample(moving, reference, to_itk(field), how, outside))


def test_a_job_gives_what_the_engine_gives(a_pair):
    fixed, moving = a_pair
    expected = neuralreg.register(fixed, moving, preset="brain MR")
    job = RegisterJob(voxels(fixed), voxels(moving), options=RegistrationOptions(preset="brain MR"))
    found, result = run(job)
    assert found.outcome == expected.outcome
    assert torch.equal(field_of(found.field).vectors, expected.field.vectors)
    assert torch.equal(field_of(found.inverse_field).vectors, expected.inverse_field.vectors)
    assert np.array_equal(found.linear, expected.linear.matrix)
    assert found.provenance == dict(result.provenance)


def test_the_warped_image_is_what_itk_resamples(a_pair, a_known_engine):
    fixed, moving = a_pair
    found, result = run(RegisterJob(voxels(fixed), voxels(moving)), engine=a_known_engine)
    lowest = float(moving.data.min())
    expected = itk_warped(image_to_itk(moving), result.field, fixed.grid, sitk.sitkLinear, lowest)
    assert np.abs(found.warped - expected).max() < 1e-3


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.uint32, np.float64])
def test_what_comes_along_keeps_its_type_and_labels_stay_labels(a_pair, a_known_engine, dtype):
    fixed, moving = a_pair
    labels = (moving.data[0].numpy() > 40).astype(dtype) * 7
    along = Voxels(labels, moving.grid, labels=True)
    job = RegisterJob(voxels(fixed), voxels(moving), along=(along, along), warped=False)
    found, result = run(job, engine=a_known_engine)
    assert found.warped is None
    assert found.along[0].dtype == dtype
    expected = itk_warped(
        sitk.Cast(image_to_itk(Image(torch.from_numpy(labels.astype(float))[None], moving.grid)),
                  sitk.sitkFloat64),
        result.field, fixed.grid, sitk.sitkNearestNeighbor, 0.0,
    )  # fmt: skip
    assert (found.along[1] != expected).mean() < 1e-3
    assert set(np.unique(found.along[0])) == {0, 7}


def test_a_color_image_comes_along_with_its_channels(a_pair, a_known_engine):
    fixed, moving = a_pair
    colors = np.stack([moving.data[0].numpy() * k for k in (1, 2, 3)], -1)
    job = RegisterJob(voxels(fixed), voxels(moving), along=(Voxels(colors, moving.grid),))
    found, _ = run(job, engine=a_known_engine)
    assert found.along[0].shape == (*fixed.grid.shape, 3)
    inside = found.warped > found.warped.min()
    assert np.allclose(found.along[0][inside][:, 2], 3 * found.warped[inside], atol=1e-3)


def test_a_sheared_image_lies_where_itk_puts_it(a_known_engine):
    """A shear is exact, however coarsely it is sampled; ITK resamples through the same matrix."""
    image = seen(SMALL)
    shear = np.eye(4)
    shear[0, 1] = 0.3
    knots = SMALL.pad(4).resize((4, 4, 4))
    index = np.stack(np.meshgrid(*map(np.arange, knots.shape), indexing="ij")[::-1], -1)
    points = knots.points_at(index)
    there = points @ shear[:3, :3].T - points
    bent = voxels(image, bend=record_of(
        DisplacementField(torch.from_numpy(np.moveaxis(there, -1, 0).copy()), knots)
    ), straight=SMALL)  # fmt: skip
    affine = sitk.AffineTransform(3)
    affine.SetMatrix(shear[:3, :3].ravel())
    lowest = float(image.data.min())
    reference = image_to_itk(image)
    expected = sitk.GetArrayFromImage(
        sitk.Resample(reference, reference, affine, sitk.sitkLinear, lowest)
    )
    found = image_of(bent).data[0].numpy()
    inside = expected > lowest
    assert np.abs(found - expected)[inside].max() < 1e-2
    done, result = run(RegisterJob(voxels(image), bent), engine=a_known_engine)
    assert "moving image was resampled" in done.warnings[0]
    both = sitk.CompositeTransform([affine, to_itk(result.field)])  # the field is applied first
    expected = sitk.GetArrayFromImage(
        sitk.Resample(reference, reference, both, sitk.sitkLinear, lowest)
    )
    close = np.abs(done.warped - expected) < 0.5
    assert close.mean() > 0.97  # ITK loses what lies in the outer half voxel of the moving image


def test_masks_reach_the_engine_where_they_lie(a_pair, a_known_engine):
    fixed, moving = a_pair
    inside = Voxels((fixed.data[0].numpy() > 40).astype(np.uint8), SMALL, labels=True)
    other = Voxels((fixed.data[0].numpy() < 5).astype(np.int16) * 4, SMALL, labels=True)
    job = RegisterJob(voxels(fixed), voxels(moving), fixed_mask=(inside, other))
    run(job, engine=a_known_engine)
    assert a_known_engine.asked["moving_mask"] is None
    found = a_known_engine.asked["fixed_mask"].data[0].numpy() > 0
    assert np.array_equal(found, (inside.data > 0) | (other.data > 0))


def test_only_the_chosen_labels_of_a_mask_count(a_pair, a_known_engine):
    fixed, moving = a_pair
    labels = np.arange(fixed.grid.count).reshape(fixed.grid.shape) % 5
    mask = Voxels(labels.astype(np.uint8), SMALL, labels=True, only=(2, 4))
    run(RegisterJob(voxels(fixed), voxels(moving), moving_mask=(mask,)), engine=a_known_engine)
    found = a_known_engine.asked["moving_mask"].data[0].numpy()
    assert np.array_equal(found, (labels == 2) | (labels == 4))


CHANGED = RegistrationOptions(
    model="other",
    model_options={"smoothness": 0.3},
    linear=LinearAlignment.RIGID,
    start="search",
    preset="lung CT",
    refinement=FieldRefinement(similarity="lncc", steps=5, regularity=2.0, rate=0.7),
    extract_brain=True,
    device="cpu",
    precision="bfloat16",
    full_resolution=True,
    most_samples=50_000,
    landmarks=LandmarkGuide(((1, 2, 3),), ((4, 5, 6),), ("A",), weight=0.5, tolerance_mm=3.0),
    label_weight=0.7,
    label_source="auto",
    channel_weights=(0.5,),
    colors="rgb",
    rigid_labels=(1,),
    surface_weight=0.4,
)


def test_every_option_reaches_the_engine(a_pair, a_known_engine):
    for option in dataclasses.fields(RegistrationOptions):  # a new one is not forgotten here
        assert getattr(CHANGED, option.name) != getattr(RegistrationOptions(), option.name)
    job = RegisterJob(*map(voxels, a_pair), options=CHANGED)
    run(job, engine=a_known_engine)
    assert a_known_engine.asked["options"] == CHANGED


@pytest.mark.parametrize("refinement", [None, FieldRefinement(steps=3), WeightRefinement(steps=4)])
def test_options_come_through_the_line_to_the_worker_as_they_were(tmp_path, refinement):
    options = CHANGED.replace(refinement=refinement)
    line = json.loads(json.dumps(at_once(pack({"options": options}, tmp_path))))
    assert unpack(line)["options"] == options


def test_options_may_be_names_and_numbers_as_json_has_them(a_pair):
    given = {"prealign": "rigid", "refinement": {"steps": 5}, "options": {"smoothness": 0.2}}
    fixed, moving = map(voxels, a_pair)
    arguments = {"fixed": fixed, "moving": moving, "model": "other", "options": given}
    options = register_job(arguments).options
    assert options.linear is LinearAlignment.RIGID
    assert options.refinement == FieldRefinement(steps=5)
    assert (options.model, options.model_options) == ("other", {"smoothness": 0.2})


def test_a_start_is_taken_as_matrix_field_or_file(a_pair, a_known_engine, tmp_path):
    fixed, moving = a_pair
    shift = sitk.TranslationTransform(3, (4.0, -3.0, 2.0))
    sitk.WriteTransform(shift, str(tmp_path / "start.tfm"))
    matrix = ((1.0, 0, 0, 4.0), (0, 1.0, 0, -3.0), (0, 0, 1.0, 2.0), (0, 0, 0, 1.0))
    linear = LinearTransform(np.array(matrix))
    field = record_of(DisplacementField.from_linear(linear, SMALL))
    for initial in (matrix, field, str(tmp_path / "start.tfm")):
        run(RegisterJob(voxels(fixed), voxels(moving), initial=initial), engine=a_known_engine)
        taken = a_known_engine.asked["initial"]
        assert np.allclose(taken.TransformPoint((1.0, 2.0, 3.0)), (5.0, -1.0, 5.0), atol=1e-5)


@pytest.mark.parametrize(
    "options", [{"nonsense": 1}, {"prealign": "sideways"}, {"refinement": {"stepz": 1}}]
)
def test_an_unknown_option_is_refused_before_anything_is_computed(a_pair, options):
    fixed, moving = map(voxels, a_pair)
    with pytest.raises(InvalidOption):
        register_job({"fixed": fixed, "moving": moving, "options": options})


@pytest.mark.parametrize("cubic", [False, True])
def test_the_warped_image_is_made_with_the_field_that_is_handed_over(a_pair, cubic):
    """As its reader sees it: linear between the samples, or cubic, which differs by 0.4 mm."""
    fixed, moving = a_pair
    noise = torch.randn(3, *SMALL.shape, generator=torch.Generator().manual_seed(0))
    field = DisplacementField(noise, SMALL).resample(SMALL.with_spacing([6.0] * 3).pad(3))

    def engine(fixed, moving, options, **asked):
        return known_result(field, field)

    job = RegisterJob(voxels(fixed), voxels(moving), cubic=cubic)
    registration, result = run(job, engine=engine)
    assert result.field is field
    assert registration.field.grid.count < field.grid.count or not cubic
    assert set(registration.field.vectors.ravel()) <= set(field.vectors.numpy().ravel())
    assert interpolation_difference(field, SMALL) > 0.2
    read = resample_for_linear_readers(field, SMALL, 0.02) if cubic else field
    lowest = float(moving.data.min())
    expected = itk_warped(image_to_itk(moving), read, SMALL, sitk.sitkLinear, lowest)
    other = itk_warped(image_to_itk(moving), field, SMALL, sitk.sitkLinear, lowest)
    assert np.abs(registration.warped - expected).max() < (0.2 if cubic else 1e-3)
    assert bool(np.abs(registration.warped - other).max() > 0.05) is cubic


def test_image_files_serve_as_well(a_pair, a_known_engine, tmp_path):
    fixed, moving = a_pair
    neuralreg.write_image(fixed, tmp_path / "f.nii.gz")
    neuralreg.write_image(moving, tmp_path / "m.nrrd")
    job = RegisterJob(str(tmp_path / "f.nii.gz"), str(tmp_path / "m.nrrd"), along=(
        str(tmp_path / "m.nrrd"),
    ))  # fmt: skip
    found, _ = run(job, engine=a_known_engine)
    assert torch.equal(a_known_engine.asked["moving"].data, moving.data)
    assert np.array_equal(found.along[0], found.warped)


def test_two_dimensions_work_too(a_known_engine):
    from Testing.support.phantom import SQUARE

    fixed, moving = seen(SQUARE), seen(SQUARE, lambda p: p + [3.0, 2.0])
    found, _ = run(RegisterJob(voxels(fixed), voxels(moving), cubic=True))
    assert found.warped.shape == SQUARE.shape
    assert found.field.vectors.shape[-1] == 2
    assert (
        np.abs(found.warped - fixed.data[0].numpy()).mean()
        < 0.5 * np.abs((moving.data - fixed.data).numpy()).mean()
    )


def test_nothing_that_was_handed_over_changes(a_pair, a_known_engine):
    fixed, moving = map(voxels, a_pair)
    before = fixed.data.copy(), moving.data.copy()
    run(RegisterJob(fixed, moving, along=(moving,)), engine=a_known_engine)
    assert np.array_equal(fixed.data, before[0])
    assert np.array_equal(moving.data, before[1])
    assert dataclasses.is_dataclass(fixed)
