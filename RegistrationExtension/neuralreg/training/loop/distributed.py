"""Processes that train together: one per GPU, started by torchrun."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch
from torch import distributed, nn

from neuralreg.devices import choose_device


@dataclass(frozen=True)
class Team:
    """One process of several that train one network.

    Attributes:
        number: from 0; the first one leads.
        size: number of processes.
        device: of this process.
    """

    number: int
    size: int
    device: torch.device

    @classmethod
    def alone(cls, device: torch.device) -> Team:
        """A training in one process."""
        return cls(0, 1, device)

    @classmethod
    def join(cls, device: str) -> Team:
        """The team of torchrun's environment, or a training alone.

        Each process takes the GPU of its local number; on a CPU they communicate by gloo.
        """
        size = int(os.environ.get("WORLD_SIZE", "1"))
        chosen = choose_device(device)
        if size == 1:
            return cls.alone(chosen)
        if chosen.type == "cuda":
            chosen = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
            torch.cuda.set_device(chosen)
        if not distributed.is_initialized():
            distributed.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
        return cls(distributed.get_rank(), size, chosen)

    @property
    def leads(self) -> bool:
        """Whether this process writes files and messages."""
        return self.number == 0

    @property
    def share(self) -> tuple[int, int]:
        """Which part of each batch is for this process."""
        return self.number, self.size

    def share_gradients(self, module: nn.Module) -> nn.Module:
        """The module, whose gradients are averaged over all processes."""
        if self.size == 1:
            return module
        devices = [self.device] if self.device.type == "cuda" else None
        # LKU-Net, for one, has a layer that nothing uses.
        return nn.parallel.DistributedDataParallel(
            module, device_ids=devices, find_unused_parameters=True
        )

    def any(self, flag: bool) -> bool:
        """Whether it is so in any process."""
        if self.size == 1:
            return flag
        highest = torch.tensor(float(flag), device=self.device)
        distributed.all_reduce(highest, distributed.ReduceOp.MAX)
        return bool(highest)

    def broadcast(self, metrics: dict[str, float]) -> dict[str, float]:
        """The leader's metrics, in all processes."""
        if self.size == 1:
            return metrics
        box = [metrics]
        distributed.broadcast_object_list(box, src=0, device=self.device)
        return box[0]

    def leave(self) -> None:
        """End the communication between the processes."""
        if self.size > 1 and distributed.is_initialized():
            distributed.destroy_process_group()
