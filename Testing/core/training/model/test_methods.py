"""Transforms that models give: affine, velocity, inverse-consistent, in steps, conditional."""

from __future__ import annotations

import pytest
import torch
from neuralreg.composition.transforms import warp_to
from neuralreg.errors import InvalidOption
from neuralreg.geometry.normalized import identity_map
from neuralreg.measures.regularity import jacobian_of
from neuralreg.training.config.schema import Loss, Model
from neuralreg.training.losses.training_step import TOTAL, TrainingStep, predict_transforms
from neuralreg.training.model.methods import Conditional, build_model, voxels_of
from neuralreg.training.model.pad_to_size import AnySize
from torch import nn

from Testing.support.small_models import model_of, perturb_zeros

SHAPE = (20, 24)
PAIR = torch.rand(2, 1, *SHAPE), torch.rand(2, 1, *SHAPE)
_X, _Y = (identity_map(SHAPE)[0] + 1) / 2
WAVES = torch.sin(9 * _X)[None, None] + 0.5, torch.sin(8 * _Y + 1)[None, None] + 0.5


def moved(model: nn.Module, fixed=PAIR[0], moving=PAIR[1]) -> torch.Tensor:
    with torch.no_grad():
        return voxels_of(model.eval()(fixed, moving)(identity_map(tuple(fixed.shape[2:]))))


@pytest.mark.parametrize("name", ["global", "affine"])
@pytest.mark.parametrize("shape", [SHAPE, (9, 14, 11)])
def test_an_affine_backbone_gives_an_affine_motion_everywhere(name, shape):
    model = perturb_zeros(model_of(name, shape, "affine"))
    fixed, moving = torch.rand(1, 1, *shape), torch.rand(1, 1, *shape)
    field = moved(model, fixed, moving)
    second = [field.diff(n=2, dim=a).abs().max() for a in range(2, field.dim())]
    assert float(max(second)) < 1e-4
    assert float(field.abs().max()) > 0.01
    outside = torch.full((1, len(shape), 1), 3.0)  # beyond the image as well
    along = model(fixed, moving)(torch.cat((outside, outside + 1, outside + 2), 2))
    assert torch.allclose(along.diff(n=2, dim=2), torch.zeros(1), atol=1e-4)


def vivid(method: str, longest: float, **more) -> nn.Module:
    """A network whose smooth answer is up to so many voxels long."""
    model = perturb_zeros(model_of("dirnet", SHAPE, method, **more)).eval()
    (network,) = (part.network for part in model.modules() if isinstance(part, AnySize))
    with torch.no_grad():
        factor = longest / network(*WAVES).abs().max()
        network.control.weight.mul_(factor)
        network.control.bias.mul_(factor)
    return model


def test_a_velocity_does_not_fold_where_its_displacement_would():
    folded = [
        float((jacobian_of(moved(vivid(method, 60.0), *WAVES)) <= 0).float().mean())
        for method in ("displacement", "velocity")
    ]
    assert folded[0] > 0.1
    assert folded[1] == 0


def test_an_inverse_consistent_model_goes_back_where_it_came_from():
    model = vivid("velocity", 30.0, inverse_consistent=True)
    with torch.no_grad():
        here = identity_map(SHAPE)[..., 6:-6, 6:-6]
        there, back = model(*WAVES), model(*WAVES[::-1])
        gap = (back(there(here)) - here).abs().mean()
        way = (there(here) - here).abs().mean()
    assert float(way) > 0.04
    assert float(gap) < 0.05 * float(way)


def steps(*backbones, **more) -> nn.Module:
    config = Model.model_validate({"backbone": list(backbones), **more})
    torch.manual_seed(0)
    return perturb_zeros(build_model(config, SHAPE))


SMALL = {"name": "voxelmorph", "features": [[4, 8], [8, 8, 4]]}


def test_steps_compose_and_the_image_is_read_once():
    """The second of two affine steps acts on what the first has warped."""
    model = steps({"name": "affine", "width": 4, "halvings": 2, "answer": "affine"}, SMALL)
    first, second = model.parts
    fixed, moving = PAIR
    with torch.no_grad():
        there = first.eval()(fixed, moving)
        warped, _ = warp_to(there(identity_map(SHAPE)), moving)
        wanted = there(second.eval()(fixed, warped)(identity_map(SHAPE)))
        found = model.eval()(fixed, moving)(identity_map(SHAPE))
    assert torch.allclose(found, wanted, atol=1e-5)


def test_a_step_may_be_repeated_with_one_set_of_weights():
    once, thrice = steps(SMALL), steps({**SMALL, "times": 3})
    assert len(list(once.parameters())) == len(list(thrice.parameters()))
    assert not torch.allclose(moved(once), moved(thrice))


def test_levels_see_halved_images():
    seen = []

    def note(module, args, output):
        seen.append(tuple(args[0].shape[2:]))

    model = steps(SMALL, SMALL, SMALL, multi_resolution=True)
    for part in model.modules():
        if isinstance(part, AnySize):
            part.register_forward_hook(note)
    moved(model)
    assert seen == [(5, 6), (10, 12), (20, 24)]
    seen.clear()
    model = steps({**SMALL, "downsample": 4}, SMALL)
    for part in model.modules():
        if isinstance(part, AnySize):
            part.register_forward_hook(note)
    moved(model)
    assert seen == [(5, 6), (20, 24)]


