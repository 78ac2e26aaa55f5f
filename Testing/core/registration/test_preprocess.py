"""What a network is shown, and how its answer comes back to the world."""

import json

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from neuralreg.errors import IncompatibleModel, InvalidOption
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.image import Image
from neuralreg.geometry.linear import LinearTransform
from neuralreg.io.itk import image_to_itk
from neuralreg.networks import dirac
from neuralreg.registration.engine import register
from neuralreg.registration.model_choice import (
    ChoiceReason,
    Concern,
    ConcernKind,
    ImageContent,
    ModelChoice,
    choose_model,
    model_concerns,
)
from neuralreg.registration.options import FieldRefinement, LinearAlignment
from neuralreg.registration.preprocess import center_of_mass, network_grid, network_pair
from neuralreg.registration.unfold import least_determinant, unfold_displacement
from neuralreg.zoo.card import Input, ModelCard
from neuralreg.zoo.loaded_network import LoadedNetwork, run_options

from Testing.support.paths import RESOURCES

MODELS = RESOURCES / "Models"
CONVEX = json.loads((MODELS / "convex.json").read_text("utf-8"))
HERE = LinearTransform.identity(3)
OBLIQUE = tuple(np.array(sitk.Euler3DTransform((0, 0, 0), 0.2, -0.15, 0.3).GetMatrix()).tolist())
GRIDS = [
    Grid((40, 44, 36), (2.0, 2.0, 2.0), (-30, 20, 5), OBLIQUE),
    Grid((50, 40, 30), (1.5, 2.5, 3.0), (4, -9, 50), OBLIQUE),
]


def card(output=None, **wanted) -> ModelCard:
    shown = {"dimensions": [3], "space": "whole", "shape": [24, 28, 32], **wanted}
    meaning = output or {"kind": "voxel", "order": "xyz"}
    return ModelCard.model_validate(
        {**CONVEX, "name": "probe", "architecture": "probe", "input": shown, "output": meaning}
    )


def body(grid: Grid, shift_mm=(0.0, 0.0, 0.0)) -> Image:
    """A textured ball around the middle of the grid, moved by a shift in LPS mm."""
    at = np.stack(np.meshgrid(*(np.arange(n) for n in grid.shape), indexing="ij"), -1)[..., ::-1]
    points = grid.points_at(at) - grid.center - np.array(shift_mm)
    radius = 0.3 * grid.extent_mm.min()
    inside = np.linalg.norm(points, axis=-1) < radius
    texture = 60 + 20 * np.cos(points @ [0.2, 0.1, 0.05]) + 15 * np.sin(points @ [0.05, 0.2, -0.1])
    return Image(torch.from_numpy(inside * texture)[None].float(), grid)


class Answers:
    """A network that says what it is told, whatever it sees."""

    def __init__(self, its_card: ModelCard, answer) -> None:
        self.card, self.answer = its_card, answer
        self.saw: list[tuple[torch.Tensor, torch.Tensor, dict]] = []

    def predict(self, fixed, moving, **options):
        self.saw.append((fixed, moving, options))
        return self.answer(fixed.shape[1:])


def voxels_of(shift_mm, grid: Grid) -> np.ndarray:
    return np.linalg.inv(grid.index_to_world[:3, :3]) @ shift_mm


def constant(values, shape) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32).view(3, 1, 1, 1).expand(3, *shape).clone()


def unit_map(shift_xyz, shape) -> torch.Tensor:
    axes = [torch.linspace(0, 1, n) for n in shape]
    at = torch.stack(torch.meshgrid(*axes, indexing="ij")[::-1])  # x y z
    last = torch.tensor([n - 1.0 for n in shape][::-1]).view(3, 1, 1, 1)
    return at + torch.tensor(shift_xyz).float().view(3, 1, 1, 1) / last


def affine(shift_xyz, shape) -> torch.Tensor:
    last = np.array([n - 1 for n in shape][::-1])
    return torch.tensor(np.hstack([np.eye(3), (2 * shift_xyz / last)[:, None]])).float()


