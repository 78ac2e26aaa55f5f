"""Each backbone: what its numbers mean, sizes that do not divide, batches, gradients."""

from __future__ import annotations

import pytest
import torch
from neuralreg.errors import InvalidOption
from neuralreg.geometry.normalized import identity_map, to_voxels
from neuralreg.networks.network import Output, RegistrationModule
from neuralreg.training.config.part_registry import BACKBONES
from neuralreg.training.model.methods import voxels_of
from neuralreg.training.model.pad_to_size import AnySize
from torch import nn

from Testing.support.small_models import SMALL, model_of, perturb_zeros

SHAPES = {2: (21, 30), 3: (13, 18, 15)}  # nothing divides
VOLUMES_ONLY = ("transmorph", "dirac")
CASES = [(name, d) for name in SMALL for d in (2, 3) if d == 3 or name not in VOLUMES_ONLY]


def test_all_registered_backbones_are_tried_here():
    # Of the documentation; of test_fine_tuning.py; as large as volumes of 65 samples.
    elsewhere = {"mine", "published", "gradicon"}
    assert set(BACKBONES.names()) - elsewhere == set(SMALL)


@pytest.mark.parametrize(("name", "dimension"), CASES)
def test_any_size_comes_back_and_every_parameter_learns(name, dimension):
    shape = SHAPES[dimension]
    model = perturb_zeros(model_of(name, shape))
    fixed, moving = torch.rand(2, 1, *shape), torch.rand(2, 1, *shape)
    places = model(fixed, moving)(identity_map(shape))
    assert places.shape == (2, dimension, *shape)
    (places * torch.rand_like(places)).sum().backward()
    unused = {"lku_net": ("dc10",)}.get(name, ())  # in the authors' files, and used by nothing
    without = [
        n for n, p in model.named_parameters() if p.grad is None and not any(u in n for u in unused)
    ]
    assert without == []


@pytest.mark.parametrize(("name", "dimension"), CASES)
def test_a_batch_is_its_pairs(name, dimension):
    shape = SHAPES[dimension]
    model = perturb_zeros(model_of(name, shape)).eval()
    fixed, moving = torch.rand(2, 1, *shape), torch.rand(2, 1, *shape)
    with torch.no_grad():
        both = model(fixed, moving)(identity_map(shape))
        pairs = zip(fixed, moving, strict=True)
        each = [model(f[None], m[None])(identity_map(shape)) for f, m in pairs]
    assert torch.allclose(both, torch.cat(each), atol=1e-4)


@pytest.mark.parametrize("name", ["unet", "local", "voxelmorph", "dirnet", "mlp", "icon_unet",
                                  "global", "affine"])  # fmt: skip
def test_training_starts_from_the_identity(name):
    shape = SHAPES[2]
    fixed, moving = torch.rand(1, 1, *shape), torch.rand(1, 1, *shape)
    places = model_of(name, shape).eval()(fixed, moving)(identity_map(shape))
    assert float(voxels_of(places).abs().max()) < 0.01


class Constant(RegistrationModule):
    """Gives the same vector everywhere."""

    divisor = 4

    def __init__(self, output: Output, *vector: float) -> None:
        super().__init__()
        self.output = output
        self.vector = nn.Parameter(torch.tensor(vector))

    def forward(self, fixed, moving):
        d = len(self.vector)
        vector = self.vector.view(1, d, *[1] * d)
        return vector.expand(len(fixed), d, *fixed.shape[2:])


@pytest.mark.parametrize(
    ("unit", "order", "vector"),
    [
        # 2 voxels along x, 1 along y, of an image 9 x 5 that is padded to 12 x 8
        ("voxel", "xyz", (2.0, 1.0)),
        ("voxel", "zyx", (1.0, 2.0)),
        ("normalized", "xyz", (2 * 2 / 11, 2 * 1 / 7)),
        ("normalized", "zyx", (2 * 1 / 7, 2 * 2 / 11)),
        ("unit", "xyz", (2 / 11, 1 / 7)),
    ],
)
def test_each_unit_and_order_means_the_same_displacement(unit, order, vector):
    network = Constant(Output("displacement", unit, order), *vector)
    image = torch.rand(1, 1, 5, 9)
    found = to_voxels(AnySize(network)(image, image))
    wanted = torch.tensor([2.0, 1.0]).view(1, 2, 1, 1).expand(found.shape)
    assert torch.allclose(found, wanted, atol=1e-6)


def test_a_network_of_another_resolution_is_refused():
    class Half(nn.Module):
        def forward(self, fixed, moving):
            return torch.zeros(1, 2, 4, 4)

    with pytest.raises(InvalidOption, match="at the resolution of its images"):
        AnySize(Half())(torch.rand(1, 1, 8, 8), torch.rand(1, 1, 8, 8))


def test_options_that_cannot_be_are_explained():
    options = {"name": "local", "depth": 4, "extract_levels": [0, 5]}
    with pytest.raises(InvalidOption, match=r"got \[0, 5\], wanted some of 0\.\.4"):
        model_of("local", SHAPES[2], backbone=options)
    with pytest.raises(InvalidOption, match="network for volumes"):
        model_of("transmorph", SHAPES[2])


@pytest.mark.parametrize("name", ["local", "unet"])
def test_coarse_answers_grow_smoothly_where_monais_default_is_blocky(name):
    """Neighbors that share a coarse cell get equal displacements from nearest doubling."""
    shape = (32, 32)
    pair = torch.rand(1, 1, *shape), torch.rand(1, 1, *shape)

    def equal_neighbors(mode: str) -> float:
        options = {"num_channel_initial": 4, "depth": 3, "extract_levels": [3], "mode": mode}
        model = perturb_zeros(model_of("none", shape, backbone={"name": name, **options})).eval()
        with torch.no_grad():
            moved = voxels_of(model(*pair)(identity_map(shape)))
        return float((moved.diff(dim=3).abs() < 1e-6).float().mean())

    assert equal_neighbors("nearest") > 0.8
    assert equal_neighbors("linear") < 0.3  # half a cell at both ends has nothing beyond it


def test_the_unet_answers_at_full_resolution():
    """MONAI's own default answers from the deepest level and leaves the decoder out."""
    parameters = {
        levels: sum(p.numel() for p in model_of(
            "none", SHAPES[2], backbone={"name": "unet", "extract_levels": levels}
        ).parameters())
        for levels in ((0,), (3,))
    }  # fmt: skip
    assert parameters[(0,)] > 1.2 * parameters[(3,)]
