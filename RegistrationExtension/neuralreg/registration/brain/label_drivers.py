"""Structures that a network finds in two brains, as labels that drive a registration."""

from __future__ import annotations

from dataclasses import replace

from neuralreg.errors import InvalidImage
from neuralreg.progress import Progress, stage
from neuralreg.registration.brain.structures import LABELS, label_brain
from neuralreg.registration.guides.label_maps import LabelPair
from neuralreg.registration.image_checks import Inputs


def drive_by_network(inputs: Inputs, weight: float, device: str, progress: Progress) -> Inputs:
    """The inputs, with the structures of both brains as labels that drive.

    Args:
        inputs: T1-weighted images of brains.
        weight: of the labels beside the images.
        device: as `register` takes it.
        progress: gets a fraction and a message.

    Raises:
        InvalidImage, WeightsUnavailable, ...: as `label_brain`.
    """
    maps = []
    for n, (role, image) in enumerate((("fixed", inputs.fixed), ("moving", inputs.moving))):
        part = stage(progress, n / 2, (n + 1) / 2)
        try:
            brain = label_brain(image, sides=True, device=device, progress=part)
        except InvalidImage as error:
            raise error.at(f"{role} image") from error
        inputs.notes.extend(f"{role} image: {words}" for words in brain.warnings)
        maps.append(brain.labels)
    pair = LabelPair.of(maps[0], maps[1], weight, inputs.notes)
    inputs.notes.append(
        f"{len(pair.labels)} structures that {LABELS} labeled in both images drove the result; "
        "that they overlap is no proof of it, also in a check by such labels (--label-check)"
    )
    return replace(inputs, labels=pair)
