"""What it means when a step of a training fails, or comes to numbers that are not finite."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from neuralreg.errors import InvalidOption, OutOfMemory, RegistrationError, TrainingDiverged

_TOO_SMALL = re.compile(
    "Expected more than 1 (value per channel|spatial element)|Output size is too small|"
    "Kernel size can't be greater|should be less than the corresponding input dimension|"
    "non-empty 3D or 4D|Sizes of tensors must match|spatial dimensions, but got input"
)


def explain(error: Exception, batch: Mapping[str, Tensor], device: object) -> Exception:
    """The error of a step in words that say what to do; itself where it is of another kind.

    Args:
        error: of torch.
        batch: that was computed.
        device: that computed it.
    """
    if isinstance(error, RegistrationError):
        return error
    if OutOfMemory.matches(error):
        return OutOfMemory(
            "a step does not fit into memory",
            where=str(device),
            remedy="Use a smaller batch_size with accumulate, patches, or precision bfloat16; then "
            "continue with --resume.",
        )
    if not _TOO_SMALL.search(str(error)):
        return error
    images, *_ = batch.values()
    size = " x ".join(str(n) for n in images.shape[:1:-1])
    return InvalidOption(
        "the network cannot take images of this size",
        where=f"model.backbone, dataset.size {size}, {len(images)} pairs in a batch",
        got=str(error).splitlines()[0],
        wanted="more than one value per channel at the deepest level",
        remedy="Use a larger dataset.size, a backbone with fewer levels (depth, extract_levels), "
        "or more pairs in a batch (training.batch_size, and images for them).",
    )


def require_finite(losses: Mapping[str, Tensor], describe: Callable[[], str]) -> None:
    """Check the losses of a step.

    Args:
        losses: by name.
        describe: names the images of the step.

    Raises:
        TrainingDiverged: one is not finite.
    """
    figures = {name: float(v.detach()) for name, v in losses.items()}
    odd = {name: value for name, value in figures.items() if not math.isfinite(value)}
    if odd:
        got = ", ".join(f"{name} {value:g}" for name, value in odd.items())
        raise _divergence("the loss of a step is not finite", got, describe())


def require_finite_gradients(network: nn.Module, describe: Callable[[], str]) -> None:
    """Check the gradients of a step, which the next one would make weights of.

    Args:
        network: after the backward pass.
        describe: names the images of the step.

    Raises:
        TrainingDiverged: one is not finite.
    """
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    if gradients and not bool(torch.stack([g.detach().norm() for g in gradients]).isfinite().all()):
        raise _divergence("the gradient of a step is not finite", "NaN or infinite", describe())


def is_finite(network: nn.Module) -> bool:
    """Whether all weights and statistics of a network are finite."""
    values = [v for v in network.state_dict().values() if v.is_floating_point()]
    return all(bool(v.isfinite().all()) for v in values)


def _divergence(what: str, got: str, where: str) -> TrainingDiverged:
    return TrainingDiverged(
        what,
        where=where,
        got=got,
        remedy="Look at these images (`--check` reads all), or lower training.optimizer.lr or set "
        "training.clip; --resume goes on from the last good checkpoint.",
    )
