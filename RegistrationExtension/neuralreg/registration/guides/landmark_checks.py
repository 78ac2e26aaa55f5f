"""What can be wrong with landmarks that are to steer: each fault names its pairs."""

from __future__ import annotations

import numpy as np

from neuralreg.errors import InvalidOption
from neuralreg.geometry.grid import Grid, Matrix
from neuralreg.registration.guides.landmark_guide import LandmarkGuide, list_names, mirror_point

_NEAR = 0.1  # of the extent: points so little outside may mark what the image cuts off
_MIRRORED_GAIN = 2  # times as many points inside once mirrored


def check_landmarks(guide: LandmarkGuide, fixed: Grid, moving: Grid) -> list[str]:
    """What is doubtful about where the landmarks lie, in words.

    Args:
        guide: the pairs.
        fixed, moving: grids of the images.

    Raises:
        InvalidOption: points have other axes than the images, or lie far outside of them; where
            x and y negated would bring them in, the error asks whether they are in RAS.
    """
    notes = list(guide.notes)
    for role, grid in (("fixed", fixed), ("moving", moving)):
        points = coordinates(guide, role, grid.dimension)
        beyond = share_beyond(points, grid)
        _require_near(guide, role, points, beyond, grid)
        if names := [guide.names[n] for n in np.flatnonzero(beyond > 0)]:
            notes.append(f"landmarks a little outside of the {role} image: {list_names(names)}")
    return notes


def coordinates(guide: LandmarkGuide, role: str, d: int) -> Matrix:
    """Points (n, d) of the "fixed" or "moving" side in LPS mm.

    In the plane a third coordinate that is the same for all counts for nothing.

    Raises:
        InvalidOption: the points have other axes than the image.
    """
    points = np.asarray(getattr(guide, role), float)
    if points.shape[1] < d or np.ptp(points[:, d:], axis=0).any():
        raise InvalidOption(
            f"the {role} landmarks have as many coordinates as the image has axes",
            got=str(points.shape[1]),
            wanted=str(d),
        )
    return points[:, :d]


def sides(guide: LandmarkGuide, d: int) -> tuple[Matrix, Matrix]:
    """The points (n, d) of the fixed and of the moving side, LPS mm.

    Raises:
        InvalidOption: the points have other axes than the images.
    """
    return coordinates(guide, "fixed", d), coordinates(guide, "moving", d)


def share_beyond(points: Matrix, grid: Grid) -> Matrix:
    """How far each point lies outside of the image, as a share of its extent; 0 inside."""
    index, size = grid.indices_at(points), np.asarray(grid.size)
    outside: Matrix = np.maximum(-0.5 - index, index - (size - 0.5)).clip(0) / size
    share: Matrix = outside.max(1)
    return share


def _require_near(
    guide: LandmarkGuide, role: str, points: Matrix, beyond: Matrix, grid: Grid
) -> None:
    far = np.flatnonzero(beyond > _NEAR)
    if not len(far):
        return
    mirrored = np.array([mirror_point(tuple(point)) for point in points])
    both = (beyond, share_beyond(mirrored, grid))
    inside, inside_mirrored = (int((share <= _NEAR).sum()) for share in both)
    names = list_names([guide.names[n] for n in far])
    if inside_mirrored >= max(_MIRRORED_GAIN * inside, inside + 1):
        raise InvalidOption(
            f"the {role} landmarks lie outside of their image, and inside once x and y are "
            "negated: are they in RAS?",
            got=f"{names} outside as LPS; {inside_mirrored} of {len(points)} inside as RAS",
            remedy="If so, say that the landmarks are in RAS (--landmark-frame RAS), or negate x "
            "and y of this side.",
        )
    n = int(far[0])
    raise InvalidOption(
        f"landmarks lie outside of the {role} image",
        got=f"{names}, {guide.names[n]} at ({', '.join(f'{v:.4g}' for v in points[n])}) mm LPS",
        wanted="points in an image that is centered at "
        f"({', '.join(f'{v:.4g}' for v in grid.center)}) mm",
        remedy="Check that fixed and moving are not exchanged, or remove them.",
    )
