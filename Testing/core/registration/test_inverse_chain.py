"""The way back through a deformation and a large linear transform."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
from neuralreg.geometry.field import DisplacementField
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.linear import LinearTransform
from neuralreg.geometry.sampling import index_grid
from neuralreg.registration.working_grid import invert_chain
from scipy.spatial.transform import Rotation

FIXED = Grid((22, 26, 20), (4, 4, 4), (-40, -50, -35), tuple(np.eye(3).ravel()))
SHIFT = np.array([11.0, -13.0, 9.0])  # what the deformation does everywhere, its border included


@pytest.mark.parametrize("degrees", [(90, 0, 0), (0, 0, -90), (20, 35, 100)])
def test_a_moving_image_that_is_turned_and_far_away_is_followed_back_from_everywhere(
    degrees, caplog
):
    turn = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
    away = np.array([500.0, -300.0, 120.0])
    vectors = torch.from_numpy(SHIFT).float()[:, None, None, None].expand(3, *FIXED.shape)
    moving = Grid(FIXED.size, FIXED.spacing, tuple(turn @ FIXED.origin + away), tuple(turn.ravel()))
    with caplog.at_level(logging.WARNING):
        inverse = invert_chain(
            DisplacementField(vectors.clone(), FIXED),
            LinearTransform.from_parts(turn, away),
            moving,
        )
    index = index_grid(inverse.grid.shape, like=torch.zeros((), dtype=torch.float64)).numpy()
    points = inverse.grid.points_at(index.reshape(-1, 3))
    back = points + inverse.vectors.movedim(0, -1).reshape(-1, 3).numpy()
    assert np.abs(back - ((points - away) @ turn - SHIFT)).max() < 0.06
    assert not caplog.records  # on samples without a way back
