"""register(), end to end, on images with a known answer."""

import json
from dataclasses import replace

import neuralreg
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from neuralreg.errors import (
    Cancelled,
    IncompatibleModel,
    InvalidImage,
    InvalidOption,
    OutOfMemory,
)
from neuralreg.geometry.field import DisplacementField
from neuralreg.geometry.image import Image
from neuralreg.io.itk import image_to_itk
from neuralreg.registration.engine import refine, register
from neuralreg.registration.instance_optimization import WeightFit
from neuralreg.registration.options import FieldRefinement, LinearAlignment
from neuralreg.registration.pipeline import BothDirections
from neuralreg.zoo.card import ModelCard
from neuralreg.zoo.registry import model_card

from Testing.support.phantom import CUBE, SQUARE, landmarks, seen


def bent(points: np.ndarray) -> np.ndarray:
    """A smooth deformation of up to 7 mm on top of a shift: fixed to moving."""
    swing = np.zeros_like(points)
    swing[..., 0] = 4 * np.sin(points[..., 1] / 15)
    swing[..., 1] = 3 + 3 * np.cos(points[..., 0] / 14)
    return points + swing


def undone(points: np.ndarray) -> np.ndarray:
    """The inverse of `bent`, by fixed point."""
    found = points
    for _ in range(60):
        found = points - (bent(found) - found)
    return found


def error_mm(transform: sitk.Transform, points: np.ndarray, truth: np.ndarray) -> np.ndarray:
    moved = np.array([transform.TransformPoint(p.tolist()) for p in points])
    return np.linalg.norm(moved - truth, axis=1)


@pytest.fixture(scope="module", params=[CUBE, SQUARE], ids=["3D", "2D"])
def a_bent_pair(request):
    """Fixed and moving image of one body, and the result of registering them."""
    grid = request.param
    fixed, moving = seen(grid), seen(grid, undone, seed=1)
    return fixed, moving, register(fixed, moving)


def test_a_deformation_is_found_to_a_fraction_of_a_voxel(a_bent_pair):
    fixed, _, result = a_bent_pair
    points = landmarks(fixed.grid.dimension)
    error = error_mm(result.fixed_to_moving, points, bent(points))
    assert error.mean() < 0.6
    assert error.mean() < 0.25 * np.linalg.norm(bent(points) - points, axis=1).mean()


def test_the_other_direction_leads_back(a_bent_pair):
    fixed, _, result = a_bent_pair
    points = landmarks(fixed.grid.dimension)
    there = np.array([result.fixed_to_moving.TransformPoint(p.tolist()) for p in points])
    assert error_mm(result.moving_to_fixed, there, points).max() < 0.1


def test_resampling_with_the_itk_transform_brings_the_images_together(a_bent_pair):
    fixed, moving, result = a_bent_pair
    fixed_itk, moving_itk = image_to_itk(fixed), image_to_itk(moving)
    warped = sitk.Resample(moving_itk, fixed_itk, result.fixed_to_moving, sitk.sitkLinear)
    before = np.abs(sitk.GetArrayFromImage(moving_itk - fixed_itk)).mean()
    after = np.abs(sitk.GetArrayFromImage(warped - fixed_itk)).mean()
    assert after < 0.35 * before


def test_nothing_folds_and_the_numbers_say_so(a_bent_pair):
    *_, result = a_bent_pair
    outcome = result.outcome
    assert outcome.folding_percent == outcome.folding_percent_body == 0
    assert outcome.similarity_initial < outcome.similarity_linear < outcome.similarity_final
    assert 0 < outcome.displacement_mean_mm < outcome.displacement_max_mm < 10
    assert outcome.inverse_error_mean_mm < 0.1


def test_the_fields_cover_their_images_with_a_margin(a_bent_pair):
    fixed, moving, result = a_bent_pair
    assert result.field.grid.covers(fixed.grid.corners()).all()
    assert result.inverse_field.grid.covers(moving.grid.corners()).all()


def test_the_images_are_left_as_they_were():
    fixed, moving = seen(SQUARE), seen(SQUARE, undone)
    copies = fixed.data.clone(), moving.data.clone()
    register(fixed, moving)
    assert torch.equal(fixed.data, copies[0])
    assert torch.equal(moving.data, copies[1])


@pytest.mark.parametrize("seed", [3, 7, 11])
def test_noise_of_two_unrelated_contrasts_does_not_bend_a_rigid_pair(seed):
    fixed = seen(SQUARE, noise=6)
    moving = seen(SQUARE, contrast=lambda v: 90 * np.exp(-3 * v), noise=6, seed=seed)
    result = register(fixed, moving)
    points = landmarks(2)
    assert error_mm(result.fixed_to_moving, points, points).mean() < 0.7


