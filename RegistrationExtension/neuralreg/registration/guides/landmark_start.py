"""Where landmarks let the linear search begin, and what is doubtful about them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from neuralreg.geometry.grid import Grid, Matrix
from neuralreg.geometry.linear import LinearTransform
from neuralreg.registration.guides.landmark_checks import coordinates
from neuralreg.registration.guides.landmark_fit import LandmarkFit, Spread, fit_landmarks
from neuralreg.registration.guides.landmark_guide import LandmarkGuide, list_names
from neuralreg.registration.guides.landmark_pull import LandmarkPull
from neuralreg.registration.options import LinearAlignment

_HALF_TURN = 160.0  # degrees: a rotation that a frame of the wrong kind would explain
_UNDETERMINED = {
    Spread.POINT: "one landmark determines a shift only: the images decide about the rest",
    Spread.LINE: "the landmarks are on a line and determine no rotation about it: the images "
    "decide",
    Spread.SURFACE: "the landmarks are in a plane and determine no affine transform: the images "
    "decide about stretching across it",
}


def landmark_start(
    guide: LandmarkGuide | None,
    middles: LandmarkGuide | None,
    grids: tuple[Grid, Grid],
    how: LinearAlignment,
    notes: list[str],
) -> LandmarkStart | None:
    """The start of a search; None without pairs or search.

    Args:
        guide: landmarks; what is doubtful about them joins the notes.
        middles: of labels, taken where there are no landmarks.
        grids: of both images.
        how: how far the search may go.
        notes: of the registration.

    Raises:
        InvalidOption: the pairs fit only mirrored.
    """
    pairs = guide or middles
    if pairs is None or how is LinearAlignment.NONE:
        return None
    start = LandmarkStart.of(pairs, *grids, how)
    if guide is not None:
        notes.extend(start.doubts(how))
    return start


@dataclass(frozen=True, eq=False)
class LandmarkStart:
    """The landmarks of a pair of images, for the linear search.

    Attributes:
        guide: the pairs.
        fixed, moving: their points (n, d), LPS mm.
        fit: the linear transform that joins them.
    """

    guide: LandmarkGuide
    fixed: Matrix
    moving: Matrix
    fit: LandmarkFit

    @classmethod
    def of(
        cls, guide: LandmarkGuide, fixed: Grid, moving: Grid, how: LinearAlignment
    ) -> LandmarkStart:
        """The start that the pairs of a guide determine.

        Raises:
            InvalidOption: the pairs fit only mirrored.
        """
        points = (
            coordinates(guide, "fixed", fixed.dimension),
            coordinates(guide, "moving", moving.dimension),
        )
        affine = how in (LinearAlignment.AUTO, LinearAlignment.AFFINE)
        fit = fit_landmarks(*points, tolerance_mm=guide.tolerance_mm, affine=affine)
        return cls(guide, *points, fit)

    def doubts(self, how: LinearAlignment) -> list[str]:
        """What the pairs leave open or contradict, in words; each names the pairs it is about."""
        notes = []
        wants = how is LinearAlignment.AFFINE or self.fit.spread is not Spread.SURFACE
        if wants and self.fit.spread in _UNDETERMINED and not self._is_full:
            notes.append(_UNDETERMINED[self.fit.spread])
        if outliers := np.flatnonzero(self.fit.inliers == 0).tolist():
            named = [f"{self.guide.names[n]} ({self.fit.residuals_mm[n]:.3g} mm)" for n in outliers]
            notes.append(
                "landmarks far from where the other pairs put them were left out of the start: "
                f"{list_names(named)}; check them"
            )
        if self._is_half_turn():
            notes.append(
                "the landmarks turn the moving image by half a turn about the axis from head to "
                "feet, as they would if those of one side were in RAS instead of LPS: check them"
            )
        return notes

    @property
    def _is_full(self) -> bool:
        return self.fit.spread is list(Spread)[self.fit.linear.dimension]

    def _is_half_turn(self) -> bool:
        matrix = self.fit.linear.matrix[:-1, :-1]
        if len(matrix) != 3 or not self.fit.determines_rotation:
            return False
        u, _, vt = np.linalg.svd(matrix)
        gap = (u @ vt).T @ np.diag([-1.0, -1.0, 1.0])
        angle = np.degrees(np.arccos(np.clip((np.trace(gap) - 1) / 2, -1, 1)))
        return bool(angle < 180 - _HALF_TURN)

    def pull(self, centers: tuple[Matrix, Matrix], radius: float, like: Tensor) -> LandmarkPull:
        """What the pairs that agree add to the objective of the search."""
        chosen = self.fit.inliers
        points = self.fixed[chosen], self.moving[chosen]
        weight = self.guide.weight or 1.0  # a weight of 0 leaves them to the start, which this is
        return LandmarkPull.of(points, centers, radius, self.guide.tolerance_mm, weight, like)

    def translation(self) -> LandmarkFit:
        """The shift that joins the middles of both sides."""
        chosen = self.fit.inliers
        shift = (self.moving[chosen] - self.fixed[chosen]).mean(0)
        linear = LinearTransform.from_parts(np.eye(len(shift)), shift)
        return replace(self.fit, linear=linear, kind="translation")
