"""A vocabulary for tests on real MRML: a scene with its logics, and what may lie in it."""

from __future__ import annotations

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed: real MRML is needed")
import SimpleITK as sitk  # noqa: E402
import torch  # noqa: E402
from neuralreg.geometry.field import DisplacementField  # noqa: E402
from neuralreg.geometry.grid import Grid  # noqa: E402
from neuralreg.geometry.image import Image  # noqa: E402
from neuralreg.registration.result import RegistrationResult  # noqa: E402
from NeuralRegistrationLib.Scene import Scripting  # noqa: E402
from NeuralRegistrationLib.Scene.Headless import HeadlessScene  # noqa: E402

from Testing.support.known_results import known_result  # noqa: E402

TURNED = tuple(sitk.Euler3DTransform((0, 0, 0), 0.3, -0.2, 0.5).GetMatrix())
DIRECTIONS = {
    "straight": (1, 0, 0, 0, 1, 0, 0, 0, 1),
    "flipped": (-1, 0, 0, 0, -1, 0, 0, 0, 1),
    "permuted": (0, 0, 1, -1, 0, 0, 0, -1, 0),
    "left handed": (1, 0, 0, 0, 1, 0, 0, 0, -1),
    "oblique": TURNED,
}


@pytest.fixture
def a_headless_scene():
    return HeadlessScene()


@pytest.fixture
def a_scene(a_headless_scene):
    return a_headless_scene.scene


@pytest.fixture(params=DIRECTIONS.values(), ids=DIRECTIONS.keys())
def a_grid(request):
    return Grid((20, 15, 11), (2.0, 3.0, 4.5), (-31.0, 17.0, 52.0), request.param)


@pytest.fixture
def an_oblique_grid():
    return Grid((20, 15, 11), (2.0, 3.0, 4.5), (-31.0, 17.0, 52.0), TURNED)


def wavy_field(grid: Grid, *, height_mm: float = 2.0, wave_mm: float = 15.0) -> DisplacementField:
    """Different in each component and along each axis, so that no mix-up goes unseen."""
    index = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij")[::-1], -1)
    x, y, z = np.moveaxis(grid.points_at(index), -1, 0)
    u = np.stack(
        [3 + 0.05 * x + height_mm * np.sin(y / wave_mm), 0.03 * z - 5 + 0 * x, 7 - 0.04 * y]
    )
    return DisplacementField(torch.from_numpy(u), grid)


@pytest.fixture(name="wavy_field")
def _wavy_field():
    return wavy_field


@pytest.fixture(name="points_inside")
def _points_inside():
    return points_inside


@pytest.fixture(name="blobs")
def _blobs():
    return blobs


@pytest.fixture
def a_field(a_grid):
    return wavy_field(a_grid)


def points_inside(grid: Grid, count: int = 500, margin: float = 0.5) -> np.ndarray:
    top = np.subtract(grid.size, 1 + margin)
    return grid.points_at(np.random.default_rng(0).uniform(margin, top, (count, 3)))


def blobs(grid: Grid, dtype=torch.float32) -> Image:
    """A smooth pattern of gray values 0 to 200 that differs everywhere."""
    index = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij")[::-1], -1)
    x, y, z = np.moveaxis(grid.points_at(index) - grid.center, -1, 0)
    values = 100 + 60 * np.sin(x / 7) * np.cos(y / 9) + 40 * np.sin(z / 8 + 1)
    return Image(torch.from_numpy(values)[None].round().to(dtype), grid)


@pytest.fixture
def a_volume_node(a_scene, an_oblique_grid):
    return Scripting.volumeNodeFromImage(blobs(an_oblique_grid, torch.int16), "moving")


@pytest.fixture
def a_fixed_node(a_scene):
    grid = Grid((18, 17, 16), (2.5, 2.5, 2.5), tuple(_corner()), DIRECTIONS["flipped"])
    return Scripting.volumeNodeFromImage(blobs(grid, torch.int16), "fixed")


def _corner():
    center = Grid((20, 15, 11), (2.0, 3.0, 4.5), (-31.0, 17.0, 52.0), TURNED).center
    return center + np.array([18, 17, -16]) * 2.5 / 2 * [1, 1, 1]


def a_result(fixed: Image, moving: Image) -> RegistrationResult:
    """What an engine might answer: a known smooth deformation, no search."""
    field = wavy_field(fixed.grid.pad(4))
    back = wavy_field(moving.grid.pad(4))
    return known_result(field, DisplacementField(-back.vectors, back.grid))


@pytest.fixture
def a_known_engine():
    """An engine that gives the known deformation for any two images."""

    def register(fixed, moving, model="known", **options):
        return a_result(fixed, moving)

    return register


@pytest.fixture
def a_segmentation_node(a_scene, a_volume_node):
    """Two segments that touch, a third that overlaps both, names and colors of their own."""
    from NeuralRegistrationLib.Scene import Scripting

    grid = Scripting.imageFromVolumeNode(a_volume_node).grid
    labels = torch.zeros(1, *grid.shape, dtype=torch.uint8)
    labels[0, 3:8, 4:11, 4:10] = 4
    labels[0, 3:8, 4:11, 10:15] = 9
    node = Scripting.segmentationNodeFromLabels(
        Image(labels, grid), "organs", {4: "Liver", 9: "Spleen"}, a_volume_node
    )
    labels = torch.zeros_like(labels)
    labels[0, 4:6, 6:9, 7:13] = 1
    other = Scripting.segmentationNodeFromLabels(Image(labels, grid), "t", {1: "Tumor"})
    lesion = slicer.vtkSegment()
    lesion.DeepCopy(other.GetSegmentation().GetNthSegment(0))
    lesion.SetColor(0.9, 0.1, 0.2)
    lesion.SetTag("note", "seen by nobody")
    node.GetSegmentation().AddSegment(lesion, "Tumor_1")
    a_scene.RemoveNode(other.GetDisplayNode())
    a_scene.RemoveNode(other)
    return node