def test_an_initial_transform_replaces_the_pre_alignment():
    fixed = seen(SQUARE)
    moving = seen(SQUARE, lambda p: p - [30, 0])
    shift = sitk.TranslationTransform(2, (30.0, 0.0))
    result = register(fixed, moving, initial=shift)
    np.testing.assert_allclose(result.linear.matrix[:2, 2], (30, 0), atol=1e-9)
    points = landmarks(2)
    assert error_mm(result.fixed_to_moving, points, points + [30, 0]).mean() < 0.4


def test_a_deformable_initial_transform_is_part_of_the_chain():
    fixed, moving = seen(SQUARE), seen(SQUARE, undone, seed=1)
    found = register(fixed, moving).fixed_to_moving
    again = register(fixed, moving, initial=found)
    points = landmarks(2)
    assert error_mm(again.fixed_to_moving, points, bent(points)).mean() < 0.6
    assert again.outcome.displacement_mean_mm < 0.5


def test_full_resolution_gives_the_field_on_the_fixed_images_samples():
    grid = CUBE.resize((44, 48, 40))
    fixed, moving = seen(grid), seen(grid, lambda p: p + [3, 0, 0])
    result = register(fixed, moving, full_resolution=True, refinement=FieldRefinement(steps=2))
    np.testing.assert_allclose(result.field.grid.spacing, grid.spacing)
    index = grid.indices_at(np.array(result.field.grid.origin))
    np.testing.assert_allclose(index, np.rint(index), atol=1e-6)


def test_masked_out_parts_do_not_count():
    fixed = seen(SQUARE)
    moving = seen(SQUARE, undone, seed=1)
    spoiled = moving.data.clone()
    spoiled[..., :, :22] = 0  # the image ends within the body
    whole = Image(spoiled, SQUARE)
    mask = torch.ones_like(spoiled)
    mask[..., :, :23] = 0
    points = landmarks(2)
    points = points[points[:, 0] > 0]
    masked = register(fixed, whole, moving_mask=Image(mask, SQUARE))
    assert error_mm(masked.fixed_to_moving, points, bent(points)).mean() < 1.0


def test_cancelling_ends_the_job_at_once():
    reached = []

    def stop(fraction: float, message: str) -> None:
        reached.append(fraction)
        if fraction > 0.5:
            raise Cancelled("cancelled")

    with pytest.raises(Cancelled):
        register(seen(SQUARE), seen(SQUARE, undone), progress=stop)
    assert max(reached) < 0.9


def test_progress_never_runs_backwards_and_ends_at_one():
    reached = []
    register(seen(SQUARE), seen(SQUARE, undone), progress=lambda f, _: reached.append(f))
    assert reached == sorted(reached)
    assert reached[-1] == 1.0


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"model": "no_such_model"}, IncompatibleModel),
        ({"preset": "elbow"}, InvalidOption),
        ({"fixed_mask": Image(torch.zeros(1, *SQUARE.shape), SQUARE)}, InvalidImage),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(change, error):
    with pytest.raises(error):
        register(seen(SQUARE), seen(SQUARE), **change)


def test_a_3d_image_on_a_2d_one_is_refused():
    with pytest.raises(InvalidImage, match="same number of axes"):
        register(seen(SQUARE), seen(CUBE))


class ShiftNetwork:
    """A model of somebody's own: it always answers with one voxel along x."""

    card = ModelCard.model_validate(
        {**json.loads(model_card("convex").model_dump_json()), "name": "shift"}
    )

    def predict(self, fixed: torch.Tensor, moving: torch.Tensor) -> torch.Tensor:
        out = torch.zeros(fixed.dim() - 1, *fixed.shape[1:])
        out[0] = 1
        return out


def test_a_network_of_ones_own_goes_the_same_way():
    fixed = seen(SQUARE)
    moving = seen(SQUARE, lambda p: p - [1.5, 0])
    result = register(fixed, moving, ShiftNetwork(), linear=LinearAlignment.NONE)
    assert result.model == "shift"
    points = landmarks(2)
    assert error_mm(result.fixed_to_moving, points, points + [1.5, 0]).mean() < 0.3


def test_refinement_improves_a_field_from_anywhere_and_leaves_it_as_it_was():
    fixed, moving = seen(SQUARE), seen(SQUARE, undone, seed=1)
    field = DisplacementField(torch.full((2, *SQUARE.shape), 1.5), SQUARE)
    better = refine(field, fixed, moving)
    points = landmarks(2)
    left = np.linalg.norm(better(points) - bent(points), axis=1).mean()
    assert left < 0.4 * np.linalg.norm(field(points) - bent(points), axis=1).mean()
    assert bool((field.vectors == 1.5).all())