def emitted(kind: str, order: str, shift_xyz, shape) -> torch.Tensor:
    """The output of a network that means a shift of so many samples x y z."""
    last = np.array([n - 1 for n in shape][::-1])
    made = {
        "voxel": lambda: constant(shift_xyz, shape),
        "normalized": lambda: constant(2 * shift_xyz / last, shape),
        "unit_map": lambda: unit_map(shift_xyz, shape),
        "affine": lambda: affine(shift_xyz, shape),
    }[kind]()
    if order == "xyz":
        return made
    if kind == "affine":
        return made[[2, 1, 0]][:, [2, 1, 0, 3]]
    return made.flip(0)


@pytest.mark.parametrize("grid", GRIDS, ids=["2 mm", "1.5 to 3 mm"])
@pytest.mark.parametrize("order", ["xyz", "zyx"])
@pytest.mark.parametrize("kind", ["voxel", "normalized", "unit_map", "affine"])
def test_each_kind_of_output_becomes_the_shift_in_mm_that_it_means(kind, order, grid):
    shift = np.array([4.0, -3.0, 2.0])
    asked = card({"kind": kind, "order": order})
    seen = network_grid(asked.input, body(grid))
    network = Answers(asked, lambda shape: emitted(kind, order, voxels_of(shift, seen), shape))
    result = register(body(grid), body(grid, shift), network, linear=LinearAlignment.NONE)
    points = grid.center + np.random.default_rng(0).uniform(-10, 10, (50, 3))
    moved = [result.fixed_to_moving.TransformPoint(p.tolist()) for p in points]
    back = [result.moving_to_fixed.TransformPoint(p) for p in moved]
    assert np.abs(moved - points - shift).max() < 1e-3
    assert np.abs(back - points).max() < 0.1


def test_a_velocity_is_integrated_before_it_is_used():
    grid = GRIDS[0]
    asked = card({"kind": "voxel", "order": "xyz", "velocity": True})
    network = Answers(asked, lambda shape: constant([2.0, 0.0, 0.0], shape))
    result = register(body(grid), body(grid), network, linear=LinearAlignment.NONE)
    shift = network_grid(asked.input, body(grid)).index_to_world[:3, 0] * 2.0
    moved = result.fixed_to_moving.TransformPoint(grid.center.tolist())
    assert np.allclose(moved - grid.center, shift, atol=1e-3)


def test_the_whole_field_of_view_is_squeezed_into_the_samples_asked_for():
    grid = network_grid(card().input, body(GRIDS[1]))
    assert grid.shape == (24, 28, 32)
    assert np.allclose(grid.corners(), GRIDS[1].corners())


@pytest.mark.parametrize("orientation", ["LIA", "IAL", "SPL"])
def test_a_placed_grid_has_the_orientation_and_the_center_asked_for(orientation):
    wanted = Input(
        dimensions=(3,),
        space="placed",
        shape=(30, 40, 50),
        spacing_mm=1.5,
        center=(10, 20, 30),
        orientation=orientation,
    )
    image = body(GRIDS[1])
    grid = network_grid(wanted, image)
    assert grid.shape == (30, 40, 50)
    assert np.allclose(grid.points_at([30, 20, 10]), center_of_mass(image), atol=1e-6)
    code = sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(grid.direction)
    assert code == orientation[::-1]  # ITK's letters are x first and say where an axis leads


def test_a_placed_grid_is_stretched_towards_the_spread_of_the_training_brains_within_limits():
    image = body(GRIDS[1])
    spread_of_a_ball = 0.3 * GRIDS[1].extent_mm.min() / np.sqrt(5)
    wanted = Input(
        dimensions=(3,),
        space="placed",
        shape=(30, 40, 50),
        spacing_mm=2.0,
        center=(10, 20, 30),
        orientation="LIA",
        spread_mm=(spread_of_a_ball / 1.21, spread_of_a_ball, spread_of_a_ball / 9),
    )
    grid = network_grid(wanted, image)
    assert np.allclose(grid.spacing, (2.5, 2.0, 2.2), rtol=0.02)  # x y z
    assert np.allclose(grid.points_at([30, 20, 10]), center_of_mass(image), atol=1e-6)


