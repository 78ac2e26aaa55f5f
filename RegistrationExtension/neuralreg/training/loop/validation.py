"""Figures of a model on the validation pairs, at the resolution of the network."""

from __future__ import annotations

import torch
from torch import Tensor

from neuralreg.composition.transforms import warp_to
from neuralreg.geometry.normalized import identity_map
from neuralreg.measures.regularity import jacobian_of
from neuralreg.training.data.pairs import Batch, Batches
from neuralreg.training.losses.label_losses import dice
from neuralreg.training.losses.training_step import TrainingStep
from neuralreg.training.model.methods import Conditional, voxels_of


class Validation:
    """Mean losses over all validation pairs, "dice" of the labels, and "folding_percent".

    Dice: of labels cut at 0.5, over those that the fixed image has; each pair has the same weight.

    Args:
        step: gives the losses of a batch.
        batches: of the validation.
        device: of the model.
    """

    def __init__(self, step: TrainingStep, batches: Batches, device: torch.device) -> None:
        self.step, self.batches, self.device = step, batches, device

    @property
    def names(self) -> list[str]:
        """Of the figures that there will be."""
        conditional = isinstance(self.step.model, Conditional)
        dice = ["dice"] if conditional or self.batches.pairs.labeled else []
        return [*self.step.names, *dice, *([] if conditional else ["folding_percent"])]

    def __call__(self) -> dict[str, float]:
        """The figures, by name."""
        sums: dict[str, float] = {}
        count = 0
        for batch in self.batches(0):
            on_device = {key: values.to(self.device) for key, values in batch.items()}
            pairs = len(on_device["fixed"])
            count += pairs
            for name, value in self._of(on_device).items():
                sums[name] = sums.get(name, 0.0) + pairs * value
        return {name: total / max(count, 1) for name, total in sums.items()}

    def _of(self, batch: Batch) -> dict[str, float]:
        with torch.no_grad():
            figures = {name: float(value) for name, value in self.step(batch).items()}
            model = self.step.model
            if isinstance(model, Conditional):
                predicted_label = model(batch["fixed"], batch["moving"], batch["moving_labels"])
                return figures | {"dice": _overlap(batch["fixed_labels"], predicted_label)}
            prediction = self.step.find(batch)
            coordinates = prediction.forward(identity_map(prediction.shape, prediction.like))
            if "fixed_labels" in batch:
                warped, _ = warp_to(coordinates, batch["moving_labels"])
                figures["dice"] = _overlap(batch["fixed_labels"], warped)
            folded = jacobian_of(voxels_of(coordinates)) <= 0
            return figures | {"folding_percent": 100 * float(folded.double().mean())}


def _overlap(fixed: Tensor, warped: Tensor) -> float:
    """Mean Dice of the labels that are there in the fixed image; 1 where none is."""
    prediction = [
        1 - float(dice(f[None, None], w[None, None], binary=True))
        for one, other in zip(fixed, warped, strict=True)
        for f, w in zip(one, other, strict=True)
        if float(f.amax()) >= 0.5
    ]
    return sum(prediction) / len(prediction) if prediction else 1.0
