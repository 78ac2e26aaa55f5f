"""What a run will take, from a step of it: time, memory, or that it does not fit."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from neuralreg.resources import free_memory, reserved_memory
from neuralreg.training.config import schema


@dataclass(frozen=True)
class Forecast:
    """What a run takes.

    Attributes:
        device: that computes.
        parameters: how many numbers are trained.
        step_s: seconds of a step.
        steps: in all.
        total_s: seconds of all steps; reading and validation come on top.
        memory_bytes: largest use of the device's memory; of the process on a CPU; None where the
            system does not say.
    """

    device: str
    parameters: int
    step_s: float
    steps: int
    total_s: float
    memory_bytes: int | None

    def in_words(self) -> str:
        """For a person."""
        memory = "" if self.memory_bytes is None else f", {self.memory_bytes / 2**30:.2g} GiB"
        return (
            f"{self.parameters} parameters on {self.device}: {self.step_s:.2g} s a step, "
            f"{self.steps} steps in about {self.total_s / 60:.2g} min{memory}"
        )


def steps_of(training: schema.Training, batches: int) -> int:
    """Steps of a training of so many batches in an epoch."""
    steps = training.epochs * -(-batches // training.accumulate)
    return min(steps, training.max_steps or steps)


def peak_memory(device: torch.device) -> int | None:
    """The largest use of memory so far, in bytes; None where the system does not say."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    if sys.platform == "win32":
        return None
    import resource

    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kilobytes if sys.platform == "darwin" else kilobytes * 1024


@contextmanager
def within_free_memory() -> Iterator[None]:
    """Have what does not fit into the memory that is free end in an error, not by the system.

    Linux promises more memory than there is, and ends the process that uses it.
    """
    free = free_memory()
    if free is None or sys.platform == "win32":
        yield
        return
    import resource

    before = resource.getrlimit(resource.RLIMIT_DATA)
    limit = reserved_memory() + free
    if before[1] != resource.RLIM_INFINITY:
        limit = min(limit, before[1])
    resource.setrlimit(resource.RLIMIT_DATA, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)