def test_the_center_of_mass_is_where_the_first_moments_are():
    image = body(GRIDS[0], (5, 3, -4))
    data = image.data[0].double().numpy()
    index = [
        (data * np.arange(n).reshape([-1 if a == axis else 1 for a in range(3)])).sum() / data.sum()
        for axis, n in enumerate(data.shape)
    ]
    expected = image_to_itk(image).TransformContinuousIndexToPhysicalPoint(index[::-1])
    assert np.allclose(center_of_mass(image), expected, atol=1e-4)


def test_a_network_is_shown_what_sitk_resamples_and_zero_beyond():
    fixed, moving = body(GRIDS[0]), body(GRIDS[1])
    asked = card(
        space="placed",
        shape=[60, 60, 60],
        spacing_mm=2.0,
        center=[30, 30, 30],
        orientation="SPL",
        intensity="extremes",
    )
    shown, other, grid = network_pair(asked, fixed, moving, HERE)
    like = sitk.Image(grid.size, sitk.sitkFloat32)
    like.SetSpacing(grid.spacing)
    like.SetOrigin(grid.origin)
    like.SetDirection(grid.direction)
    for got, image in ((shown, fixed), (other, moving)):
        whole = sitk.Resample(image_to_itk(image), like, sitk.Transform(), sitk.sitkLinear, 0.0)
        expected = sitk.GetArrayFromImage(whole) / float(image.data.max())
        inside = expected > 0.05
        assert inside.sum() > 1000
        assert np.abs(got[0].numpy() - expected)[inside].max() < 1e-4
    assert float(shown.min()) == 0


def test_the_brain_rule_puts_the_99th_percentile_of_the_brain_at_six_tenths():
    values = torch.cat([torch.zeros(5000), torch.arange(1.0, 1001.0)]).view(1, 10, 20, 30)
    grid = Grid((30, 20, 10), (1, 1, 1), (0, 0, 0), tuple(np.eye(3).ravel()))
    asked = card(space="fixed", intensity="brain")
    shown, _, _ = network_pair(asked, Image(values, grid), Image(values, grid), HERE)
    assert float(shown.max()) == pytest.approx(min(1000 / 990 * 0.6, 1), abs=1e-4)
    assert float(shown.min()) == 0


def test_ct_and_mr_have_their_own_windows():
    grid = Grid((20, 20, 20), (2, 2, 2), (0, 0, 0), tuple(np.eye(3).ravel()))
    ct = torch.full((1, 20, 20, 20), -1000.0)
    ct[:, 5:15] = 40.0
    ct[0, 7, 7, 7] = 3000.0
    mr = torch.arange(8000.0).view(1, 20, 20, 20)
    asked = card(space="fixed", intensity="modality")
    of_ct, of_mr, _ = network_pair(asked, Image(ct, grid), Image(mr, grid), HERE)
    assert sorted({round(v, 4) for v in of_ct.flatten().tolist()}) == [0.0, 0.52, 1.0]
    bright = np.sort(mr.numpy().ravel())[int(0.99 * 8000) - 1]
    assert float(of_mr[0, 5, 5, 5]) == pytest.approx(float(mr[0, 5, 5, 5]) / bright, abs=1e-5)


def test_what_a_mask_leaves_out_is_shown_as_nothing():
    fixed, moving = body(GRIDS[0]), body(GRIDS[0])
    mask = Image((fixed.data > 0).float(), fixed.grid)
    mask.data[:, :18] = 0
    network = Answers(card(), lambda shape: constant([0, 0, 0], shape))
    register(fixed, moving, network, fixed_mask=mask, linear=LinearAlignment.NONE)
    seen, other, _ = network.saw[0]
    assert float(seen[:, :11].abs().max()) == 0
    assert float(other[:, :11].abs().max()) > 0.3


