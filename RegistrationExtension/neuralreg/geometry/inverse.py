"""The inverse of a displacement field."""

from __future__ import annotations

import logging

import numpy as np
import torch
from torch import Tensor

from neuralreg.errors import InvalidOption, InvalidTransform
from neuralreg.geometry.field import DisplacementField
from neuralreg.geometry.grid import Grid, Matrix
from neuralreg.geometry.normalized import sample as normalized_sample
from neuralreg.geometry.sampling import (
    change_index,
    index_grid,
    index_to_normalized,
    magnitude,
    sample,
    slabs,
)

_log = logging.getLogger(__name__)

_SLAB = 1 << 20  # points solved at once: about 150 bytes each
_COARSEST = 12  # samples: no axis is halved below this many
_PATIENCE = 10  # sweeps of fixed points before the points that are left take Newton steps
_DIFFERENCE = 0.05  # samples
_DAMPING = 1e-6  # of squared slopes, which are about 1
_FITTED = 20_000  # samples that the linear part is fitted to
_LEAST_VOLUME = 1e-6  # relative; the linear part of anything anatomical is far above


def invert(
    field: DisplacementField,
    *,
    grid: Grid | None = None,
    tolerance_mm: float = 0.1,
    max_iterations: int = 50,
) -> DisplacementField:
    """The inverse of a field: v with `y + v(y) + u(y + v(y)) = y`.

    Method: the fixed point of Chen et al. 2008, doi:10.1118/1.2816107 (v <- -u(y + v)), with three
    changes that save sweeps: the affine part of u is inverted exactly, so that large rotations
    converge as well; each resolution starts from the solution at half of it; points that have
    arrived drop out, and the others take secant steps (Anderson 1965, doi:10.1145/321296.321305,
    depth 1), then damped Newton steps. Works in slabs: about 150 MB beside the result.

    Args:
        field: u, fixed to moving for a registration result.
        grid: of the inverse; the grid of `field` unless given. For a registration result use one
            that covers the moving image.
        tolerance_mm: largest error at a sample of `grid` for which its point counts as solved.
        max_iterations: steps per point and resolution.

    Returns:
        The inverse v, in LPS mm on `grid`. The tolerance holds at its samples except where u folds:
        a log warning gives the number of such samples, `inverse_error` their error.

    Raises:
        InvalidOption: when the tolerance or the number of iterations is not positive.
        InvalidTransform: when the field collapses space to a plane.
    """
    if not tolerance_mm > 0 or max_iterations < 1:
        raise InvalidOption(
            "inversion needs a positive tolerance and at least one iteration",
            got=f"tolerance_mm={tolerance_mm}, max_iterations={max_iterations}",
        )
    grid = grid or field.grid
    with torch.no_grad():
        problem = _Problem(field)
        inverse, missed = _solve(problem, grid, tolerance_mm, max_iterations)
    if missed:
        _log.warning(
            "%d of %d samples of the inverse are off by more than %g mm: the field folds there",
            missed,
            grid.count,
            tolerance_mm,
        )
    return inverse


def invert_points(
    field: DisplacementField,
    points: Matrix,
    *,
    tolerance_mm: float = 1e-3,
    max_iterations: int = 50,
) -> tuple[Matrix, int]:
    """The points that a field moves to given ones, each found on its own, without a grid.

    Args:
        field: u.
        points: y, LPS mm, (n, d).
        tolerance_mm: largest error for which a point counts as solved.
        max_iterations: steps per point.

    Returns:
        x with `x + u(x) = y` (n, d), LPS mm, and how many miss the tolerance: u folds there.

    Raises:
        InvalidTransform: when the field collapses space to a plane.
    """
    problem = _Problem(field)
    given = torch.from_numpy(np.ascontiguousarray(points, float)).to(field.vectors)
    with torch.no_grad():
        targets = change_index(given, problem.from_world)
        start = change_index(targets, problem.backward)
        solved, missed = _iterate_fixed_point(problem, start, targets, tolerance_mm, max_iterations)
        moved: Matrix = change_index(solved, problem.to_world).cpu().numpy()
    return moved, missed


def inverse_error(field: DisplacementField, inverse: DisplacementField) -> Tensor:
    """Distance of each point from its start after `inverse` and then `field`.

    Args:
        field: the field that was inverted.
        inverse: its inverse.

    Returns:
        mm, (z, y, x), one value per sample of the grid of `inverse`; where it exceeds the tolerance
        the inversion did not converge.
    """
    error = inverse.vectors.new_empty(inverse.grid.shape)
    for rows in slabs(inverse.grid.shape, _SLAB):
        landed = inverse.coordinates_in(field.grid, inverse.grid, rows)
        backward = sample(field.vectors.to(inverse.vectors), landed)
        error[rows] = magnitude(inverse.vectors[:, rows] + backward)
    return error


