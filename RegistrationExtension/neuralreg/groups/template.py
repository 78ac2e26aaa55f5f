"""An average of a group whose shape is the mean of the shapes in it, favouring nobody."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from neuralreg.errors import InvalidOption
from neuralreg.geometry.field import DisplacementField, compose
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.image import Image
from neuralreg.geometry.linear import LinearTransform
from neuralreg.geometry.sampling import magnitude, slopes
from neuralreg.geometry.warp import warp
from neuralreg.groups.choices import Deformation, choose
from neuralreg.groups.frame_alignment import FrameAligner
from neuralreg.groups.mean_shape import (
    mean_rigid,
    points_inside,
    root_mean_square,
    toward_mean,
    without_pose,
)
from neuralreg.groups.subjects import Subject, normalize
from neuralreg.groups.template_pairs import TemplatePairs
from neuralreg.io.image_files import read_grid
from neuralreg.measures.local_correlation import lncc
from neuralreg.progress import Progress, silent, stage
from neuralreg.registration.options import LinearAlignment, RegistrationOptions
from neuralreg.registration.prealign import prealign
from neuralreg.registration.working_grid import foreground, overlap_mask

Combination = Literal["mean", "median"]
_MOST_TURNED = 60.0  # degrees from the mean pose: beyond it a mean of poses says nothing
_ALIKE = 0.85  # correlation of subjects in one pose
_ENOUGH = 0.1  # voxels that the mean shape moves: below it a further round changes nothing visible
_GAIN = 0.9  # of the movement of the round before: what does not shrink any more is noise
_OUTLIER = 3.5  # robust standard deviations, Iglewicz & Hoaglin 1993
_KEPT_SAMPLES = 1 << 26  # of all subjects: fewer are warped once, more once for each use
_OUTLIER_LEAST = 0.05  # of local correlation: groups of very alike images have no outliers


@dataclass(frozen=True)
class TemplateOptions:
    """How a template is built.

    Attributes:
        deformation: how far the subjects may differ: "rigid", "affine" or "deformable".
        rounds: deformable ones at most, after a rigid and an affine one.
        combination: of the intensities of all subjects at a voxel.
        spacing_mm: of the template; the median of the subjects' finest unless given.
        registration: of each pair.

    Raises:
        InvalidOption: for an unknown deformation, a number of rounds below 0, or a spacing that is
            not positive.
    """

    deformation: Deformation = Deformation.DEFORMABLE
    rounds: int = 4
    combination: Combination = "mean"
    spacing_mm: float | None = None
    registration: RegistrationOptions = field(default_factory=RegistrationOptions)

    def __post_init__(self) -> None:
        chosen = choose(Deformation, self.deformation, "deformation")
        object.__setattr__(self, "deformation", chosen)
        if self.rounds < 0 or (self.spacing_mm is not None and not self.spacing_mm > 0):
            raise InvalidOption(
                "a template takes rounds and a spacing that are not negative",
                got=f"rounds={self.rounds}, spacing_mm={self.spacing_mm}",
            )

    def as_record(self) -> dict[str, object]:
        """Plain values, ready for JSON."""
        return {**asdict(self), "registration": self.registration.as_record()}


@dataclass(frozen=True)
class Round:
    """One line of the table of a template.

    Attributes:
        kind: "rigid", "affine" or "deformable".
        shape_change_mm: root mean square over the body of the way to the mean shape.
        image_change: root mean square difference to the template before, relative to its own.
        sharpness: mean length of the gradient over the body, per mm.
        similarity: mean over the subjects of their local correlation with the template, 0 to 1.
    """

    number: int
    kind: str
    shape_change_mm: float
    image_change: float
    sharpness: float
    similarity: float


@dataclass(frozen=True, eq=False)
class Template:
    """A template, and the way from it to each subject.

    Attributes:
        images: intensities of about 0 to 1; of the subjects' images, then of each channel.
        channels: their names.
        fields: by name of the subject: template to subject, on the template's grid.
        similarities: by name: local correlation of the subject with the template, 0 to 1.
        rounds: how it came about.
        notes: outliers and whatever else a person should know, in words.
    """

    images: tuple[Image, ...]
    channels: tuple[str, ...]
    fields: dict[str, DisplacementField]
    similarities: dict[str, float]
    rounds: tuple[Round, ...]
    notes: tuple[str, ...]

    @property
    def image(self) -> Image:
        """Of the subjects' images, without channels."""
        return self.images[0]


def build_template(
    subjects: Sequence[Subject],
    middle: Subject,
    options: TemplateOptions,
    cache: Path,
    progress: Progress = silent,
) -> Template:
    """The mean image of the mean shape.

    All subjects are moved rigidly into their mean pose and averaged. Then, round by round, the
    template is registered to each of them, the mean of the displacements without pose moves the
    template to the mean shape, and the subjects are averaged there, each resampled once.

    Args:
        subjects: in an order that depends on their content only.
        middle: whose field of view the template gets.
        options: how.
        cache: a folder in which each registration is kept until it is asked for again: a build
            that was stopped goes on after the last one.
        progress: called with a fraction and a message; raise `Cancelled` in it to stop.

    Raises:
        RegistrationError: a subject cannot be registered.
    """
    return _Build(tuple(subjects), middle, options, cache, progress).run()