def test_a_conditional_model_answers_with_a_label():
    model = model_of("unet", SHAPE, "conditional")
    assert isinstance(model, Conditional)
    label = (torch.rand(2, 1, *SHAPE) > 0.5).float()
    said = model(*PAIR, label)
    assert said.shape == (2, 1, *SHAPE)
    assert 0 <= float(said.min()) <= float(said.max()) <= 1


def test_a_conditional_model_takes_label_losses_only():
    model = model_of("unet", SHAPE, "conditional")
    with pytest.raises(InvalidOption, match="only label losses"):
        TrainingStep(model, Loss.model_validate({"image": "ssd", "label": "dice"}))
    step = TrainingStep(model, Loss.model_validate({"label": "dice"}))
    labels = (torch.rand(2, 1, *SHAPE) > 0.5).float()
    batch = dict(zip(("fixed", "moving"), PAIR, strict=True))
    losses = step(batch | {"fixed_labels": labels, "moving_labels": labels})
    assert set(losses) == {"label/dice", TOTAL}


def test_the_total_is_the_weighted_sum():
    step = TrainingStep(
        steps(SMALL),
        Loss.model_validate(
            {
                "image": [{"name": "ssd", "weight": 2}, {"name": "ncc", "weight": 0.5}],
                "label": {"name": "dice", "weight": 3},
                "deformation": [{"name": "bending", "weight": 0}, "gradient", "icon", "gradicon"],
            }
        ),
    )
    labels = (torch.rand(2, 1, *SHAPE) > 0.5).float()
    batch = dict(zip(("fixed", "moving"), PAIR, strict=True))
    batch |= {"fixed_labels": labels, "moving_labels": labels}
    losses = step(batch)
    weights = {"image/ssd": 2, "image/ncc": 0.5, "label/dice": 3, "deformation/gradient": 1,
               "deformation/icon": 1, "deformation/gradicon": 1}  # fmt: skip
    assert set(losses) == {*weights, TOTAL}
    wanted = sum(w * losses[name] for name, w in weights.items())
    assert float(losses[TOTAL].detach()) == pytest.approx(float(wanted.detach()), rel=1e-5)


def test_a_symmetric_loss_is_the_mean_of_both_directions():
    model = steps(SMALL)
    one = {name: TrainingStep(model, Loss.model_validate({"image": "ssd", "symmetric": name}))
           for name in (False, True)}  # fmt: skip
    there = {"fixed": PAIR[0], "moving": PAIR[1]}
    back = {"fixed": PAIR[1], "moving": PAIR[0]}
    with torch.no_grad():
        ways = [float(one[False](batch)[TOTAL]) for batch in (there, back)]
        both = float(one[True](there)[TOTAL])
    assert both == pytest.approx(sum(ways) / 2, rel=1e-5)


def test_what_the_moving_image_did_not_show_does_not_count():
    class Shift(nn.Module):
        def forward(self, fixed, moving):
            return lambda points: points + torch.tensor([1.0, 0.0]).view(1, 2, *[1] * 2)

    fixed = torch.zeros(1, 1, 8, 9)
    moving = torch.ones(1, 1, 8, 9)
    moving[..., 4:] = 0  # the part that is seen after the shift
    step = TrainingStep(Shift(), Loss.model_validate({"image": "ssd"}))
    assert float(step({"fixed": fixed, "moving": moving})[TOTAL]) == 0
    found = predict_transforms(step.model, fixed, moving)
    assert torch.allclose(found.displacement[:, 0], torch.tensor(4.0))
    assert torch.allclose(found.displacement[:, 1], torch.tensor(0.0), atol=1e-5)


class Still(nn.Module):
    """The model that moves nothing."""

    def forward(self, fixed, moving):
        return lambda points: points


def test_losses_keep_their_digits_where_networks_compute_in_short_numbers():
    """Variances in windows are differences of almost equal numbers."""
    images = [0.9 + 0.01 * torch.rand(1, 1, 24, 24) for _ in range(2)]
    step = TrainingStep(Still(), Loss.model_validate({"image": {"name": "lncc"}}))
    batch = dict(zip(("fixed", "moving"), images, strict=True))
    wanted = float(step(batch)[TOTAL])
    with torch.autocast("cpu", torch.bfloat16):
        assert float(step(batch)[TOTAL]) == wanted


def test_both_orders_are_computed_in_the_numbers_that_were_asked_for():
    kinds = []
    model = model_of("voxelmorph", SHAPE)
    first = next(m for m in model.modules() if isinstance(m, nn.Conv2d))
    first.register_forward_hook(lambda m, a, out: kinds.append(out.dtype))
    loss = Loss.model_validate({"image": "ssd", "deformation": "icon", "symmetric": True})
    with torch.autocast("cpu", torch.bfloat16):
        TrainingStep(model, loss)(dict(zip(("fixed", "moving"), PAIR, strict=True)))
    assert kinds == [torch.bfloat16] * 2


def test_only_what_lies_in_both_masks_counts():
    """Beyond the masks the images differ as much as they like."""
    fixed, moving = torch.rand(1, 1, 8, 9), torch.rand(1, 1, 8, 9)
    masks = torch.zeros(2, 1, 1, 8, 9)
    masks[0, ..., 2:, :] = 1
    masks[1, ..., :6] = 1
    step = TrainingStep(Still(), Loss.model_validate({"image": "ssd"}))
    batch = {"fixed": fixed, "moving": moving, "fixed_mask": masks[0], "moving_mask": masks[1]}
    wanted = (fixed - moving)[..., 2:, :6].square().mean()
    assert float(step(batch)[TOTAL]) == pytest.approx(float(wanted), rel=1e-5)
