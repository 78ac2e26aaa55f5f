"""The files of a template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from neuralreg.geometry.image import Image
from neuralreg.geometry.inverse import invert
from neuralreg.geometry.warp import warp
from neuralreg.groups.group_files import RECORD, write_record, write_table
from neuralreg.groups.subjects import Subject
from neuralreg.groups.template import Template
from neuralreg.io.files import draft_folder
from neuralreg.io.image_files import read_grid, read_labels, write_image
from neuralreg.io.transform_files import write_transform

CACHE = "registrations"  # in the folder of the results, until the template is written


def write_template(
    template: Template,
    subjects: Sequence[Subject],
    maps: Mapping[str, Image],
    record: Mapping[str, Any],
    folder: Path,
) -> list[str]:
    """Write a template, all transforms and tables; none of them before all are complete.

    Args:
        template: that was built.
        subjects: of it.
        maps: of `label_maps`.
        record: plain values for result.json.
        folder: that exists.

    Returns:
        The names of the files.

    Raises:
        UnwritableOutput: the disk is full or the folder closed.
    """
    with draft_folder(folder, last=RECORD) as draft:
        write_image(template.image, draft / "template.nii.gz")
        for name, image in zip(template.channels, template.images[1:], strict=True):
            write_image(image, draft / f"template_{name}.nii.gz")
        for subject in subjects:
            field = template.fields[subject.name]
            write_transform(field, draft / f"{subject.name}_template_to_subject.nii.gz")
            back = invert(field, grid=read_grid(subject.path))
            write_transform(back, draft / f"{subject.name}_subject_to_template.nii.gz")
        for name, image in maps.items():
            write_image(image, draft / f"{name}.nii.gz")
        header = list(vars(template.rounds[0]))
        rounds = [list(vars(line).values()) for line in template.rounds]
        write_table(draft / "template.csv", header, rounds)
        rows = [[s.name, s.path, f"{template.similarities[s.name]:.4f}"] for s in subjects]
        write_table(draft / "subjects.csv", ("name", "image", "similarity"), rows)
        return write_record(draft, record)


def label_maps(template: Template, subjects: Sequence[Subject]) -> dict[str, Image]:
    """The most probable label at each voxel, and its probability; nothing without labels."""
    labelled = [(one, read_labels(one.labels)) for one in subjects if one.labels is not None]
    if not labelled:
        return {}
    grid = template.image.grid
    names = sorted({int(n) for _, labels in labelled for n in torch.unique(labels.data.long())})
    total = sum(subject.weight for subject, _ in labelled)
    best = torch.full((1, *grid.shape), -1.0)
    label = torch.zeros(1, *grid.shape, dtype=torch.int32)
    for name in names:
        share = torch.zeros(1, *grid.shape)
        for subject, labels in labelled:
            mask = Image((labels.data == name).float(), labels.grid)
            outside = 1.0 if name == 0 else 0.0
            share += (
                subject.weight
                * warp(mask, template.fields[subject.name], grid, outside=outside).data
            )
        better = share / total > best
        best, label = torch.where(better, share / total, best), label.masked_fill(better, name)
    return {"labels": Image(label, grid), "label_probability": Image(best, grid)}