@dataclass(eq=False)
class _Build:
    subjects: tuple[Subject, ...]
    middle: Subject
    options: TemplateOptions
    cache: Path
    progress: Progress
    notes: list[str] = field(default_factory=list)

    def run(self) -> Template:
        kinds = [Deformation.AFFINE, *[Deformation.DEFORMABLE] * self.options.rounds]
        if self.options.deformation is not Deformation.DEFORMABLE:
            kinds = kinds[: self.options.deformation is Deformation.AFFINE]
        steps = len(kinds) + 1
        grid, poses = self._start(stage(self.progress, 0.0, 1 / steps))
        fields = {name: DisplacementField.from_linear(one, grid) for name, one in poses.items()}
        images, similarities = self._average(grid, fields)
        rounds = [self._line(0, "rigid", 0.0, images[0], None, similarities)]
        pairs = TemplatePairs(self.subjects, self.options.registration, self.cache, self.notes)
        for number, kind in enumerate(kinds, start=1):
            part = stage(self.progress, number / steps, (number + 1) / steps)
            if kind is Deformation.AFFINE:
                fields = pairs.align(images[0], poses, part)
            else:
                fields = pairs.register(images, fields, part)
            inside = foreground(images[0])
            mean = self._mean_shape(fields, inside)
            change = root_mean_square(mean, inside)
            step = toward_mean(mean, grid)
            fields = {name: compose(step, each) for name, each in fields.items()}
            former, (images, similarities) = images[0], self._average(grid, fields)
            rounds.append(self._line(number, kind, change, images[0], former, similarities))
            if kind is Deformation.DEFORMABLE and self._has_settled(rounds, min(grid.spacing)):
                break
        self._name_outliers(similarities)
        self.progress(1.0, "done")
        channels = tuple(name for name, _ in self.middle.channels)
        notes = tuple(dict.fromkeys(self.notes))
        return Template(images, channels, fields, similarities, tuple(rounds), notes)

    def _has_settled(self, rounds: list[Round], spacing_mm: float) -> bool:
        changes = [line.shape_change_mm for line in rounds if line.kind == "deformable"]
        return changes[-1] < _ENOUGH * spacing_mm or (
            len(changes) > 1 and changes[-1] > _GAIN * changes[-2]
        )

    def _start(self, progress: Progress) -> tuple[Grid, dict[str, LinearTransform]]:
        """The template's grid in the mean pose, and the rigid way to each subject."""
        reference = self.middle.read()
        aligner = FrameAligner(reference)
        poses = []
        for number, subject in enumerate(self.subjects):
            progress(number / len(self.subjects), f"rigid: {subject.name}")
            if subject is self.middle:
                poses.append(LinearTransform.identity(reference.grid.dimension))
            else:
                poses.append(_pose(aligner, reference, subject.read()))
        center = points_inside(reference.grid, foreground(reference))[0].mean(0)
        pose = mean_rigid(poses, [one.weight for one in self.subjects], center)
        d = len(center)
        turns = [_degrees(one.matrix[:d, :d] @ pose.matrix[:d, :d].T) for one in poses]
        if max(turns) > _MOST_TURNED:
            self.notes.append(
                f"the subjects lie up to {max(turns):.0f} degrees apart: the template lies as "
                f"{self.middle.name} does"
            )
            pose = LinearTransform.identity(d)
        spacing = self.options.spacing_mm or float(
            np.median([min(read_grid(subject.path).spacing) for subject in self.subjects])
        )
        grid = reference.grid.with_spacing([spacing] * d)
        shift = pose(grid.center[None])[0] - grid.center
        grid = Grid(grid.size, grid.spacing, tuple(np.add(grid.origin, shift)), grid.direction)
        back = pose.inverse()
        return grid, {
            subject.name: back.then(one) for subject, one in zip(self.subjects, poses, strict=True)
        }

    def _mean_shape(self, fields: dict[str, DisplacementField], inside: Tensor) -> Tensor:
        total, weights = None, 0.0
        for subject in self.subjects:
            shape = without_pose(fields[subject.name], inside)[0] * subject.weight
            total = shape if total is None else total.add_(shape)
            weights += subject.weight
        assert total is not None
        return total / weights

    def _average(
        self, grid: Grid, fields: dict[str, DisplacementField]
    ) -> tuple[tuple[Image, ...], dict[str, float]]:
        """The subjects at the template's points, and how well each fits the average."""
        combine = _median if self.options.combination == "median" else _mean
        few = len(self.subjects) * grid.count <= _KEPT_SAMPLES
        images, similarities = [], {}
        for channel in range(1 + len(self.middle.channels)):
            warped = self._warp_all(channel, grid, fields)
            kept = list(warped) if few and channel == 0 else None
            values = combine(grid, len(self.subjects), iter(kept) if kept else warped)
            images.append(Image(values, grid))
            if channel == 0:
                again = kept or self._warp_all(channel, grid, fields)
                similarities = self._similarities(images[0], again)
        return tuple(images), similarities

    def _similarities(
        self, average: Image, warped: Iterable[tuple[Tensor, Tensor, float]]
    ) -> dict[str, float]:
        inside = foreground(average)
        similarities = {}
        for subject, (moved, known, _) in zip(self.subjects, warped, strict=True):
            weight = (inside & (known[0] > 0)).float()[None, None]
            similarity = 1 - float(lncc(average.data[None], moved[None], weight=weight))
            similarities[subject.name] = similarity
        return similarities

    def _warp_all(
        self, channel: int, grid: Grid, fields: dict[str, DisplacementField]
    ) -> Iterator[tuple[Tensor, Tensor, float]]:
        """Each subject on the template's grid (1, z, y, x), where it is known, and its weight.

        Args:
            channel: 0 for the images, from 1 for their channels.
            grid: of the template.
            fields: template to subject.
        """
        for subject in self.subjects:
            first, field = subject.read(), fields[subject.name]
            image = subject.read_channels()[channel - 1] if channel else first
            unit = Image(normalize(image), image.grid)
            warped = warp(unit, field, grid, interpolation="bspline", outside=0.0).data
            known = overlap_mask(image.grid, grid, field, warped)[None]
            if (mask := subject.read_mask(first)) is not None:
                known = known * warp(mask, field, grid, outside=0.0).data
            yield warped, known, subject.weight

    def _line(
        self,
        number: int,
        kind: str,
        change: float,
        image: Image,
        former: Image | None,
        similarities: dict[str, float],
    ) -> Round:
        inside = foreground(image)
        size = float(image.data[0][inside].square().mean().sqrt())
        moved = (
            0.0
            if former is None
            else float((image.data - former.data)[0][inside].square().mean().sqrt())
        )
        similarity = float(np.mean(list(similarities.values())))
        line = Round(number, kind, change, moved / size, sharpness(image), similarity)
        self.progress((number + 1) / (self.options.rounds + 2), f"round {number} is ready")
        return line

    def _name_outliers(self, similarities: dict[str, float]) -> None:
        values = np.array(list(similarities.values()))
        middle = float(np.median(values))
        spread = max(1.4826 * float(np.median(np.abs(values - middle))), 1e-6)
        for name, value in similarities.items():
            far = middle - value
            if far > _OUTLIER_LEAST and far / spread > _OUTLIER:
                self.notes.append(
                    f"{name} fits the template much worse than the others (local correlation "
                    f"{value:.2f}, median {middle:.2f}): look at it"
                )


