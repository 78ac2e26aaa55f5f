"""Volumes and segmentations of the scene as the images and label maps of a training."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from neuralreg.errors import InvalidOption
from neuralreg.worker.serialization import Steps
from slicer.i18n import tr as _

from NeuralRegistrationLib.Scene import Segmentations, Volumes

_KIND = "vtkMRMLSegmentationNode"


@dataclass(frozen=True, eq=False)
class Case:
    """A volume, and the segmentation or label map that belongs to it. name: of the files."""

    volume: object
    labels: object | None
    name: str


def cases(volumes: Iterable, labels: Iterable, validCount: int = 0) -> list[Case]:
    """Which labels belong to which volume: by the volume that a segmentation was drawn on, else
    by its name, which holds that of the volume. validCount: how many are kept for validation.

    Raises InvalidOption for fewer than two volumes, labels of no volume, and volumes without any
    where others have some.
    """
    volumes, labels = list(volumes), list(labels)
    if len(volumes) < 2:
        raise InvalidOption(
            _("a training needs two volumes at least"),
            got=str(len(volumes)),
            remedy=_("Tick more volumes; twenty and more make a useful network."),
        )
    if validCount and not 2 <= validCount <= len(volumes) - 2:
        raise InvalidOption(
            _("a validation takes 2 to {most} of these volumes").format(most=len(volumes) - 2),
            got=str(validCount),
            remedy=_("Training and validation both need pairs: tick more, or validate on none."),
        )
    owners = {node.GetID(): _owner(node, volumes) for node in labels}
    for node in labels:
        if owners[node.GetID()] is None:
            raise InvalidOption(
                _("label maps belong to one of the volumes"),
                got=node.GetName(),
                remedy=_("Choose the volume as its source, or let its name hold that of one."),
            )
    byVolume = {owners[node.GetID()].GetID(): node for node in labels}
    bare = [v.GetName() for v in volumes if labels and v.GetID() not in byVolume]
    if bare:
        raise InvalidOption(
            _("all volumes have labels, or none"),
            got=_("none for {names}").format(names=", ".join(bare)),
            remedy=_("Tick their segmentations, or leave these volumes out."),
        )
    names = _fileNames([v.GetName() for v in volumes])
    return [Case(v, byVolume.get(v.GetID()), n) for v, n in zip(volumes, names, strict=True)]


def arguments(files: Sequence[Case], validCount: int, folder: Path) -> Steps:
    """The job that writes them. validCount: how many, the last ones, are kept for validation."""
    numbers = _numbers(case.labels for case in files)
    written = []
    for number, case in enumerate(files):
        image = yield from Volumes.contentOf(case.volume).record()
        layers = None if case.labels is None else (yield from _layers(case.labels, numbers))
        split = "valid" if number >= len(files) - validCount else "train"
        written.append({"name": case.name, "split": split, "image": image, "layers": layers})
    return {"folder": str(folder), "cases": written}


def labelNames(files: Sequence[Case]) -> dict[str, int]:
    """Which number each segment gets, by its name: the same in all cases."""
    return _numbers(case.labels for case in files)


def _owner(node, volumes: Sequence):
    if node.IsA(_KIND):
        reference = node.GetNodeReference(node.GetReferenceImageGeometryReferenceRole())
        if reference is not None and reference in volumes:
            return reference
    fitting = [v for v in volumes if v.GetName() and v.GetName() in node.GetName()]
    return max(fitting, key=lambda v: len(v.GetName()), default=None)


def _numbers(nodes: Iterable) -> dict[str, int]:
    names: dict[str, int] = {}
    for node in nodes:
        if node is not None and node.IsA(_KIND):
            segmentation = node.GetSegmentation()
            for segmentId in Segmentations.segmentIds(node):
                names.setdefault(segmentation.GetSegment(segmentId).GetName(), len(names) + 1)
    return names


def _layers(node, numbers: Mapping[str, int]) -> Steps:
    if not node.IsA(_KIND):
        return [{"voxels": (yield from Volumes.contentOf(node).record()), "numbers": {}}]
    segmentation, layers = node.GetSegmentation(), []
    for stored, values in Segmentations.layersOf(node):
        named = {
            str(value): numbers[segmentation.GetSegment(each).GetName()]
            for each, value in values.items()
        }
        layers.append({"voxels": (yield from stored.record()), "numbers": named})
    return layers


def _fileNames(names: Sequence[str]) -> list[str]:
    """Names that every file system takes, each another one."""
    written: list[str] = []
    for name in names:
        plain = re.sub(r"[^\w.-]+", "_", name).strip("._") or "image"
        free = (plain, *(f"{plain}_{n}" for n in range(2, len(names) + 2)))
        written.append(next(n for n in free if n not in written))
    return written
