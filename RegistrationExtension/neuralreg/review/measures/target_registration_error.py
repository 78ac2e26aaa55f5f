"""How far landmarks are from their partners after a transform."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from neuralreg.errors import InvalidOption
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.typing import Array
from neuralreg.io.landmark_files import Landmarks, Pairs
from neuralreg.registration.guides.landmark_guide import count_of, list_names
from neuralreg.review.geometry.deformation import Deformation
from neuralreg.review.report_model import LandmarkErrors

_SAME_MM = 0.05


def landmark_errors(pairs: Pairs, deformation: Deformation, moving: Grid | None) -> LandmarkErrors:
    """The target registration error of each pair, with and without the transform.

    A fixed landmark is moved by the transform; the error is its distance from the partner.

    Args:
        pairs: Landmarks in both images.
        deformation: The transform, fixed to moving.
        moving: The grid of the moving image, for errors in its voxels; 1 mm voxels unless given.

    Raises:
        InvalidOption: The landmarks have other axes than the transform.
    """
    d = deformation.dimension
    fixed, partner = (_coordinates(side, d) for side in (pairs.fixed, pairs.moving))
    gap = deformation(fixed) - partner
    turn = np.eye(d) if moving is None else moving.world_to_index[:d, :d]
    return LandmarkErrors(
        names=pairs.names,
        fixed_lps=tuple(map(tuple, fixed.tolist())),
        before_mm=tuple(np.linalg.norm(fixed - partner, axis=1).tolist()),
        after_mm=tuple(np.linalg.norm(gap, axis=1).tolist()),
        after_voxels=tuple(np.linalg.norm(gap @ turn.T, axis=1).tolist()),
    )


def independent_pairs(pairs: Pairs, provenance: Mapping[str, Any]) -> Pairs:
    """The pairs that did not steer the registration: those that did are no proof of it.

    Args:
        pairs: Landmarks in both images.
        provenance: Of the registration; its "landmarks" are the points that steered it, its
            "corrections" those that it was corrected at by hand.

    Returns:
        The other pairs, with a note that names those left out.
    """
    sources = [provenance.get("landmarks") or {}, *provenance.get("corrections", ())]
    steering = [point for source in sources for point in source.get("fixed", ())]
    chosen = [
        n for n, point in enumerate(pairs.fixed) if not any(_same(point, s) for s in steering)
    ]
    if len(chosen) == len(pairs.names):
        return pairs
    left_out = [name for n, name in enumerate(pairs.names) if n not in set(chosen)]
    note = (
        f"{count_of(len(left_out), 'pair')} of landmarks steered the registration, which proves "
        f"nothing about it, and did not count: {list_names(left_out)}"
    )
    return Pairs(
        tuple(pairs.names[n] for n in chosen),
        tuple(pairs.fixed[n] for n in chosen),
        tuple(pairs.moving[n] for n in chosen),
        (*pairs.notes, note),
    )


def _same(one: Sequence[float], two: Sequence[float]) -> bool:
    """Whether two points are one; files of landmarks may round them."""
    return math.dist(one[: len(two)], two[: len(one)]) < _SAME_MM


def _coordinates(points: Sequence[Sequence[float]], d: int) -> Array:
    """Points (n, d); a third coordinate that is the same for all is no loss in the plane."""
    sizes = {len(point) for point in points}
    constant = len({tuple(point[d:]) for point in points}) == 1
    if len(sizes) != 1 or min(sizes) < d or not constant:
        raise InvalidOption(
            "landmarks have as many coordinates as the transform has axes",
            got=", ".join(map(str, sorted(sizes))),
            wanted=str(d),
        )
    return np.asarray(points, float)[:, :d]


def repeatability(first: Landmarks, second: Landmarks) -> tuple[float, ...]:
    """How far apart two people (or one, twice) placed each landmark, in mm.

    Raises:
        InvalidOption: The two sets do not belong together.
    """
    pairs = Pairs.of(first, second)
    if not pairs.names:
        return ()
    gap = np.subtract(pairs.fixed, pairs.moving)
    return tuple(np.linalg.norm(gap, axis=1).tolist())
