"""Where the result of a registration depends on its start.

The same pair is registered again from perturbed starts; where the results differ, the images did
not decide. Where they agree, they may still be wrong together: this ranks locations by doubt and
measures no accuracy. `benchmarks/robustness.py` measures how well it ranks true error.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import SimpleITK as sitk

from neuralreg.errors import InvalidOption
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.typing import Array
from neuralreg.io.itk_images import write_itk_image
from neuralreg.progress import Progress, silent, stage
from neuralreg.registration.options import USUAL, RegistrationOptions
from neuralreg.review.geometry.deformation import Deformation, place_on_grid
from neuralreg.review.geometry.volumes import on_grid

if TYPE_CHECKING:
    from neuralreg.geometry.image import Image
    from neuralreg.registration.result import RegistrationResult

Engine = Callable[..., "RegistrationResult"]

FEWEST = 2


@dataclass(frozen=True)
class Perturbation:
    """How starts are drawn at random.

    Attributes:
        shift_share: Standard deviation of the shift in each axis, as a share of the extent.
        turn_degrees: Standard deviation of the turn about each axis, around the image's center.
        seed: Of the random numbers.
    """

    shift_share: float = 0.04
    turn_degrees: float = 4.0
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Robustness:
    """The results of several starts.

    Attributes:
        spread_mm: Root mean square distance of the displacements from their mean, (z, y, x).
        grid: Of the spread.
        starts: How many there were, the first one unperturbed.
        seconds: What it cost.
        result: Of the unperturbed start.
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
    perturbation: Perturbation = Perturbation(),
    engine: Engine | None = None,
    progress: Progress = silent,
    **changes: Any,
) -> Robustness:
    """The spread of the results of one usual registration and `starts` - 1 perturbed ones.

    Args:
        fixed: The fixed image.
        moving: The moving image.
        options: As `neuralreg.register` takes them, or the name of a model.
        starts: How many registrations.
        perturbation: Of the starts.
        engine: `neuralreg.register` unless given.
        progress: Called with a fraction and a stage.
        **changes: Fields of the options.

    Raises:
        InvalidOption: Fewer than two starts.
        RegistrationError: What the engine raises.
    """
    if starts < FEWEST:
        raise InvalidOption("a spread needs at least two starts", got=str(starts))
    if engine is None:
        from neuralreg.registration.engine import register

        engine = register
    named = USUAL.replace(model=options) if isinstance(options, str) else options
    chosen = named.replace(**changes)
    began = time.perf_counter()
    random = np.random.default_rng(perturbation.seed)
    part = stage(progress, 0.0, 1 / starts)
    first = engine(fixed, moving, chosen, progress=part)
    chosen = chosen.replace(model=first.model)
    grid = first.field.grid
    fields = [Deformation.of(first).on(grid)]
    for number in range(1, starts):
        start = _perturb(first.linear.matrix, fixed.grid, random, perturbation)
        part = stage(progress, number / starts, (number + 1) / starts)
        again = engine(fixed, moving, chosen, initial=start, progress=part)
        fields.append(Deformation.of(again).on(grid))
    mean = np.mean(fields, axis=0)
    squares = [((u - mean) ** 2).sum(-1) for u in fields]
    spread = np.sqrt(np.mean(squares, axis=0)).astype(np.float32)
    return Robustness(spread, grid, starts, time.perf_counter() - began, first)


def _perturb(
    matrix: Array, grid: Grid, random: np.random.Generator, perturbation: Perturbation
) -> sitk.Transform:
    """A start near the one of this matrix: the fixed side is turned and shifted first."""
    d = grid.dimension
    angles = np.radians(random.normal(0, perturbation.turn_degrees, 3)).tolist()
    turn: sitk.Transform = (
        sitk.Euler3DTransform(grid.center.tolist(), *angles)
        if d == 3
        else sitk.Euler2DTransform(grid.center.tolist(), angles[0])
    )
    shift_mm = random.normal(0, perturbation.shift_share, d) * grid.extent_mm
    shift = sitk.TranslationTransform(d, shift_mm)
    affine = sitk.AffineTransform(d)
    affine.SetMatrix(matrix[:d, :d].ravel().tolist())
    affine.SetTranslation(matrix[:d, d].tolist())
    return sitk.CompositeTransform([affine, shift, turn])


def write_spread(robustness: Robustness, grid: Grid, path: Path) -> None:
    """Write the spread as an image on a grid of the fixed side.

    Raises:
        UnwritableOutput: The format is unknown or the folder is closed.
    """
    image = place_on_grid(sitk.GetImageFromArray(robustness.spread_mm), robustness.grid)
    values = on_grid(image, grid).astype(np.float32)
    write_itk_image(place_on_grid(sitk.GetImageFromArray(values), grid), path)