def test_refinement_of_a_network_starts_from_what_it_predicts():
    fixed, moving = seen(SQUARE), seen(SQUARE, lambda p: p - [1.5, 0])
    better = refine(ShiftNetwork(), fixed, moving)
    points = landmarks(2)
    assert np.linalg.norm(better(points) - points - [1.5, 0], axis=1).mean() < 0.3


def test_the_face_of_the_package_is_this_function():
    assert neuralreg.register is register


@pytest.mark.parametrize(
    "mode",
    [torch.no_grad, torch.inference_mode, lambda: torch.set_grad_enabled(False)],
    ids=["no_grad", "inference_mode", "set_grad_enabled"],
)
def test_the_mode_of_gradients_of_the_caller_does_not_matter(mode):
    def pair():
        return seen(SQUARE), seen(SQUARE, undone, seed=1)

    expected = register(*pair()).field.vectors
    field = DisplacementField.identity(SQUARE)
    refined = refine(field, *pair(), FieldRefinement(steps=2)).vectors
    with mode():
        images = [Image(image.data.clone(), image.grid) for image in pair()]
        assert torch.equal(register(*images).field.vectors, expected)
        inside = DisplacementField(field.vectors.clone(), SQUARE)
        assert torch.equal(refine(inside, *images, FieldRefinement(steps=2)).vectors, refined)
    assert torch.is_grad_enabled()


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 9 bytes"),
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory"),
    ],
    ids=["a CPU", "Python", "a GPU"],
)
def test_a_lack_of_memory_is_reported_as_such_on_every_device(error, monkeypatch):
    def fail(*_):
        raise error

    monkeypatch.setattr("neuralreg.registration.engine.deform", fail)
    with pytest.raises(OutOfMemory, match="crop the images"):
        register(seen(SQUARE), seen(SQUARE, undone))


def test_another_error_of_torch_stays_what_it_is(monkeypatch):
    def fail(*_):
        raise RuntimeError("sizes differ")

    monkeypatch.setattr("neuralreg.registration.engine.deform", fail)
    with pytest.raises(RuntimeError, match="sizes differ"):
        register(seen(SQUARE), seen(SQUARE, undone))


def test_every_candidate_must_have_weights_that_can_be_fitted(monkeypatch):
    """The second of the automatic choice is checked like the first."""
    from neuralreg.registration import engine
    from neuralreg.registration.model_choice import ChoiceReason, ModelChoice
    from neuralreg.registration.options import WeightRefinement

    checked = []
    choice = ModelChoice(("a", "b"), ChoiceReason.SUITS)
    networks = {name: ShiftNetwork() for name in choice.models}
    failed = iter(["it folds", None])
    monkeypatch.setattr(engine, "choose_model", lambda *_, **__: choice)
    monkeypatch.setattr(engine, "model_card", lambda name: networks[name].card)
    monkeypatch.setattr(engine, "load_model", lambda name, **_: networks[name])
    monkeypatch.setattr(engine, "require_fitting", checked.append)
    monkeypatch.setattr(engine.BothDirections, "failed_checks", lambda self: next(failed))
    monkeypatch.setattr(
        "neuralreg.registration.pipeline.optimize_weights",
        lambda network, *_: (network, WeightFit("ssd", "bending", 1.0, ())),
    )
    result = register(seen(SQUARE), seen(SQUARE), linear="none", refinement=WeightRefinement())
    assert {id(network) for network in checked} == {id(each) for each in networks.values()}
    assert any("was tried and left: it folds" in warning for warning in result.warnings)


@pytest.mark.parametrize(("loss", "fails"), [(3e-7, False), (-0.1, False), (0.01, True)])
def test_only_a_real_loss_of_similarity_speaks_against_a_result(loss, fails):
    """A kept linear alignment is not called worse than itself, for the sake of rounding."""
    result = register(seen(SQUARE), seen(SQUARE), linear="none")
    outcome = replace(result.outcome, similarity_linear=1.0, similarity_final=1.0 - loss)
    both = BothDirections(result.field, result.inverse_field, outcome)
    assert (both.failed_checks() is not None) == fails


def test_a_figure_that_is_no_number_speaks_against_a_result():
    result = register(seen(SQUARE), seen(SQUARE), linear="none")
    outcome = replace(result.outcome, similarity_final=float("nan"))
    both = BothDirections(result.field, result.inverse_field, outcome)
    assert both.failed_checks() == "could not be measured: similarity final"


def test_a_saturated_image_fits_the_one_that_it_was_made_from():
    fixed = seen(SQUARE)
    level = float(fixed.data.quantile(0.9))
    clipped = Image(fixed.data.clamp(max=level), fixed.grid)
    result = register(fixed, clipped)
    assert result.outcome.not_measured() == []
    assert float(result.field.vectors.norm(dim=0).max()) < 0.5 * min(fixed.grid.spacing)
