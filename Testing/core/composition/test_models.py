"""Transforms as functions, and models put together from them."""

import json

import matplotlib
import numpy as np
import pytest
import torch
from neuralreg.composition import models, transforms
from neuralreg.errors import CodeNotTrusted, InvalidOption
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.image import Image
from neuralreg.geometry.normalized import compose, to_voxels
from neuralreg.io.files import sha256_of
from neuralreg.registration.engine import register
from neuralreg.registration.options import LinearAlignment
from neuralreg.zoo.registry import load_model
from torch import nn

matplotlib.use("Agg")
SHAPE = (20, 24, 28)
OBLIQUE = (0.8, -0.6, 0, 0.6, 0.8, 0, 0, 0, 1)
GRID = Grid(SHAPE[::-1], (2.0, 1.5, 3.0), (7, -20, 4), OBLIQUE)


def smooth(seed: int, d: int = 3, shape=SHAPE, size: float = 0.06) -> torch.Tensor:
    """A smooth displacement, normalized."""
    torch.manual_seed(seed)
    rough = torch.randn(1, d, *[5] * d)
    mode = "trilinear" if d == 3 else "bilinear"
    return size * nn.functional.interpolate(rough, shape, mode=mode, align_corners=True)


class Fixed(nn.Module):
    """A network that answers the same to everything."""

    def __init__(self, answer: torch.Tensor) -> None:
        super().__init__()
        self.answer = nn.Parameter(answer)

    def forward(self, fixed, moving):
        return self.answer


def points(n: int = 200) -> torch.Tensor:
    return torch.rand(1, 3, n, 1, 1, generator=torch.Generator().manual_seed(1)) * 1.2 - 0.6


def test_points_pass_composed_transforms_in_the_order_given():
    f, g, h = (transforms.from_displacement(smooth(n)) for n in (1, 2, 3))
    x = points()
    assert torch.equal(transforms.compose(f, g, h)(x), h(g(f(x))))
    assert torch.equal(transforms.compose(f)(x), f(x))
    assert torch.equal(transforms.identity(x), x)


def test_a_displacement_is_read_at_its_samples_without_interpolation():
    u = smooth(3)
    here = transforms.identity_map(SHAPE)
    assert torch.equal(transforms.from_displacement(u)(here), here + u)
    beside = here + 1e-7
    assert torch.allclose(transforms.from_displacement(u)(beside), here + u, atol=1e-4)


def test_a_matrix_moves_coordinates_x_first():
    matrix = torch.tensor([[[1.0, 0.1, 0, 0.2], [0, 1, 0, 0], [0, 0, 2.0, 0.5]]])
    x = torch.tensor([0.1, 0.2, 0.3]).view(1, 3, 1)
    moved = transforms.from_matrix(matrix)(x).flatten()
    assert moved.tolist() == pytest.approx([0.32, 0.2, 1.1])


@pytest.mark.parametrize("method", ["squaring", "euler"])
def test_a_velocity_and_its_negative_lead_there_and_back(method):
    steps = 7 if method == "squaring" else 40
    v = smooth(4, shape=(40, 40, 40), size=0.02)
    there, back = (
        transforms.from_velocity(sign * v, steps=steps, method=method) for sign in (1, -1)
    )
    x = points()
    assert (there(x) - x).abs().max() > 0.016
    assert (back(there(x)) - x).abs().max() < 2e-3


def test_both_ways_to_integrate_end_at_the_same_place():
    v = smooth(5, shape=(40, 40, 40), size=0.02)
    euler = transforms.from_velocity(v, steps=200, method="euler")
    assert (transforms.from_velocity(v)(points()) - euler(points())).abs().max() < 2e-3
    with pytest.raises(InvalidOption, match="squaring or euler"):
        transforms.from_velocity(v, method="magic")


def test_a_constant_velocity_is_that_shift():
    v = torch.full((1, 3, *SHAPE), 0.05)
    assert torch.allclose(transforms.from_velocity(v)(points()), points() + 0.05, atol=1e-6)


def test_warping_says_which_samples_were_interpolated():
    image = torch.rand(1, 1, *SHAPE)
    shift = transforms.from_displacement(
        torch.tensor([1.0, 0, 0]).view(1, 3, 1, 1, 1) + 0 * smooth(0)
    )
    warped = transforms.warp(image, shift)
    x = transforms.identity_map(SHAPE)[0, 0]
    assert torch.equal(warped[0, 1], (x + 1 <= 1).float())
    still = transforms.warp(image, transforms.identity)[:, :1]
    assert torch.allclose(still, image, atol=1e-5)


def test_a_field_in_mm_comes_back_as_the_same_function():
    transform = transforms.from_displacement(smooth(6))
    field = transforms.to_field(transform, GRID)
    again = transforms.from_field(field)
    assert (again(points()) - transform(points())).abs().max() < 1e-5


