"""Gradient descent for registration parameters."""

from __future__ import annotations

from collections.abc import Callable
from math import cos, pi

import torch
from torch import Tensor

_MEMORY, _MEMORY_OF_SQUARES = 0.9, 0.99


def descend(
    parameters: Tensor,
    loss: Callable[[Tensor], Tensor],
    *,
    steps: int,
    rate: float,
    floor: float = 0.0,
    last_rate: float = 0.1,
    after: Callable[[int, Tensor, Tensor], None] | None = None,
) -> Tensor:
    """Parameters after `steps` of Adam, a new tensor.

    Written out instead of taken from torch.optim, whose first use imports torch's compiler: 2 to
    3 s for a registration that takes 10. Source: Kingma & Ba 2015, arXiv 1412.6980, algorithm 1.

    Args:
        parameters: where to begin; not changed.
        loss: gives one number, or one per row of independent parameters.
        steps: how many.
        rate: length of the first steps; it falls to `last_rate` of that along a cosine.
        floor: share of the root mean square gradient that is added to Adam's denominator. Adam
            gives each parameter steps of full length, also where its gradient is only noise (air,
            flat tissue); a floor of 1 leaves those parameters where they are.
        last_rate: share of `rate` in the end.
        after: called with each step's number, the parameters before it, and the losses.
    """
    parameters = parameters.detach().clone()
    mean, square = torch.zeros_like(parameters), torch.zeros_like(parameters)
    quiet = 1e-12
    for step in range(steps):
        parameters.requires_grad_()
        losses = loss(parameters)
        (gradient,) = torch.autograd.grad(losses.sum(), parameters)
        parameters = parameters.detach()
        if after is not None:
            after(step, parameters, losses.detach())
        if step == 0:
            quiet += floor * float(gradient.square().mean().sqrt())
        mean.lerp_(gradient, 1 - _MEMORY)
        square.lerp_(gradient.square(), 1 - _MEMORY_OF_SQUARES)
        unbiased = mean / (1 - _MEMORY ** (step + 1))
        scale = (square / (1 - _MEMORY_OF_SQUARES ** (step + 1))).sqrt_().add_(quiet)
        length = rate * (last_rate + (1 - last_rate) * 0.5 * (1 + cos(pi * step / steps)))
        parameters = parameters - length * unbiased / scale
    return parameters