def test_folds_in_an_answer_are_smoothed_away_and_said():
    torch.manual_seed(0)
    rough = 2.5 * torch.randn(3, 24, 28, 32)
    smooth, share = unfold_displacement(rough)
    assert float(least_determinant(rough).min()) < 0 < float(least_determinant(smooth).min())
    assert 0 < share <= 1
    calm = torch.zeros(3, 24, 28, 32)
    assert torch.equal(unfold_displacement(calm)[0], calm)
    network = Answers(card(), lambda shape: rough)
    result = register(body(GRIDS[0]), body(GRIDS[0]), network, linear=LinearAlignment.NONE)
    assert result.outcome.folding_percent == 0
    assert result.provenance["smoothed against folding"] == pytest.approx(share)


def test_smoothing_a_single_fold_leaves_the_rest_alone():
    field = torch.zeros(3, 30, 30, 30)
    field[0, 15, 15, 15] = 3.0
    smooth, _ = unfold_displacement(field)
    assert float(least_determinant(smooth).min()) > 0
    assert torch.equal(smooth[:, :5], field[:, :5])


def test_an_answer_that_makes_things_worse_is_said_to():
    network = Answers(card(), lambda shape: constant([6.0, 0.0, 0.0], shape))
    result = register(body(GRIDS[0]), body(GRIDS[0]), network, linear=LinearAlignment.NONE)
    assert result.outcome.similarity_final < result.outcome.similarity_linear
    assert any("agree less than after the linear alignment" in w for w in result.warnings)


def test_refinement_comes_on_top_of_a_network_only_when_asked_for():
    fixed, moving = body(GRIDS[0]), body(GRIDS[0], (6.0, 0.0, 0.0))
    network = Answers(card(), lambda shape: constant([1.0, 0, 0], shape))
    seen = network_grid(card().input, fixed)
    half = 0.5 * voxels_of(np.array([6.0, 0, 0]), seen)
    network.answer = lambda shape: constant(half, shape)
    alone = register(fixed, moving, network, linear=LinearAlignment.NONE)
    refined = register(
        fixed,
        moving,
        network,
        linear=LinearAlignment.NONE,
        refinement=FieldRefinement(similarity="lncc"),
    )
    point = fixed.grid.center.tolist()
    left = [r.fixed_to_moving.TransformPoint(point)[0] - point[0] for r in (alone, refined)]
    assert left[0] == pytest.approx(3.0, abs=1e-2)
    assert left[1] == pytest.approx(6.0, abs=1.0)
    assert alone.provenance["refinement"] is None
    assert refined.outcome.inverse_error_max_mm < 0.5


def test_options_reach_the_network_and_wrong_ones_are_refused():
    option = {"title": "s", "meaning": "s", "default": 0.1, "minimum": 0, "maximum": 1}
    asked = ModelCard.model_validate(card().model_dump() | {"options": {"smoothness": option}})
    network = Answers(asked, lambda shape: constant([0, 0, 0], shape))
    pair = body(GRIDS[0]), body(GRIDS[0])
    register(*pair, network, linear=LinearAlignment.NONE)
    register(*pair, network, linear=LinearAlignment.NONE, model_options={"smoothness": 0.7})
    assert [options for *_, options in network.saw] == [{"smoothness": 0.1}, {"smoothness": 0.7}]
    for wrong in ({"rough": 1.0}, {"smoothness": 2.0}):
        with pytest.raises(InvalidOption, match="smoothness"):
            register(*pair, network, model_options=wrong)
        with pytest.raises(InvalidOption):
            run_options(asked, wrong)
    with pytest.raises(InvalidOption, match="Name the model"):
        register(*pair, model_options={"smoothness": 0.7})


def test_a_model_of_several_channels_says_that_it_cannot():
    network = Answers(card(channels=2), lambda shape: constant([0, 0, 0], shape))
    with pytest.raises(IncompatibleModel, match="channels"):
        register(body(GRIDS[0]), body(GRIDS[0]), network, linear=LinearAlignment.NONE)