def test_the_itk_transform_moves_points_as_the_function_does():
    transform = transforms.from_displacement(smooth(7))
    itk = transforms.to_itk(transform, GRID)
    x = points(50)

    def world_of(normalized):
        return GRID.points_at(
            (normalized[0, :, :, 0, 0].T.numpy() + 1) / 2 * (np.array(GRID.size) - 1)
        )

    world, expected = world_of(x), world_of(transform(x))
    moved = [itk.TransformPoint(p.tolist()) for p in world]
    assert np.abs(moved - expected).max() < 1e-3


def test_grid_sample_coordinates_and_back():
    x = transforms.identity_map(SHAPE)
    there = transforms.to_grid_sample(x)
    assert there.shape == (1, *SHAPE, 3)
    assert torch.equal(there[0, -1, 0, 3], torch.tensor([x[0, 0, 0, 0, 3], -1, 1]))
    assert torch.equal(transforms.from_grid_sample(there), x)
    assert torch.equal(transforms.to_displacement(transforms.identity, SHAPE), 0 * x)


def test_the_deformed_grid_is_drawn():
    from matplotlib import pyplot

    figure, axes = pyplot.subplots()
    transforms.plot_deformed_grid(
        transforms.from_displacement(smooth(8, 2, (30, 30))), axes, lines=5
    )
    assert len(axes.lines) == 12
    pyplot.close(figure)


def test_the_second_of_two_steps_sees_what_the_first_one_warped():
    seen = []

    class Watching(Fixed):
        def forward(self, fixed, moving):
            seen.append(moving)
            return super().forward(fixed, moving)

    first = models.displacement(Fixed(smooth(9)))
    second = models.displacement(Watching(smooth(10)))
    moving = torch.rand(1, 1, *SHAPE)
    transform = models.two_step(first, second)(moving, moving)
    f, g = (transforms.from_displacement(smooth(n)) for n in (9, 10))
    assert torch.allclose(transform(points()), f(g(points())), atol=1e-6)
    assert torch.allclose(seen[0], transforms.warp(moving, f)[:, :1])


def test_a_repeated_model_has_one_set_of_weights():
    model = models.repeat(models.displacement(Fixed(smooth(11))), 3)
    assert len(list(model.parameters())) == 1
    image = torch.rand(1, 1, *SHAPE)
    f = transforms.from_displacement(smooth(11))
    assert torch.allclose(model(image, image)(points()), f(f(f(points()))), atol=1e-6)


def test_a_model_at_half_resolution_gives_a_function_of_the_same_cube():
    sizes = []

    class Measuring(Fixed):
        def forward(self, fixed, moving):
            sizes.append(tuple(fixed.shape[2:]))
            return super().forward(fixed, moving)

    parts = [models.displacement(Measuring(smooth(n))) for n in (1, 2, 3)]
    image = torch.rand(1, 1, 21, 24, 28)
    models.multi_resolution(*parts)(image, image)
    assert sizes == [(6, 6, 7), (11, 12, 14), (21, 24, 28)]


def test_exchanging_the_images_inverts_a_consistent_model():
    class Difference(nn.Module):
        def forward(self, fixed, moving):
            return smooth(12, size=0.024) * (fixed.mean() - 0.2 * moving.mean())

    model = models.inverse_consistent(Difference())
    one, two = torch.full((1, 1, *SHAPE), 2.0), torch.full((1, 1, *SHAPE), 1.0)
    there, back = model(one, two), model(two, one)
    assert (there(points()) - points()).abs().max() > 0.006
    assert (there(back(points())) - points()).abs().max() < 2e-3


def test_similarities_leave_out_what_nobody_measured():
    image = torch.rand(1, 1, *SHAPE)
    warped = torch.cat((image.clone(), torch.ones_like(image)), 1)
    warped[:, 0, :, :, 14:] = 77.0
    warped[:, 1, :, :, 14:] = 0
    assert float(models.ssd(image, warped)) == 0
    full = torch.cat((image, torch.ones_like(image)), 1)
    assert float(models.lncc(image, full)) == pytest.approx(0, abs=1e-3)


def test_inverse_maps_cost_nothing_and_others_something():
    v = smooth(13, shape=(40, 40, 40))
    there, back = transforms.from_velocity(v), transforms.from_velocity(-v)
    for loss in (models.icon, models.gradicon):
        x = transforms.identity_map((40, 40, 40))
        good, bad = (float(loss(there, t, x)) for t in (back, there))
        assert good < 0.02 * bad


def test_gradicon_is_that_of_differences_between_samples():
    shape = (30, 30, 30)
    f, b = smooth(14, shape=shape), smooth(15, shape=shape)
    maps = map(transforms.from_displacement, (b, f))
    ours = models.gradicon(*maps, transforms.identity_map(shape))
    way = to_voxels(compose(f, b))
    theirs = torch.stack([way.diff(dim=axis).square().mean() for axis in (2, 3, 4)]).sum()
    assert float(ours) == pytest.approx(float(theirs), rel=0.2)


