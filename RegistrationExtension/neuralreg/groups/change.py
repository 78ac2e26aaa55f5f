"""How one person changed between scans: volumes of tissue, in a space that favors no scan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from neuralreg.geometry.field import DisplacementField
from neuralreg.geometry.image import Image
from neuralreg.geometry.linear import LinearTransform
from neuralreg.geometry.warp import warp
from neuralreg.groups.subjects import Subject, normalize
from neuralreg.groups.template import Template
from neuralreg.groups.template_steps import LEAST_FIT, target_for
from neuralreg.measures.jacobian import jacobian_determinant
from neuralreg.progress import Progress, silent, stage
from neuralreg.registration.engine import register
from neuralreg.registration.options import RegistrationOptions

# Samples that the last step moves: larger ones leave a tenth of a change undone, smaller follow
# noise.
_SETTLED = 0.002
_LEAST_VOLUME = 1e-3  # of a determinant, so that a fold has a logarithm
Pair = tuple[str, str]


def pairs_in_time(scans: Sequence[Subject]) -> list[Pair]:
    """Names of scans that are neighbors in time, and of the first and the last one."""
    names = [one.name for one in sorted(scans, key=lambda one: one.position)]
    return [*pairwise(names), *([(names[0], names[-1])] if len(names) > 2 else [])]


def linear_changes(template: Template, pairs: Sequence[Pair]) -> dict[Pair, Image]:
    """Logarithms of the change of volume by the transforms of the template alone."""
    logs = {name: _log_volume(field) for name, field in template.fields.items()}
    return {(one, two): Image(logs[two] - logs[one], template.image.grid) for one, two in pairs}


def measure_changes(
    midspace: Template,
    scans: Sequence[Subject],
    pairs: Sequence[Pair],
    options: RegistrationOptions,
    notes: list[str],
    progress: Progress = silent,
) -> dict[Pair, Image]:
    """Logarithms of the change of volume from one scan to another, on the grid of the midspace.

    Both scans are resampled there, and registered to each other in both directions; half the
    difference of the two logarithms counts, so that the other order of time gives the negative and
    a preference of the registration for shrinking or growing falls out. Source: Reuter & Fischl
    2011, doi:10.1016/j.neuroimage.2011.02.076, on why both are treated alike.

    Args:
        midspace: with a rigid way to each scan.
        scans: of it.
        pairs: names of the scans before and after.
        options: of the registrations; nothing is aligned before them.
        notes: warnings of the registrations are appended.
        progress: called with a fraction and a message; raise `Cancelled` in it to stop.

    Returns:
        By pair: 0 where nothing changed, log 2 where tissue doubled.
    """
    grid = midspace.image.grid
    images = {}
    for scan in scans:
        image = scan.read()
        unit = Image(normalize(image), image.grid)
        images[scan.name] = warp(
            unit, midspace.fields[scan.name], grid, interpolation="bspline", outside=0.0
        )
    changes = {}
    for number, pair in enumerate(pairs):
        logs = []
        for side, (one, two) in enumerate((pair, pair[::-1])):
            part = stage(
                progress, (2 * number + side) / (2 * len(pairs)),
                (2 * number + side + 1) / (2 * len(pairs)),
            )  # fmt: skip
            part(0.0, f"{one} to {two}")
            between = images[one], images[two]
            log = _log_change(*between, options, f"{one} to {two}", notes, part)
            if log is not None:
                logs.append(log if side == 0 else -log)
        nothing = torch.zeros(1, *grid.shape)
        changes[pair] = Image(torch.stack(logs or [nothing]).mean(0), grid)
    return changes


def _log_change(
    one: Image,
    two: Image,
    options: RegistrationOptions,
    name: str,
    notes: list[str],
    progress: Progress,
) -> Tensor | None:
    """Logarithm of the change of volume in one direction, (1, z, y, x).

    By steps that go on until nothing moves; where these do not fit or another way was asked for,
    by `register`, and None where that found that bending explains no more of the image.
    """
    target = target_for([one], options, _SETTLED)
    if target is not None:
        still = LinearTransform.identity(one.grid.dimension)
        field, fit = target.follow([two], still, DisplacementField.identity(one.grid))
        if fit >= LEAST_FIT:
            return _log_volume(field)
        notes.append(
            f"{name} was registered as two modalities are: the local correlation is {fit:.2f}"
        )
    result = register(one, two, options.replace(linear="none"), progress=progress)
    notes += [f"{name}: {words}" for words in result.warnings]
    if not result.outcome.displacement_max_mm > 0:
        return None
    return _log_volume(result.field.resample(one.grid))


def _log_volume(field: DisplacementField) -> Tensor:
    return jacobian_determinant(field).clamp(min=_LEAST_VOLUME).log()[None].float()


def percent_by_label(changes: Mapping[Pair, Image], labels: Image) -> dict[int, dict[Pair, float]]:
    """Change of the volume of each label in percent.

    Args:
        changes: by pair.
        labels: on the grid of the midspace.
    """
    table: dict[int, dict[Pair, float]] = {}
    for label in (int(n) for n in torch.unique(labels.data.long()) if n != 0):
        inside = labels.data == label
        table[label] = {
            pair: 100 * (float(change.data[inside].exp().mean()) - 1)
            for pair, change in changes.items()
        }
    return table
