"""Sizes that a network cannot be trained on, said before the training begins."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import nn

from neuralreg.errors import InvalidOption, OutOfMemory
from neuralreg.training.config import schema
from neuralreg.training.model.pad_to_size import AnySize


def smallest_batch(pairs: int, batch_size: int) -> int:
    """Pairs in the smallest batch of an epoch: the last one may not be full."""
    return pairs % batch_size or batch_size


def require_sizes(model: nn.Module, dataset: schema.Dataset, batch: int) -> None:
    """Check that each backbone takes the sizes that it is trained on.

    The model stays as it is. What it computes is tried on tensors without values first, which
    costs nothing; only what fails so is tried in earnest.

    Args:
        model: as `build_model` makes it.
        dataset: of the training.
        batch: pairs in the smallest batch of an epoch.

    Raises:
        InvalidOption: one does not, as with batch norm over a single value; with its name.
    """
    for part in model.modules():
        if not isinstance(part, AnySize) or part.built_for is None:
            continue
        if _error_of(part, batch, torch.device("meta")) is None:
            continue
        error = _error_of(part, batch, next(iter(part.parameters()), torch.empty(0)).device)
        if error is not None:
            raise _refusal(part, dataset, batch, error) from error


def _error_of(part: AnySize, batch: int, device: torch.device) -> Exception | None:
    """What goes wrong in one pass of a copy in training mode."""
    assert part.built_for is not None  # checked by the caller
    images = [torch.zeros(batch, 1, *part.built_for.shape, device=device)] * part.built_for.inputs
    try:
        with torch.no_grad():  # networks keep tensors beside their buffers, and move them as well
            deepcopy(part).to(device).train()(*images)
    except Exception as error:
        if OutOfMemory.matches(error):
            raise
        return error
    return None


def _refusal(part: AnySize, dataset: schema.Dataset, batch: int, error: Exception) -> InvalidOption:
    assert part.built_for is not None  # checked by the caller
    size = " x ".join(map(str, part.built_for.shape[::-1]))
    return InvalidOption(
        f"the backbone {part.built_for.name} cannot be trained on images of this size",
        where="dataset.patch.size" if dataset.patch else "dataset.size",
        got=f"{size} samples, {batch} pairs in the smallest batch of an epoch: "
        f"{str(error).splitlines()[0] if str(error) else type(error).__name__}",
        remedy="Use more samples, a larger training.batch_size that divides the number of pairs, "
        "or a backbone with fewer levels (depth, extract_levels).",
    )