def test_an_affine_motion_has_no_bending_but_a_gradient():
    matrix = torch.tensor([[[1.2, 0.1, 0, 0.0], [0, 1, 0, 0], [0, 0, 1, 0]]])
    t = transforms.from_matrix(matrix)
    x = transforms.identity_map(SHAPE)
    assert float(models.bending(t, t, x)) == pytest.approx(0, abs=1e-4)
    assert float(models.diffusion(t, t, x)) == pytest.approx(2 * (0.04 + 0.01) / 3, rel=1e-3)


class TinyNetwork(nn.Module):
    """Two convolutions and a global answer: enough for shifts."""

    def __init__(self, d: int = 2) -> None:
        super().__init__()
        conv = nn.Conv2d if d == 2 else nn.Conv3d
        self.body = nn.Sequential(
            conv(2, 8, 5, 2, 2), nn.ReLU(), conv(8, 16, 5, 2, 2), nn.ReLU(), conv(16, d, 3, 1, 1)
        )
        nn.init.zeros_(self.body[-1].weight)
        nn.init.zeros_(self.body[-1].bias)

    def forward(self, fixed, moving):
        return 0.4 * self.body(torch.cat((fixed, moving), 1))


def disks(n: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    y, x = torch.meshgrid(torch.linspace(-1, 1, 32), torch.linspace(-1, 1, 32), indexing="ij")
    center = 0.5 * torch.rand(n, 2, 1, 1, generator=generator) - 0.25
    distance = ((x - center[:, :1]) ** 2 + (y - center[:, 1:]) ** 2).sqrt()
    return torch.sigmoid((0.45 - distance) * 20)


@pytest.fixture(scope="module")
def a_trained_model():
    """A page of Python: parts, a loss, some steps of training."""
    torch.manual_seed(0)
    model = models.two_step(
        models.downsample(models.displacement(TinyNetwork())), models.velocity(TinyNetwork())
    )
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for step in range(120):
        fixed, moving = disks(16, 2 * step), disks(16, 2 * step + 1)
        losses = models.assess(model, fixed, moving, regularity=models.gradicon, weight=0.05)
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()
    return model


def test_a_model_of_twenty_lines_learns_to_register(a_trained_model):
    fixed, moving = disks(40, 1000), disks(40, 1001)
    with torch.no_grad():
        warped = transforms.warp(moving, a_trained_model(fixed, moving))
    before, after = (
        float(models.ssd(fixed, torch.cat((v, torch.ones_like(v)), 1)))
        for v in (moving, warped[:, :1])
    )
    assert after < 0.4 * before


def test_a_model_offered_under_a_name_registers_images(a_trained_model):
    models.offer("my_disks", a_trained_model, (32, 32))
    grid = Grid((32, 32), (2, 2), (10, 20), (1, 0, 0, 1))
    fixed, moving = (Image(disks(1, seed)[0] * 100, grid) for seed in (7, 8))
    result = register(fixed, moving, "my_disks", linear=LinearAlignment.NONE)
    assert result.model == "my_disks"
    assert result.outcome.similarity_final > result.outcome.similarity_initial
    assert result.outcome.folding_percent == 0
    with pytest.raises(InvalidOption, match="exists already"):
        models.offer("convex", a_trained_model, (32, 32))


def test_a_model_in_a_file_of_ones_own_is_imported_with_its_card(tmp_path, monkeypatch):
    from neuralreg.zoo.user_models import import_card

    monkeypatch.setenv("NEURALREG_MODELS", str(tmp_path / "own"))
    (tmp_path / "centers.py").write_text(
        "import torch\n"
        "from torch import nn\n"
        "from neuralreg import models, transforms\n\n\n"
        "class Centers(nn.Module):\n"
        "    def forward(self, fixed, moving):\n"
        "        here = transforms.identity_map(tuple(fixed.shape[2:]))\n"
        "        at = [(here * v).sum((2, 3, 4)) / v.sum() for v in (fixed, moving)]\n"
        "        return (at[1] - at[0]).view(1, 3, 1, 1, 1).expand(1, 3, 2, 2, 2)\n\n\n"
        "def build():\n"
        "    return models.ComposedNetwork(models.displacement(Centers()))\n"
    )
    card = models.card_of("centers", (40, 40, 40)).model_dump(mode="json")
    (tmp_path / "centers.json").write_text(json.dumps(card))
    with pytest.raises(CodeNotTrusted, match=r"centers\.py"):
        import_card(tmp_path / "centers.json")
    digest = sha256_of(tmp_path / "centers.py")
    assert import_card(tmp_path / "centers.json", trusted=[digest]).name == "centers"
    assert {p.name for p in (tmp_path / "own").iterdir()} == {
        "centers.json", "centers.py", "trusted-code.txt",
    }  # fmt: skip
    assert load_model("centers").card.title == "centers"
