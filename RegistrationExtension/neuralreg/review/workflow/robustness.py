"""Where the answer of a registration depends on where it began.

The same pair is registered again from starts that were moved a little; where the answers differ,
the images did not decide. Where they agree, they may still be wrong together: this ranks places
by doubt and measures no accuracy. `benchmarks/robustness.py` tells how well it ranks true error.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from neuralreg.errors import InvalidOption
from neuralreg.geometry.grid import Grid
from neuralreg.io.itk_images import write_itk_image
from neuralreg.progress import Progress, silent, stage
from neuralreg.registration.options import USUAL, RegistrationOptions
from neuralreg.review.geometry.deformation import Deformation, placed
from neuralreg.review.geometry.volumes import on_grid

if TYPE_CHECKING:
    from neuralreg.geometry.image import Image
    from neuralreg.registration.result import RegistrationResult

Array = NDArray[Any]
Engine = Callable[..., "RegistrationResult"]

FEWEST = 2


@dataclass(frozen=True, eq=False)
class Robustness:
    """What several starts came to.

    spread_mm: root mean square distance of the answers from their mean, (z, y, x), on `grid`.
    starts: how many there were, the first one unmoved. seconds: what it cost.
    """

    spread_mm: Array
    grid: Grid
    starts: int
    seconds: float
    result: RegistrationResult


def robustness(
    fixed: Image,
    moving: Image,
    options: RegistrationOptions | str = USUAL,
    *,
    starts: int = 4,
    shift_share: float = 0.04,
    turn_degrees: float = 4.0,
    seed: int = 0,
    engine: Engine | None = None,
    progress: Progress = silent,
    **changes: Any,
) -> Robustness:
    """Register once as usual and `starts` - 1 times from a moved start; the spread of the answers.

    shift_share: standard deviation of the shift in each axis, as a share of the extent.
    turn_degrees: that of the turn about each axis, around the middle of the image.
    engine: `neuralreg.register` unless given. options, changes: as the engine takes them.
    Raises InvalidOption for fewer than two starts, and what the engine raises.
    """
    if starts < FEWEST:
        raise InvalidOption("a spread needs at least two starts", got=str(starts))
    if engine is None:
        from neuralreg.registration.engine import register

        engine = register
    named = USUAL.replace(model=options) if isinstance(options, str) else options
    chosen = named.replace(**changes)
    began = time.perf_counter()
    random = np.random.default_rng(seed)
    part = stage(progress, 0.0, 1 / starts)
    first = engine(fixed, moving, chosen, progress=part)
    chosen = chosen.replace(model=first.model)
    grid = first.field.grid
    answers = [Deformation.of(first).on(grid)]
    for number in range(1, starts):
        moved = _moved(first.linear.matrix, fixed.grid, random, shift_share, turn_degrees)
        part = stage(progress, number / starts, (number + 1) / starts)
        again = engine(fixed, moving, chosen, initial=moved, progress=part)
        answers.append(Deformation.of(again).on(grid))
    mean = np.mean(answers, axis=0)
    squares = [((answer - mean) ** 2).sum(-1) for answer in answers]
    spread = np.sqrt(np.mean(squares, axis=0)).astype(np.float32)
    return Robustness(spread, grid, starts, time.perf_counter() - began, first)


def _moved(
    matrix: Array, grid: Grid, random: np.random.Generator, shift_share: float, turn_degrees: float
) -> sitk.Transform:
    """A start near the one of this matrix: the fixed side is turned and shifted first."""
    d = grid.dimension
    angles = np.radians(random.normal(0, turn_degrees, 3)).tolist()
    turn: sitk.Transform = (
        sitk.Euler3DTransform(grid.center.tolist(), *angles)
        if d == 3
        else sitk.Euler2DTransform(grid.center.tolist(), angles[0])
    )
    shift = sitk.TranslationTransform(d, random.normal(0, shift_share, d) * grid.extent_mm)
    affine = sitk.AffineTransform(d)
    affine.SetMatrix(matrix[:d, :d].ravel().tolist())
    affine.SetTranslation(matrix[:d, d].tolist())
    return sitk.CompositeTransform([affine, shift, turn])


def write_spread(found: Robustness, grid: Grid, path: Path) -> None:
    """Write the spread as an image on a grid of the fixed side.

    Raises UnwritableOutput when the format is unknown or the folder is closed.
    """
    image = placed(sitk.GetImageFromArray(found.spread_mm), found.grid)
    values = on_grid(image, grid).astype(np.float32)
    write_itk_image(placed(sitk.GetImageFromArray(values), grid), path)
