"""What a training step minimizes: the losses of a configuration on a batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from neuralreg.composition.transforms import Transform, warp_to
from neuralreg.errors import InvalidOption
from neuralreg.geometry.normalized import identity_map
from neuralreg.training.config import schema
from neuralreg.training.config.part_registry import LOSSES
from neuralreg.training.data.pairs import Batch
from neuralreg.training.model.methods import Conditional, Prediction

Term = tuple[str, float, Callable[..., Tensor]]
TOTAL = "loss"


class TrainingStep(nn.Module):
    """A model with its losses: `step(batch)` gives each loss by name, and their sum as "loss".

    Names are "image/lncc", "label/dice" and so on, numbered where one comes twice. Losses with
    weight 0 are left out. Image losses count where the moving image was seen, and inside of both
    masks where there are.

    Raises:
        InvalidOption: labels are asked for and the batch has none, or an image or deformation loss
            is asked of a conditional model.
    """

    def __init__(self, model: nn.Module, config: schema.Loss) -> None:
        super().__init__()
        self.model, self.symmetric = model, config.symmetric
        self.image, self.label, self.deformation = (
            _terms(on, getattr(config, on)) for on in LOSSES
        )
        if isinstance(model, Conditional) and (self.image or self.deformation):
            raise InvalidOption(
                "a conditional model has no transform: only label losses apply",
                got=", ".join(name for name, _, _ in (*self.image, *self.deformation)),
                remedy="Remove them, or give them weight 0.",
            )

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """The losses of a batch; differentiable.

        Under autocast networks compute in short numbers, losses never: variances would drown.
        """
        if isinstance(self.model, Conditional):
            losses = self._label_losses(batch)
        else:
            losses = self._transform_losses(batch)
        weights = {name: w for name, w, _ in (*self.image, *self.label, *self.deformation)}
        losses[TOTAL] = torch.stack([weights[name] * value for name, value in losses.items()]).sum()
        return losses

    @property
    def names(self) -> list[str]:
        """Of the losses that a batch has, with the total."""
        return [*(name for name, _, _ in (*self.image, *self.label, *self.deformation)), TOTAL]

    def find(self, batch: Batch) -> Prediction:
        """What the model says about a batch."""
        return predict_transforms(self.model, batch["fixed"], batch["moving"])

    def _label_losses(self, batch: Batch) -> dict[str, Tensor]:
        fixed, moving = _labels(batch)
        predicted = self.model(batch["fixed"], batch["moving"], moving)
        with torch.autocast(fixed.device.type, enabled=False):
            return {name: loss(fixed, predicted) for name, _, loss in self.label}

    def _transform_losses(self, batch: Batch) -> dict[str, Tensor]:
        prediction = self.find(batch)
        with torch.autocast(prediction.like.device.type, enabled=False):
            losses = self._similarity_losses(batch, prediction.coordinates, "fixed", "moving")
            if self.symmetric:
                backward = prediction.backward(identity_map(prediction.shape, prediction.like))
                other = self._similarity_losses(batch, backward, "moving", "fixed")
                losses = {name: (value + other[name]) / 2 for name, value in losses.items()}
            return losses | {name: loss(prediction) for name, _, loss in self.deformation}

    def _similarity_losses(
        self, batch: Batch, coordinates: Tensor, onto: str, from_: str
    ) -> dict[str, Tensor]:
        """The image and label losses of one direction."""
        losses = {}
        if self.image:
            warped, counted = warp_to(coordinates, batch[from_])
            if f"{from_}_mask" in batch:
                counted = counted * batch[f"{onto}_mask"]
                counted = counted * warp_to(coordinates, batch[f"{from_}_mask"])[0]
            losses = {n: loss(batch[onto], warped, weight=counted) for n, _, loss in self.image}
        if self.label:
            labels = dict(zip(("fixed", "moving"), _labels(batch), strict=True))
            warped, _ = warp_to(coordinates, labels[from_])
            losses |= {name: loss(labels[onto], warped) for name, _, loss in self.label}
        return losses


def predict_transforms(model: nn.Module, fixed: Tensor, moving: Tensor) -> Prediction:
    """What a model says about images (n, 1, z, y, x)."""
    kind = fixed.device.type
    short = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None

    def exchange() -> Transform:
        with torch.autocast(kind, dtype=short, enabled=short is not None):
            transform: Transform = model(moving, fixed)
            return transform

    return Prediction(model(fixed, moving), exchange, tuple(fixed.shape[2:]), fixed)


def _labels(batch: Batch) -> tuple[Tensor, Tensor]:
    try:
        return batch["fixed_labels"], batch["moving_labels"]
    except KeyError as error:
        raise InvalidOption(
            "a label loss needs labels",
            got="images without",
            remedy="Set `labeled: true` for the split, or remove the label losses.",
        ) from error


def _terms(on: str, losses: Sequence[schema.WeightedLoss]) -> list[Term]:
    used = [loss for loss in losses if loss.weight > 0]
    names = [loss.name for loss in used]
    terms: list[Term] = []
    for n, loss in enumerate(used):
        options = LOSSES[on].options(loss.name, loss.options)
        again = names[:n].count(loss.name)
        name = f"{on}/{loss.name}" + (f"_{again + 1}" if again else "")
        terms.append((name, loss.weight, partial(LOSSES[on].find(loss.name), **options)))
    return terms
