"""How far the edges of a template of made bodies lie from where the true mean shape has them.

No registration measures it but a rigid alignment: along the normals of the three surfaces of the
body, the middle of the slope is compared with that in an image of the true mean shape. Blur moves
edges of small cavities as well, so that the most alike of several blurs of either image counts.
"""

from __future__ import annotations

import numpy as np
import torch
from neuralreg.geometry.image import Image
from neuralreg.geometry.linear import LinearTransform
from neuralreg.geometry.smoothing import gaussian
from neuralreg.registration.options import LinearAlignment
from neuralreg.registration.prealign import prealign
from scipy.ndimage import map_coordinates

# Centers and half axes in mm of `bent_body` without a bend.
_SURFACES = (((0, 0, 0), (26, 30, 24)), ((9, -8, 0), (8, 9, 7)), ((-10, 10, 4), (6, 7, 6)))
_POINTS = 300  # on each
_ALONG = np.arange(-5, 5.01, 0.25)  # mm
_REACH = 4.0  # mm, of the window around an edge
_BLURS = (0.0, 0.3, 0.5, 0.7, 0.9, 1.2)  # voxels


def surface_points() -> tuple[np.ndarray, np.ndarray]:
    """Points in mm and outward normals, evenly on the surfaces, (n, 3) each."""
    k = np.arange(_POINTS) + 0.5
    polar, turn = np.arccos(1 - 2 * k / _POINTS), np.pi * (1 + 5**0.5) * k
    unit = np.stack([np.cos(turn) * np.sin(polar), np.sin(turn) * np.sin(polar), np.cos(polar)], -1)
    points = [unit * axes + center for center, axes in _SURFACES]
    normals = [unit / np.array(axes) for _, axes in _SURFACES]
    normals = [n / np.linalg.norm(n, axis=1, keepdims=True) for n in normals]
    return np.concatenate(points), np.concatenate(normals)


def edge_positions(image: Image, pose: LinearTransform) -> np.ndarray:
    """Millimeters along the normals from the true surfaces to the edges of a posed image."""
    points, normals = surface_points()
    places = pose((points[:, None] + _ALONG[:, None] * normals[:, None]).reshape(-1, 3))
    index = image.grid.indices_at(places)[:, ::-1].T
    values = map_coordinates(image.data[0].double().numpy(), index, order=3, mode="nearest")
    slopes = np.diff(values.reshape(len(points), -1), axis=1)
    along = (_ALONG[1:] + _ALONG[:-1]) / 2
    at = np.zeros(len(points))
    for _ in range(8):  # the window follows the edge
        window = np.clip(1 - np.abs(along - at[:, None]) / _REACH, 0, None)
        sign = np.sign((slopes * window).sum(1, keepdims=True))
        mass = np.clip(slopes * sign, 0, None) * window
        at = (mass * along).sum(1) / np.maximum(mass.sum(1), 1e-9)
    return at


def edge_error_mm(image: Image, truth: Image) -> float:
    """Root mean square distance of edges, without what a rigid motion explains."""
    points, normals = surface_points()
    pose = prealign(truth, image, LinearAlignment.RIGID).linear
    still = LinearTransform.identity(3)
    rigid = np.hstack([normals, np.cross(points, normals)])
    errors = []
    for sigma in _BLURS:
        for one, two in ((image, _blur(truth, sigma)), (_blur(image, sigma), truth)):
            apart = edge_positions(one, pose) - edge_positions(two, still)
            left = apart - rigid @ np.linalg.lstsq(rigid, apart, rcond=None)[0]
            errors.append(float(np.sqrt(np.mean(left**2))))
    return min(errors)


def _blur(image: Image, sigma: float) -> Image:
    values: torch.Tensor = gaussian(image.data.float(), [sigma] * 3)
    return Image(values, image.grid)