BRAIN = ImageContent(3, False, 0.65, 1.5, (150.0, 180.0, 140.0), (1.0, 1.0, 1.0), False)


@pytest.mark.parametrize(
    ("change", "kind", "reason"),
    [
        ({"ct": True}, ConcernKind.MODEL_FOR_MR, "looks like a CT"),
        ({"liters": 4.0}, ConcernKind.NO_BRAIN, "brain without skull"),
        ({"background_share": 0.05}, ConcernKind.NO_BRAIN, "brain without skull"),
        ({"extent_mm": (80.0, 180.0, 140.0)}, ConcernKind.NO_BRAIN, "brain without skull"),
        (
            {"liters": 0.0005, "extent_mm": (8.0, 18.0, 11.0)},
            ConcernKind.NO_BRAIN,
            "brain without skull",
        ),
        ({"cut": True}, ConcernKind.PART_OF_A_BRAIN, "only a part"),
        ({"spacing_mm": (1.0, 1.0, 5.0)}, ConcernKind.COARSE_SAMPLES, "5 mm apart"),
        ({"dimension": 2}, ConcernKind.MODEL_DIMENSION, "2D"),
    ],
)
def test_what_a_brain_model_was_not_made_for_is_a_concern(change, kind, reason):
    asked = ModelCard.model_validate_json((MODELS / "lapirn_disp.fea7.json").read_text("utf-8"))
    assert model_concerns(asked, BRAIN, BRAIN) == []
    other = ImageContent(**(BRAIN.__dict__ | change))
    concerns = model_concerns(asked, BRAIN, other)
    assert any(each.kind is kind and each.role == "moving" for each in concerns)
    assert any(reason in text and "moving" in text for text in map(Concern.in_words, concerns))


def test_auto_takes_only_what_was_made_for_the_images():
    cards = [
        ModelCard.model_validate_json(path.read_text("utf-8"))
        for path in MODELS.glob("*.json")
        if path.name != "model.schema.json"
    ]
    choice = choose_model(cards, BRAIN, BRAIN)
    assert choice is not None
    assert choice.reason is ChoiceReason.SUITS
    assert choice.models[-1] == "convex"
    (first,) = (card for card in cards if card.name == choice.models[0])
    assert first.auto_rank == min(c.auto_rank for c in cards if c.auto_rank is not None)
    head = ImageContent(**(BRAIN.__dict__ | {"liters": 4.0}))
    choice = choose_model(cards, BRAIN, head)
    assert choice == ModelChoice(("convex",), ChoiceReason.NONE_SUITS)
    assert choose_model(cards, BRAIN, head, fitting=True) is None


def test_auto_says_what_it_took_and_why():
    result = register(body(GRIDS[0]), body(GRIDS[0]))
    assert result.model == "convex"
    assert result.provenance["choice"].startswith("convex: no network")


def test_what_else_a_network_tells_comes_as_an_image_on_the_fixed_grid():
    class Teller(Answers):
        def maps(self, fixed, moving, output, shape, **options):
            assert output.shape[1:] == fixed.shape[1:]
            told = torch.zeros(shape, dtype=torch.bool)
            told[3, 4, 5] = True
            return {"absent": told}

    grid = GRIDS[1]
    network = Teller(card(), lambda shape: torch.zeros(3, *shape))
    result = register(body(grid), body(grid), network, linear=LinearAlignment.NONE)
    assert result.maps["absent"].grid == grid
    assert torch.nonzero(result.maps["absent"].data[0]).tolist() == [[3, 4, 5]]


def test_dirac_tells_where_tissue_is_absent():
    torch.manual_seed(0)
    module = dirac.DIRAC(width=4).eval()
    told = LoadedNetwork(card(), module, torch.device("cpu"))
    fixed, moving = torch.rand(2, 1, 16, 24, 16).unbind()
    answer = told.predict(fixed, moving, smoothness=0.3)
    maps = told.maps(fixed, moving, answer, (20, 30, 18), smoothness=0.3)
    assert maps["absent"].shape == (20, 30, 18)
    assert maps["absent"].dtype == torch.bool
