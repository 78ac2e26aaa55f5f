"""Frames of one sequence laid over a reference by Gauss-Newton steps, many frames at once.

Frames of one sequence are one modality and lie close to each other. The squared difference to the
reference, whose derivatives are computed once, then leads to the pose in a few steps, where the
search of `registration.prealign` would climb mutual information for every frame anew.

Sources: Baker & Matthews 2004, doi:10.1023/B:VISI.0000011205.11775.fd (inverse compositional
steps); Friston et al. 1995, doi:10.1002/hbm.460030303 (realignment of a series).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from neuralreg.devices import threads_for
from neuralreg.geometry.grid import Grid, Matrix
from neuralreg.geometry.image import Image
from neuralreg.geometry.linear import LinearTransform
from neuralreg.geometry.sampling import index_to_normalized, slopes
from neuralreg.geometry.smoothing import gaussian
from neuralreg.registration.options import LinearAlignment
from neuralreg.registration.prealign import prealign
from neuralreg.registration.working_grid import (
    foreground,
    resample_to,
    unit_intensities,
    with_edge,
)

_AT_ONCE = 1 << 22  # samples of all frames that are aligned together
# Around the body to where its smoothed outline has faded: points that end on a slope pull towards
# the side where the body is not cut off, by 2 % of a voxel on a head.
_BAND = 2.0  # samples, of the smoothing of the body
_IN_BAND = 0.01
_BORDER = 1  # samples at each end of an axis, where it has the least number of them
_LEAST_SAMPLES = 8
_ROBUST = 3.0  # standard deviations: differences beyond count less, as by Huber 1964
_SETTLED = 0.002  # samples that a step moves the body by
_LONGEST_STEP = 0.5  # radii of the body
_RIDGE = 1e-6  # of the mean diagonal: what the images do not show stays at rest
_LEAST_GAIN = 0.05  # of intensities: a frame with less shows something else
_LEAST_OVERLAP = 0.5  # of the reference's points
_LEAST_CORRELATION = 0.7
_NOISE = 1e-3  # of a correlation


@dataclass(frozen=True)
class _Level:
    """One resolution: samples of an image, points compared, and steps, all at most.

    The smoothing, a standard deviation in samples, is against noise and against the blur of
    linear interpolation, which would pull poses towards the samples.
    """

    samples: int
    points: int
    smoothing: float
    steps: int


_LEVELS = (_Level(20**3, 6_000, 1.0, 20), _Level(128**3, 30_000, 0.8, 12))


@dataclass(frozen=True, eq=False)
class FrameAlignment:
    """How one frame lies.

    Attributes:
        linear: reference to frame, LPS mm.
        correlation: of frame and reference at the reference's points, at the start and at the end.
        failure: why it is not to be trusted, in words; empty where it is.
    """

    linear: LinearTransform
    correlation: tuple[float, float]
    failure: str


def choose_linear(
    alignment: FrameAlignment,
    reference: Image,
    frame: Image,
    kind: LinearAlignment,
    name: str,
    notes: list[str],
) -> LinearTransform:
    """The way of an alignment that is to be trusted, else what the search finds, with a note.

    Args:
        alignment: of the frame.
        reference, frame: prepared.
        kind: how far the search may go.
        name: of the frame, for the note.
        notes: what is remarked is appended.
    """
    if not alignment.failure:
        return alignment.linear
    notes.append(f"{name} was aligned by the slower search: {alignment.failure}")
    return prealign(reference, frame, kind, nearby=True).linear


class FrameAligner:
    """A reference that frames are laid over.

    Args:
        reference: prepared, with the grid that the frames will have.
        affine: whether frames may stretch and shear.
    """

    def __init__(self, reference: Image, *, affine: bool = False) -> None:
        body = foreground(reference)
        center, radius = _extent(reference.grid, body)
        d = reference.grid.dimension
        self.to_mm = np.eye(d + 1)  # from units of the radius about the center
        self.to_mm[:d] = np.column_stack([radius * np.eye(d), center])
        self.generators = _generators(d, affine=affine)
        self.sides = [
            _Side.of(reference, body, level, self.to_mm, self.generators) for level in _LEVELS
        ]
        self.most_frames = max(1, _AT_ONCE // self.sides[-1].grid.count)  # for one call of align

    def align(
        self, frames: Sequence[Image], starts: Sequence[LinearTransform]
    ) -> list[FrameAlignment]:
        """The rigid or affine way from the reference to each frame.

        A frame may differ from the reference by a factor and an offset of its intensities.

        Args:
            frames: prepared, at most about `most_frames`.
            starts: reference to frame, one for each; where the steps begin.
        """
        if not frames:
            return []
        to_unit = np.linalg.inv(self.to_mm)
        begin = [to_unit @ start.matrix @ self.to_mm for start in starts]
        poses = torch.from_numpy(np.stack(begin))
        with threads_for(self.sides[-1].grid.count), torch.no_grad():
            for level, side in zip(_LEVELS, self.sides, strict=True):
                values = torch.stack([level_values(frame, side.grid, level) for frame in frames])
                settled, poses = side.descend(values, poses, self.generators, level.steps)
            before = side.compare(values, torch.from_numpy(np.stack(begin)))
            after = side.compare(values, poses)
        return [
            FrameAlignment(
                LinearTransform(self.to_mm @ pose @ to_unit),
                (one.correlation, two.correlation),
                _failure(one, two, settled=bool(calm)),
            )
            for pose, one, two, calm in zip(poses.numpy(), before, after, settled, strict=True)
        ]


def _extent(grid: Grid, body: Tensor) -> tuple[Matrix, float]:
    """Center (LPS mm) and root mean square radius (mm) of a body."""
    index = torch.nonzero(body)
    points = grid.points_at(index[:: max(1, len(index) // 20_000)].flip(1).double().numpy())
    center = points.mean(0)
    radius = float(np.sqrt(((points - center) ** 2).sum(1).mean()))
    return center, max(radius, min(grid.spacing))


def _generators(d: int, *, affine: bool) -> Tensor:
    """Of rotations and shifts, or of all affine transforms: (k, d + 1, d + 1)."""
    every = torch.eye(d * (d + 1), dtype=torch.float64).view(-1, d, d + 1)
    every = torch.cat([every, torch.zeros(len(every), 1, d + 1, dtype=torch.float64)], 1)
    if affine:
        return every
    shifts = every[d :: d + 1]
    turns = [every[r * (d + 1) + c] for r in range(d) for c in range(r + 1, d)]
    return torch.cat([torch.stack([turn - turn.T for turn in turns]), shifts])


def _level_grid(grid: Grid, samples: int) -> Grid:
    """The grid itself where it has few enough samples, else one with wider voxels."""
    if grid.count <= samples:
        return grid
    edge = float(np.prod(grid.extent_mm) / samples) ** (1 / grid.dimension)
    return with_edge(grid, edge)


def level_values(image: Image, grid: Grid, level: _Level) -> Tensor:
    """Unit intensities on a grid of the same world, smoothed: (1, z, y, x)."""
    values = resample_to(unit_intensities(image), image.grid, grid)
    return gaussian(values, [level.smoothing] * grid.dimension)


def _border(grid: Grid) -> list[int]:
    """Samples x y z at each end that smoothing has filled with repeated ones."""
    return [_BORDER if n >= _LEAST_SAMPLES else 0 for n in grid.size]


def _away_from_border(grid: Grid) -> Tensor:
    """1 where samples are not at the border, (z, y, x)."""
    inner = torch.zeros(grid.shape)
    inner[tuple(slice(b, n - b) for b, n in zip(_border(grid)[::-1], grid.shape, strict=True))] = 1
    return inner


@dataclass(frozen=True)
class _Comparison:
    """A frame beside the reference: correlation, factor of intensities, share of the points."""

    correlation: float
    gain: float
    overlap: float


def _failure(before: _Comparison, after: _Comparison, *, settled: bool) -> str:
    if not settled:
        return "its steps did not settle"
    if after.overlap < _LEAST_OVERLAP:
        return f"only {100 * after.overlap:.0f} % of the reference lie in it"
    if not (after.correlation >= _LEAST_CORRELATION and after.gain > _LEAST_GAIN):
        return f"it looks unlike the reference (correlation {after.correlation:.2f})"
    if after.correlation < before.correlation - _NOISE:
        return "its steps led away from the reference"
    return ""


@dataclass(frozen=True, eq=False)
class _Side:
    """The reference at one resolution.

    Attributes:
        grid: of reference and frames.
        points: of the reference, homogeneous, in units of the radius about its center, (n, d + 1).
        columns: what a frame may differ by: derivative for each generator, values, 1; (n, k).
        products: of every two columns, (n, k * k).
        to_normalized: such points in normalized coordinates of the grid, (d, d + 1), float64.
        reach: of normalized coordinates that count, (d,).
        settled: step that ends the search, in units of the radius.
    """

    grid: Grid
    points: Tensor
    columns: Tensor
    products: Tensor
    to_normalized: Tensor
    reach: Tensor
    settled: float

    @classmethod
    def of(
        cls, reference: Image, body: Tensor, level: _Level, to_mm: Matrix, generators: Tensor
    ) -> _Side:
        """The points in and around the body, evenly taken, and what is computed there once."""
        grid = _level_grid(reference.grid, level.samples)
        d = grid.dimension
        values = level_values(reference, grid, level)[0]
        near = gaussian(resample_to(body[None].float(), reference.grid, grid), [_BAND] * d)[0]
        near = near * _away_from_border(grid)
        index = torch.nonzero(near >= min(_IN_BAND, float(near.max())))
        index = index[:: -(-len(index) // level.points)]
        at = tuple(index.T)
        unit_to_index = grid.world_to_index @ to_mm
        along = slopes(values).movedim(0, -1)[at].double() @ torch.from_numpy(unit_to_index[:d, :d])
        world = grid.points_at(index.flip(1).double().numpy())
        ones = np.ones((len(world), 1))
        points = torch.from_numpy(np.hstack([world, ones]) @ np.linalg.inv(to_mm).T)
        derivatives = torch.einsum("kij,nj,ni->nk", generators[:, :d], points, along)
        own = values[at].double()
        columns = torch.column_stack([derivatives, own, torch.ones_like(own)]).float()
        return cls(
            grid,
            points.float(),
            columns,
            (columns[:, :, None] * columns[:, None]).flatten(1),
            torch.from_numpy((index_to_normalized(grid.size) @ unit_to_index)[:d]),
            torch.tensor(
                [
                    1 - 2 * b / max(n - 1, 1) + 1e-4
                    for b, n in zip(_border(grid), grid.size, strict=True)
                ]
            ),
            _SETTLED * min(grid.spacing) / to_mm[0, 0],
        )

    def read(self, values: Tensor, poses: Tensor) -> tuple[Tensor, Tensor]:
        """Values (f, n) of frames (f, 1, z, y, x) at the points, and 1 where they are inside."""
        f, d = len(values), self.grid.dimension
        at = self.points @ (self.to_normalized @ poses).float().mT
        inside = (at.abs() <= self.reach).all(-1)
        values = functional.grid_sample(
            values, at.view(f, -1, *[1] * (d - 1), d), padding_mode="border", align_corners=True
        )
        return values.view(f, -1), inside.float()

    def compare(self, values: Tensor, poses: Tensor) -> list[_Comparison]:
        """How alike frames (f, 1, z, y, x) and the reference are."""
        read, inside = self.read(values, poses)
        count = inside.sum(1, keepdim=True).clamp(min=1)
        one, two = (
            inside * (v - (inside * v).sum(1, keepdim=True) / count)
            for v in (self.columns[:, -2].expand_as(read), read)
        )
        product, square = (one * two).sum(1), one.square().sum(1).clamp(min=1e-12)
        correlation = product / (square * two.square().sum(1).clamp(min=1e-12)).sqrt()
        facts = torch.stack([correlation, product / square, inside.mean(1)], 1).tolist()
        return [_Comparison(*row) for row in facts]

    def descend(
        self, values: Tensor, poses: Tensor, generators: Tensor, steps: int
    ) -> tuple[Tensor, Tensor]:
        """Which frames came to rest (f,), and their poses (f, d + 1, d + 1)."""
        poses = poses.clone()
        moved = torch.full((len(poses),), torch.inf, dtype=torch.float64)
        for _ in range(steps):
            active = torch.nonzero(moved > self.settled)[:, 0]
            if not len(active):
                break
            change = self._step(values[active], poses[active])
            motion = torch.einsum("fk,kij->fij", change, generators)
            poses[active] = poses[active] @ torch.linalg.matrix_exp(-motion)
            moved[active] = change.norm(dim=1)
        return moved <= self.settled, poses

    def _step(self, values: Tensor, poses: Tensor) -> Tensor:
        """How far the reference is to be moved along each generator to fit frames, (f, k - 2).

        Least squares for derivatives, factor and offset at once; then again with less weight for
        what the first solution leaves far off.
        """
        read, weight = self.read(values, poses)
        solution = self._solve(read, weight)
        left = (read - solution.float() @ self.columns.T).abs()
        spread = 1.4826 * left.median(1, keepdim=True).values.clamp(min=1e-6)
        solution = self._solve(
            read, weight * (_ROBUST * spread / left.clamp(min=1e-12)).clamp(max=1)
        )
        change = solution[:, :-2] / solution[:, -2:-1].clamp(min=_LEAST_GAIN)
        length = change.norm(dim=1, keepdim=True)
        limited: Tensor = change * (_LONGEST_STEP / length.clamp(min=_LONGEST_STEP))
        return limited

    def _solve(self, read: Tensor, weight: Tensor) -> Tensor:
        """The columns' shares (f, k) in values (f, n), by weighted least squares."""
        k = self.columns.shape[1]
        normal = (weight @ self.products).view(-1, k, k).double()
        right = ((weight * read) @ self.columns).double()
        ridge = (_RIDGE * normal.diagonal(dim1=1, dim2=2).mean(1)).clamp(min=1e-9)
        normal.diagonal(dim1=1, dim2=2).add_(ridge[:, None])
        shares: Tensor = torch.linalg.solve(normal, right)
        return shares