class _Problem:
    """`x + u(x) = y` for points (n, d) in normalized coordinates of the field's grid.

    A sweep then has nothing to convert.
    """

    def __init__(self, field: DisplacementField) -> None:
        d = field.grid.dimension
        self.from_world = index_to_normalized(field.grid.size) @ field.grid.world_to_index
        self.to_world: Matrix = np.linalg.inv(self.from_world)
        linear = torch.as_tensor(self.from_world[:d, :d]).to(field.vectors)
        self.displacement = (linear @ field.vectors.flatten(1)).view(field.vectors.shape)
        normalized_mm = np.linalg.norm(self.to_world[:d, :d], axis=0)
        self.normalized_mm = torch.as_tensor(normalized_mm).to(field.vectors)
        forward = _linear_part(self.displacement)
        if abs(np.linalg.det(forward[:d, :d])) < _LEAST_VOLUME:
            raise InvalidTransform(
                "the field cannot be inverted: it collapses space",
                got=f"a linear part with determinant {np.linalg.det(forward[:d, :d]):.2g}",
            )
        self.backward: Matrix = np.linalg.inv(forward)
        self.step = torch.as_tensor(self.backward[:d, :d].T.copy()).to(field.vectors)

    def residual(self, x: Tensor, targets: Tensor) -> Tensor:
        """What is missing at points x (n, d)."""
        points = x.T.reshape(1, x.shape[1], -1, *[1] * (x.shape[1] - 1))
        return targets - x - normalized_sample(self.displacement[None], points)[0].flatten(1).T

    def slope(self, x: Tensor, targets: Tensor) -> Tensor:
        """Jacobian matrices of `x + u(x)` at points x (n, d), by central differences: (n, d, d)."""
        size = torch.tensor(self.displacement.shape[:0:-1]).to(x)
        lengths = _DIFFERENCE * 2 / size
        columns = [
            (self.residual(x - shift, targets) - self.residual(x + shift, targets)) / (2 * length)
            for shift, length in zip(torch.diag(lengths), lengths, strict=True)
        ]
        return torch.stack(columns, -1)

    def error_mm(self, residual: Tensor) -> Tensor:
        """Length of residuals (n, d) in mm."""
        return magnitude(residual * self.normalized_mm, dim=1)


def _linear_part(displacement: Tensor) -> Matrix:
    """Homogeneous matrix nearest to `x + u(x)` in normalized coordinates, by least squares."""
    shape = tuple(displacement.shape[1:])
    d = len(shape)
    step = max(1, round((displacement[0].numel() / _FITTED) ** (1 / d)))
    every = tuple(slice(None, None, step) for _ in shape)
    index = index_grid(shape, like=displacement.new_zeros((), dtype=torch.float64))[every]
    points = change_index(index.reshape(-1, d), index_to_normalized(shape[::-1])).cpu().numpy()
    points = np.concatenate([points, np.ones((len(points), 1))], 1)
    u = displacement[(slice(None), *every)].reshape(d, -1).T.double().cpu().numpy()
    matrix = np.eye(d + 1)
    # Along an axis of one sample nothing is known: least squares of least norm adds nothing there.
    matrix[:d] += np.linalg.lstsq(points, u, rcond=1e-10)[0].T
    return matrix


