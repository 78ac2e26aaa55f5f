"""The registrations of a template to all subjects of its group, one round after another."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch

from neuralreg.geometry.field import DisplacementField
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.image import Image
from neuralreg.geometry.linear import LinearTransform
from neuralreg.groups.frame_alignment import FrameAligner, choose_linear
from neuralreg.groups.subjects import Subject, normalize
from neuralreg.groups.template_steps import LEAST_FIT, TemplateTarget, target_for
from neuralreg.io.files import sha256_of, write_whole
from neuralreg.progress import Progress, stage
from neuralreg.registration.engine import register
from neuralreg.registration.image_checks import prepare
from neuralreg.registration.options import LinearAlignment, RegistrationOptions


@dataclass(eq=False)
class TemplatePairs:
    """How the pairs of template and subject are registered.

    Attributes:
        subjects: of the group.
        options: of each pair. With the model "auto" and a similarity for one modality, the steps of
            `template_steps` do it, and `register` only where they fail.
        cache: a folder in which deformable registrations are kept for a build that was stopped.
        notes: warnings, appended in words.
    """

    subjects: tuple[Subject, ...]
    options: RegistrationOptions
    cache: Path
    notes: list[str]
    alignments: dict[str, LinearTransform] = field(default_factory=dict)

    def align(
        self, image: Image, poses: Mapping[str, LinearTransform], progress: Progress
    ) -> dict[str, DisplacementField]:
        """The affine ways from a template to all subjects, which deformable ones begin with.

        Args:
            image: the template.
            poses: rigid, template to subject.
            progress: called with a fraction and a message.
        """
        template = prepare(image, "template")[0]
        aligner = FrameAligner(template, affine=True)
        still = LinearTransform.identity(image.grid.dimension)
        for number, subject in enumerate(self.subjects):
            progress(number / len(self.subjects), f"affine: {subject.name}")
            pose, moving = poses[subject.name], subject.read()
            posed = Image(moving.data, _move(moving.grid, pose.inverse()))
            (alignment,) = aligner.align([posed], [still])
            affine = choose_linear(
                alignment, template, posed, LinearAlignment.AFFINE, subject.name, self.notes
            )
            self.alignments[subject.name] = affine.then(pose)
        return {
            name: DisplacementField.from_linear(one, image.grid)
            for name, one in self.alignments.items()
        }

    def register(
        self,
        images: Sequence[Image],
        former: Mapping[str, DisplacementField],
        progress: Progress,
    ) -> dict[str, DisplacementField]:
        """The deformable ways from a template to all subjects, on its grid.

        Args:
            images: the template, an image of each channel.
            former: of the round before, moved along with the template.
            progress: called with a fraction and a message; raise `Cancelled` in it to stop.
        """
        template = [prepare(image, "template")[0] for image in images]
        target = target_for(template, self.options)
        fields = {}
        for number, subject in enumerate(self.subjects):
            part = stage(progress, number / len(self.subjects), (number + 1) / len(self.subjects))
            part(0.0, f"deformable: {subject.name}")
            start = former[subject.name]
            kept = self._kept_path(images, start, subject)
            if kept.is_file():
                fields[subject.name] = _load(kept, images[0].grid)
                continue
            way = None if target is None else self._follow(target, subject, start)
            fields[subject.name] = self._search(template, subject, part) if way is None else way
            _save(fields[subject.name], kept)
        return fields

    def _follow(
        self, target: TemplateTarget, subject: Subject, start: DisplacementField
    ) -> DisplacementField | None:
        image = subject.read()
        unit = [Image(normalize(i), i.grid) for i in (image, *subject.read_channels())]
        mask = subject.read_mask(image)
        way, fit = target.follow(unit, self.alignments[subject.name], start, mask)
        if fit >= LEAST_FIT:
            return way
        self.notes.append(
            f"{subject.name} was registered as two modalities are: its local correlation with the "
            f"template is {fit:.2f}"
        )
        return None

    def _search(
        self, template: Sequence[Image], subject: Subject, progress: Progress
    ) -> DisplacementField:
        image = subject.read()
        result = register(
            template[0], image, self.options,
            initial=self.alignments[subject.name], moving_mask=subject.read_mask(image),
            channels=list(zip(template[1:], subject.read_channels(), strict=True)),
            progress=progress,
        )  # fmt: skip
        self.notes += [f"{subject.name}: {words}" for words in result.warnings]
        return result.field.resample(template[0].grid)

    def _kept_path(
        self, images: Sequence[Image], start: DisplacementField, subject: Subject
    ) -> Path:
        """A name that says all that the registration depends on."""
        key = hashlib.sha256()
        for image in images:
            key.update(image.data.contiguous().numpy().tobytes())
        key.update(start.vectors.contiguous().numpy().tobytes())
        key.update(self.alignments[subject.name].matrix.tobytes())
        key.update(json.dumps(images[0].grid.to_record()).encode())
        options = {**asdict(self.options), "of": [sha256_of(path) for path in subject.files]}
        key.update(json.dumps(options, sort_keys=True, default=str).encode())
        return self.cache / f"{subject.name}-{key.hexdigest()[:20]}.npy"


def _move(grid: Grid, rigid: LinearTransform) -> Grid:
    """The grid of an image that was moved rigidly: the values stay."""
    d = grid.dimension
    direction = rigid.matrix[:d, :d] @ np.reshape(grid.direction, (d, d))
    origin = rigid(np.array([grid.origin]))[0]
    return Grid(grid.size, grid.spacing, tuple(origin.tolist()), tuple(direction.ravel().tolist()))


def _save(field_: DisplacementField, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with write_whole(path) as draft, draft.open("wb") as file:
        np.save(file, field_.vectors.float().numpy())


def _load(path: Path, grid: Grid) -> DisplacementField:
    return DisplacementField(torch.from_numpy(np.load(path)), grid)
