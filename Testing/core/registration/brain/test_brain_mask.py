"""From a head to a brain mask, and through a network for brains to the head's own transform."""

import hashlib

import numpy as np
import pytest
import torch
from neuralreg.errors import WeightsUnavailable
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.image import Image
from neuralreg.io.image_files import write_image
from neuralreg.measures.overlap import dice
from neuralreg.progress import silent
from neuralreg.registration.brain import brain_mask
from neuralreg.registration.engine import register
from neuralreg.zoo.card import Input, ModelCard, Output, Weights

from Testing.support.file_server import serving

GRID = Grid((33, 39, 33), (6.0, 6.0, 6.0), (-96.0, -114.0, -96.0), tuple(np.eye(3).ravel()))
TURNED = Grid((33, 38, 39), (6.0, 6.0, 6.0), (-90.0, 111.0, -100.0), (1, 0, 0, 0, 0, -1, 0, 1, 0))


def head(grid: Grid, shift_mm=(0.0, 0.0, 0.0), bigger: float = 1.0) -> tuple[Image, Image]:
    """A head, with a bright scalp, a dark skull and a textured brain, and the brain's mask."""
    at = np.stack(np.meshgrid(*(np.arange(n) for n in grid.shape), indexing="ij"), -1)[..., ::-1]
    x, y, z = np.moveaxis((grid.points_at(at) - np.array(shift_mm)) / bigger, -1, 0)
    radius = np.sqrt((x / 65) ** 2 + (y / 85) ** 2 + (z / 62) ** 2 + 0.1 * np.sin(x / 30) * z / 62)
    brain = radius < 1
    texture = 70 + 15 * np.cos(x / 9) * np.cos(y / 11) + 12 * np.sin(z / 8 + y / 20)
    ventricle = (x / 12) ** 2 + ((y - 8) / 30) ** 2 + ((z - 5) / 10) ** 2 < 1
    texture = np.where(ventricle, 25, texture)
    outside = np.where(radius < 1.12, 8, np.where(radius < 1.22, 100, 0))
    made = np.where(brain, texture, outside)
    pair = (torch.from_numpy(np.ascontiguousarray(v)).float()[None] for v in (made, brain))
    image, mask = (Image(values, grid) for values in pair)
    return image, Image(mask.data.to(torch.uint8), grid)


@pytest.fixture(scope="module")
def template() -> tuple[Image, Image]:
    return head(GRID)


def test_the_mask_of_a_head_is_found_and_told_in_liters(template):
    image, truth = head(TURNED, (12.0, -7.0, 5.0), 1.06)
    found = brain_mask.brain_mask(image, template=template)
    assert found.mask.grid == image.grid
    assert dice(truth, found.mask)[1] > 0.95
    liters = float(truth.data.sum()) * np.prod(TURNED.spacing) / 1e6
    assert found.liters == pytest.approx(liters, rel=0.06)
    assert not any("brain" in warning for warning in found.warnings)


def test_a_mask_that_is_no_brain_is_told(template):
    tiny = Grid(GRID.size, tuple(0.4 * s for s in GRID.spacing), (-39, -46, -39), GRID.direction)
    small, _ = head(tiny, bigger=0.4)
    found = brain_mask.brain_mask(small, template=template)
    assert any("not shaped like a human brain" in warning for warning in found.warnings)


def test_the_template_is_fetched_once_and_checked(template, tmp_path, monkeypatch):
    made = {}
    for name, image in zip(("head", "mask"), template, strict=True):
        write_image(image, tmp_path / f"{name}.nii.gz")
        made[name] = (tmp_path / f"{name}.nii.gz").read_bytes()
    with serving(made["head"]) as one, serving(made["mask"]) as two:
        pins = {
            name: Weights(
                file=f"{name}.nii.gz",
                url=server.url,
                sha256=hashlib.sha256(made[name]).hexdigest(),
                bytes=len(made[name]),
            )
            for name, server in (("head", one), ("mask", two))
        }
        monkeypatch.setattr(brain_mask, "TEMPLATE", pins)
        for _ in range(2):
            image, mask = brain_mask._template(tmp_path / "cache", silent)
        assert len(one.requests) == len(two.requests) == 1
    assert torch.equal(image.data, template[0].data)
    assert torch.equal(mask.data, template[1].data)


def test_without_a_network_the_missing_template_is_named(template, tmp_path, monkeypatch):
    gone = Weights(file="gone.nii.gz", url="http://127.0.0.1:9/gone", sha256="0" * 64)
    monkeypatch.setattr(brain_mask, "TEMPLATE", {"head": gone, "mask": gone})
    with pytest.raises(WeightsUnavailable, match="download failed"):
        brain_mask.brain_mask(template[0], cache=tmp_path)


class Shown:
    """A network for brains that keeps what it was shown and answers with no displacement."""

    card = ModelCard(
        name="shown",
        title="shown",
        architecture="shown",
        input=Input(
            dimensions=(3,),
            space="placed",
            shape=(32, 36, 32),
            spacing_mm=6.0,
            center=(16, 18, 16),
            orientation="SPL",
            intensity="brain",
            content="brain",
        ),
        output=Output(kind="voxel"),
        license="-",
        citation="-",
        training_data="-",
        modalities=("MR",),
        anatomies=("brain",),
        intended_use="-",
        limits="-",
    )

    def __init__(self):
        self.saw = []

    def predict(self, fixed, moving, **options):
        self.saw = [fixed, moving]
        return torch.zeros(3, *fixed.shape[1:])


def test_heads_go_through_a_network_for_brains_without_their_skulls(template, monkeypatch):
    monkeypatch.setattr(brain_mask, "_template", lambda *_: template)
    shift = np.array([9.0, -4.5, 4.5])
    (fixed, _), (moving, mask) = head(GRID), head(GRID, shift)
    network = Shown()
    result = register(fixed, moving, network, moving_mask=mask, extract_brain=True)
    brain_voxels = int(template[1].data.sum())
    for seen in network.saw:  # the scalp is gone, the brain is there
        assert float((seen > 0.12).sum()) == pytest.approx(brain_voxels, rel=0.1)
    moved = result.fixed_to_moving.TransformPoint((10.0, 20.0, -5.0))
    assert np.abs(np.array(moved) - (10.0, 20.0, -5.0) - shift).max() < 1.5
    assert not any("without skull" in warning for warning in result.warnings)
