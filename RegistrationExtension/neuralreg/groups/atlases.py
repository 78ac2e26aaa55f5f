"""Segmentation by several atlases: registered, ranked by similarity, and fused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from neuralreg.errors import InvalidOption
from neuralreg.geometry.image import Image
from neuralreg.groups.label_fusion import FusedLabels, Fusion, fuse_labels
from neuralreg.groups.subjects import Subject, normalize, read_subjects
from neuralreg.io.image_files import read_labels
from neuralreg.io.resample import warp, warp_labels
from neuralreg.measures.local_correlation import lncc
from neuralreg.progress import Progress, silent, stage
from neuralreg.registration.engine import register
from neuralreg.registration.options import RegistrationOptions
from neuralreg.registration.result import RegistrationResult
from neuralreg.registration.working_grid import foreground

_LEAST_AGREEMENT = 0.6  # mean Dice between atlases: below it their labels say little


@dataclass(frozen=True, eq=False)
class RegisteredAtlas:
    """One atlas on the grid of the image.

    Attributes:
        similarity: local correlation with the image over its body, 0 to 1.
    """

    atlas: Subject
    result: RegistrationResult
    image: Image
    labels: Image
    similarity: float


@dataclass(frozen=True, eq=False)
class AtlasSegmentation:
    """What several atlases say about an image.

    Attributes:
        atlases: all of them, the most similar first.
        used: how many of these were fused.
        notes: what a person should know, in words.
    """

    fused: FusedLabels
    atlases: tuple[RegisteredAtlas, ...]
    used: int
    notes: tuple[str, ...]


def read_atlases(table: Path) -> tuple[list[Subject], list[str]]:
    """The atlases of a table with the columns `image` and `labels`.

    Raises:
        InvalidOption: one has no labels, or there are fewer than two.
        UnreadableFile: a file is missing or damaged.
    """
    atlases, notes = read_subjects([table])
    without = [one.name for one in atlases if one.labels is None]
    if without:
        raise InvalidOption(
            "an atlas is an image and its labels", where=str(table),
            got=f"no labels of {', '.join(without)}", wanted="columns image and labels",
        )  # fmt: skip
    return atlases, notes


def segment_by_atlases(
    image: Image,
    atlases: Sequence[Subject],
    method: Fusion = Fusion.JOINT,
    *,
    best: int | None = None,
    options: RegistrationOptions | None = None,
    progress: Progress = silent,
) -> AtlasSegmentation:
    """Labels of an image by atlases that are registered to it.

    Args:
        image: (1, z, y, x).
        atlases: images with label maps.
        method: of fusion.
        best: how many of the most similar atlases are fused; all unless given.
        options: of each registration.
        progress: called with a fraction and a message; raise `Cancelled` in it to stop.

    Raises:
        InvalidOption: `best` is below 1.
        RegistrationError: an atlas cannot be registered.
    """
    if best is not None and best < 1:
        raise InvalidOption("at least one atlas is fused", got=f"{best}")
    registered = []
    for number, atlas in enumerate(atlases):
        part = stage(progress, number / len(atlases), (number + 1) / len(atlases))
        part(0.0, atlas.name)
        registered.append(_register(image, atlas, options or RegistrationOptions(), part))
    registered.sort(key=lambda one: -one.similarity)
    chosen = registered[: best or len(registered)]
    fused = fuse_labels(
        image, [one.image for one in chosen], [one.labels for one in chosen], method
    )
    notes = [f"{one.atlas.name}: {words}" for one in registered for words in one.result.warnings]
    weak = {n: v for n, v in fused.agreement.items() if v < _LEAST_AGREEMENT}
    if weak and len(chosen) > 1:
        names = ", ".join(f"{name} ({value:.2f})" for name, value in weak.items())
        notes.append(f"the atlases disagree on the labels {names}: look at these")
    return AtlasSegmentation(fused, tuple(registered), len(chosen), tuple(notes))


def _register(
    image: Image, atlas: Subject, options: RegistrationOptions, progress: Progress
) -> RegisteredAtlas:
    moving = atlas.read()
    assert atlas.labels is not None
    labels = read_labels(atlas.labels)
    result = register(image, moving, options, progress=progress)
    warped = warp(moving, result.field, image.grid)
    one, two = (Image(normalize(each), image.grid) for each in (image, warped))
    weight = foreground(one).float()[None, None]
    similarity = 1 - float(lncc(one.data[None], two.data[None], weight=weight))
    return RegisteredAtlas(
        atlas, result, warped, warp_labels(labels, result.field, image.grid), similarity
    )