def _pose(aligner: FrameAligner, reference: Image, subject: Image) -> LinearTransform:
    """The rigid way from the reference to a subject.

    Steps from the headers suffice where they end alike: a pose elsewhere would have to explain
    twice as much to the search to be preferred, which images of two subjects never do.
    """
    (alignment,) = aligner.align([subject], [LinearTransform.identity(subject.grid.dimension)])
    if not alignment.failure and alignment.correlation[1] >= _ALIKE:
        return alignment.linear
    return prealign(reference, subject, LinearAlignment.RIGID).linear


def sharpness(image: Image) -> float:
    """Mean length of the gradient over the body, per mm."""
    along = slopes(image.data[0])
    edges = torch.tensor(image.grid.spacing).view(-1, *[1] * image.grid.dimension)
    length = magnitude(along / edges)
    return float(length[foreground(image)].mean())


def _mean(grid: Grid, count: int, warped: Iterator[tuple[Tensor, Tensor, float]]) -> Tensor:
    total, weights = torch.zeros(1, *grid.shape), torch.zeros(1, *grid.shape)
    for values, known, weight in warped:
        total += weight * known * values
        weights += weight * known
    return total / weights.clamp(min=1e-6)


def _median(grid: Grid, count: int, warped: Iterator[tuple[Tensor, Tensor, float]]) -> Tensor:
    """Of the subjects that are known there; weights do not count."""
    stack = np.full((count, *grid.shape), np.nan, np.float16)  # half the memory; 1e-3 of the range
    for n, (values, known, _) in enumerate(warped):
        stack[n] = np.where(known[0].numpy() > 0.5, values[0].numpy(), np.nan)
    rows = [np.nanmedian(stack[:, z].astype(np.float32), 0) for z in range(len(stack[0]))]
    return torch.from_numpy(np.nan_to_num(np.stack(rows), nan=0.0))[None].float()


def _degrees(rotation: np.ndarray) -> float:
    d = len(rotation)
    cosine = (np.trace(rotation) - 1) / 2 if d == 3 else rotation[0, 0]
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))
