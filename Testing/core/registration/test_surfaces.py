"""Surfaces of both sides pull each other, from afar and where the images say nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from neuralreg.errors import InvalidOption
from neuralreg.geometry.image import Image
from neuralreg.registration.engine import register
from neuralreg.registration.options import FieldRefinement
from neuralreg.registration.surfaces.surface_pair import SurfacePair
from neuralreg.registration.surfaces.surface_points import SurfacePoints
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from Testing.support.phantom import CUBE, SQUARE, seen

QUICK = {"model": "convex", "refinement": FieldRefinement(steps=12, similarity="mind")}


def closed_surface(count: int, d: int = 3, seed: int = 0):
    """Points on a lopsided closed surface, LPS mm."""
    directions = np.random.default_rng(seed).normal(size=(count, d))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    bumps = 1 + 0.25 * directions[:, 0] + 0.2 * directions[:, 1] * directions[:, 0]
    return directions * bumps[:, None] * np.array([15.0, 22.0, 12.0])[:d]


def bend(points):
    shift = np.array([3.0, -2.0, 2.0])[: points.shape[1]]
    return points + 2.5 * np.sin(points[..., ::-1] / 11) + shift


def noise(grid, seed: int) -> Image:
    random = torch.rand(1, *grid.shape, generator=torch.Generator().manual_seed(seed))
    return Image(100 * random, grid)


def distance_mm(points, surface) -> float:
    return float(cKDTree(surface).query(points)[0].mean())


def test_surfaces_lead_where_the_images_say_nothing():
    d, dense = 2, closed_surface(6000, 2, seed=5)
    surfaces = closed_surface(400, d, 1), bend(closed_surface(500, d, 2))
    images = noise(SQUARE, 1), noise(SQUARE, 2)
    result = register(*images, **QUICK, linear="none", surfaces=[surfaces])
    truth = bend(dense)
    before = distance_mm(dense, truth)
    assert distance_mm(result.field(dense), truth) < min(1.0, 0.35 * before)
    assert distance_mm(result.inverse_field(truth), dense) < min(1.0, 0.35 * before)
    assert result.outcome.folding_percent == 0
    record = result.provenance["surfaces"]
    assert record["final_mm"] < record["linear_mm"]
    assert any("surfaces drove the result, and are no proof of it" in w for w in result.warnings)


def test_surfaces_that_are_far_apart_are_brought_together_rigidly():
    turn = Rotation.from_euler("xyz", (25, -20, 15), degrees=True).as_matrix()
    far = closed_surface(900, seed=3) @ turn.T + np.array([60.0, -20.0, 30.0])
    pairs = SurfacePair((closed_surface(700),), (far,), 1.0).pairs()
    truth = np.array(pairs.fixed) @ turn.T + np.array([60.0, -20.0, 30.0])
    error = np.linalg.norm(np.array(pairs.moving) - truth, axis=1)
    assert np.median(error) < 3  # of points about 2 mm apart


def test_one_point_closest_to_many_is_one_pair():
    flat = np.stack(np.meshgrid(np.linspace(-15, 15, 12), np.linspace(-15, 15, 12)), -1)
    sheet = np.concatenate([flat.reshape(-1, 2), np.zeros((144, 1))], 1)
    needle = np.stack([0 * np.arange(40), 0 * np.arange(40), np.linspace(0, 20, 40)], 1)
    pairs = SurfacePair((sheet,), (needle,), 1.0).pairs()
    assert len(set(pairs.moving)) == len(pairs.moving)


def test_agreeing_images_and_surfaces_of_one_deformation_do_not_harm_each_other():
    fixed, moving = seen(SQUARE, lambda p: bend(p.reshape(-1, 2)).reshape(p.shape)), seen(SQUARE)
    plain = register(fixed, moving, **QUICK, linear="none")
    surfaces = closed_surface(400, 2, 1), bend(closed_surface(500, 2, 2))
    led = register(fixed, moving, **QUICK, linear="none", surfaces=[surfaces])
    points = closed_surface(300, 2, 7) * 0.7
    errors = [np.linalg.norm(r.field(points) - bend(points), axis=1).mean() for r in (plain, led)]
    assert errors[1] < errors[0] + 0.1


def test_normals_are_those_of_an_ellipsoid():
    random = np.random.default_rng(0).normal(size=(3000, 3))
    points = random / np.linalg.norm(random, axis=1, keepdims=True) * [15.0, 22.0, 12.0]
    truth = points / np.array([15.0, 22.0, 12.0]) ** 2
    truth /= np.linalg.norm(truth, axis=1, keepdims=True)
    normals = SurfacePoints.of([torch.from_numpy(points)]).normals.numpy()
    assert np.median(np.abs((normals * truth).sum(1))) > 0.99


def test_the_border_of_labels_is_a_surface():
    from neuralreg.registration.image_checks import Inputs
    from neuralreg.registration.surfaces.surface_inputs import add_surfaces

    index = np.stack(np.meshgrid(*(np.arange(n) for n in CUBE.size), indexing="ij"), -1)
    inside = np.linalg.norm(CUBE.points_at(index.astype(float)), axis=-1) < 20
    labels = Image(torch.from_numpy(inside.T.copy()).to(torch.uint8)[None], CUBE)
    inputs = Inputs.prepare(seen(CUBE), seen(CUBE), None, None, torch.device("cpu"))
    surfaces = add_surfaces(inputs, [(labels, labels)], 1.0).surfaces
    radius = np.linalg.norm(surfaces.fixed[0], axis=1)
    np.testing.assert_allclose(radius, 20, atol=1.8)
    assert len(radius) > 1000


@pytest.mark.parametrize(
    ("surface", "message"),
    [
        (closed_surface(5), "fixed surface has enough points.*got 5"),
        (closed_surface(50) + [500.0, 0, 0], "fixed surface lies outside.*100 % of its points"),
        (np.full((20, 3), np.nan), "fixed surface has finite points"),
        (np.zeros((20, 2)), "as many coordinates"),
    ],
)
def test_what_is_no_surface_of_the_image_is_named(surface, message):
    with pytest.raises(InvalidOption, match=message):
        register(seen(CUBE), seen(CUBE), **QUICK, surfaces=[(surface, closed_surface(50))])


def test_a_surface_in_the_other_frame_is_suspected():
    grid = CUBE.pad(0).__class__(CUBE.size, CUBE.spacing, (20.0, 30.0, -36.0), CUBE.direction)
    inside = closed_surface(50) + np.asarray(grid.center)
    mirrored = inside * [-1.0, -1.0, 1.0]
    with pytest.raises(InvalidOption, match="is it in RAS"):
        register(seen(grid), seen(grid), **QUICK, surfaces=[(mirrored, inside)])