def _solve(
    problem: _Problem, grid: Grid, tolerance_mm: float, max_iterations: int
) -> tuple[DisplacementField, int]:
    """The inverse on a grid, and how many of its samples missed the tolerance."""
    coarse = None
    half_size = [(n + 1) // 2 if n >= 2 * _COARSEST else n for n in grid.size]
    if tuple(half_size) != grid.size:
        coarse, _ = _solve(problem, grid.resize(half_size), tolerance_mm, max_iterations)
    d = grid.dimension
    vectors = problem.displacement.new_empty(d, *grid.shape)
    to_world = torch.as_tensor(problem.to_world[:d, :d].T.copy()).to(vectors)
    from_world = torch.as_tensor(problem.from_world[:d, :d].T.copy()).to(vectors)
    missed = 0
    for rows in slabs(grid.shape, _SLAB):
        index = index_grid(grid.shape, rows=rows, like=vectors).view(-1, d)
        targets = change_index(index, problem.from_world @ grid.index_to_world)
        if coarse is None:
            start = change_index(targets, problem.backward)
        else:
            start = torch.addmm(targets, coarse.at(grid, rows).reshape(d, -1).T, from_world)
        solved, late = _iterate_fixed_point(problem, start, targets, tolerance_mm, max_iterations)
        missed += late
        vectors[:, rows] = ((solved - targets) @ to_world).T.view(d, -1, *grid.shape[1:])
    return DisplacementField(vectors, grid), missed


def _iterate_fixed_point(
    problem: _Problem, start: Tensor, targets: Tensor, tolerance_mm: float, max_iterations: int
) -> tuple[Tensor, int]:
    """Points (n, d) with `x + u(x) = targets`, and how many are late.

    All take one step, which buys a small mean error; those that are late then go on.
    """
    residual = problem.residual(start, targets)
    x = start + residual @ problem.step
    left = problem.residual(x, targets)
    before, error = problem.error_mm(residual), problem.error_mm(left)
    solved = torch.where((error < before)[:, None], x, start)
    late = torch.nonzero(torch.minimum(error, before) > tolerance_mm)[:, 0]
    if not len(late):
        return solved, 0
    solved[late] = _secants(
        problem,
        (start[late], x[late]),
        (residual[late], left[late]),
        targets[late],
        tolerance_mm,
        min(max_iterations - 1, _PATIENCE),
    )
    error = problem.error_mm(problem.residual(solved[late], targets[late]))
    late = late[error > tolerance_mm]
    solved[late], error = _newton(
        problem, solved[late], targets[late], tolerance_mm, max_iterations - 1 - _PATIENCE
    )
    return solved, int((error > tolerance_mm).sum())


def _secants(
    problem: _Problem,
    points: tuple[Tensor, Tensor],
    residuals: tuple[Tensor, Tensor],
    targets: Tensor,
    tolerance_mm: float,
    iterations: int,
) -> Tensor:
    """The best places (n, d) that secant steps find from the last two places of each point."""
    errors = torch.stack([problem.error_mm(r) for r in residuals])
    best, which = errors.min(0)
    solved = torch.where(which.bool()[:, None], points[1], points[0])
    active = torch.arange(len(best), device=best.device)
    for _ in range(iterations):
        following = _secant(points, residuals, problem.step)
        points = points[1], following
        residuals = residuals[1], problem.residual(following, targets)
        error = problem.error_mm(residuals[1])
        better = error < best
        solved[active[better]] = following[better]
        best = torch.minimum(error, best)
        late = torch.nonzero(best > tolerance_mm)[:, 0]
        if not len(late):
            break
        active, targets, best = active[late], targets[late], best[late]
        points = points[0][late], points[1][late]
        residuals = residuals[0][late], residuals[1][late]
    return solved


def _secant(
    points: tuple[Tensor, Tensor], residuals: tuple[Tensor, Tensor], step: Tensor
) -> Tensor:
    """Both fixed-point steps, mixed so that the linearized residual is least."""
    change = residuals[1] - residuals[0]
    share = (residuals[1] * change).sum(1) / (change * change).sum(1).clamp(min=1e-20)
    share = share.clamp(-2, 0.8)[:, None]  # a secant through noise must not throw the point away
    return torch.lerp(points[1] + residuals[1] @ step, points[0] + residuals[0] @ step, share)


def _newton(
    problem: _Problem, x: Tensor, targets: Tensor, tolerance_mm: float, iterations: int
) -> tuple[Tensor, Tensor]:
    """The few stubborn points, where u stretches so much that fixed points run away, and errors.

    Newton steps that are half_size as long as they do not help.
    """
    length = torch.ones_like(x[:, :1])
    damping = _DAMPING * torch.eye(x.shape[1]).to(x)
    residual = problem.residual(x, targets)
    best = problem.error_mm(residual)
    for _ in range(iterations):
        if not (best > tolerance_mm).any():
            break
        slope = problem.slope(x, targets)
        normal = slope.mT @ slope + damping  # keeps the step finite on the crease of a fold
        step = torch.linalg.solve(normal, slope.mT @ residual[..., None])[..., 0]
        tried = x + length * step
        left = problem.residual(tried, targets)
        error = problem.error_mm(left)
        better = (error < best)[:, None]
        x, residual = torch.where(better, tried, x), torch.where(better, left, residual)
        best = torch.minimum(error, best)
        length = torch.where(better, 2 * length, 0.5 * length).clamp(max=1)
    return x, best
