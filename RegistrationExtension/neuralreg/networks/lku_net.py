"""LKU-Net: a U-Net whose encoder has large kernels, in 2D and 3D.

Source: Jia et al. 2022, "U-Net vs Transformer: Is U-Net Outdated in Medical Image Registration?",
doi:10.48550/arXiv.2208.04939.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from neuralreg.networks.blocks import CONVOLUTION, TRANSPOSED, Adapting, single
from neuralreg.networks.flow import exponential
from neuralreg.networks.ladder import Ladder

_LARGE = {"ec3", "ec5", "ec7", "ec9"}


class LargeKernel(nn.Module):
    """A large kernel, a small one, a single one and the input, summed: one merged convolution."""

    def __init__(self, channels: int, kernel: int, dimension: int) -> None:
        super().__init__()
        make = CONVOLUTION[dimension]
        self.sizes = {"regular": 3, "large": kernel, "one": 1}
        self.merged = make(channels, channels, kernel, padding=kernel // 2)
        self.layer_nonlinearity = nn.PReLU()
        branches = {
            f"layer_{name}Kernel": nn.Sequential(make(channels, channels, size))
            for name, size in self.sizes.items()
        }
        start = self.merge(nn.ModuleDict(branches).state_dict())
        self.merged.load_state_dict({k.removeprefix("merged."): v for k, v in start.items()})

    def forward(self, values: Tensor) -> Tensor:
        """(n, c, z, y, x) to the same shape."""
        return self.layer_nonlinearity(self.merged(values))  # type: ignore[no-any-return]

    def merge(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The authors' tensors of this block, its three kernels and the input as one kernel.

        They stay as they are when one is missing or has another shape, for strict loading to name.
        """
        state = dict(state)
        large, bias = self.merged.weight, self.merged.bias
        shapes = {
            f"layer_{name}Kernel.0.weight": large.shape[:2] + (size,) * (large.dim() - 2)
            for name, size in self.sizes.items()
        } | {f"layer_{name}Kernel.0.bias": bias.shape for name in self.sizes}
        if any(k not in state or state[k].shape != shape for k, shape in shapes.items()):
            return state
        parts = {name: state.pop(name) for name in shapes}
        size = large.shape[-1]
        kernels = [_centered(v, size) for k, v in parts.items() if k.endswith("weight")]
        same = torch.eye(len(large)).to(kernels[0]).view(large.shape[:2] + (1,) * (large.dim() - 2))
        state["merged.weight"] = torch.stack([*kernels, _centered(same, size)]).sum(0)
        biases = [v for k, v in parts.items() if k.endswith("bias")]
        state["merged.bias"] = torch.stack(biases).sum(0)
        return state


def _centered(kernel: Tensor, size: int) -> Tensor:
    """A kernel in the middle of a larger one."""
    margin = (size - kernel.shape[-1]) // 2
    return functional.pad(kernel, [margin] * 2 * (kernel.dim() - 2))


class LKUNet(Adapting, Ladder):
    """Displacement or velocity from a U-Net with large kernels.

    start_channel: at full resolution. kernel: samples along each axis of the large kernels.
    diffeomorphic: whether the answer is a velocity, which is then integrated.
    Images are (1, 1, z, y, x), or (1, 1, y, x), in 0..1; sizes divide by 16.
    """

    def __init__(
        self,
        start_channel: int = 4,
        *,
        kernel: int = 5,
        dimension: int = 3,
        diffeomorphic: bool = True,
    ) -> None:
        def layer(name: str, inputs: int, outputs: int, stride: int) -> nn.Module:
            if name in _LARGE:
                return LargeKernel(outputs, kernel, dimension)
            return nn.Sequential(CONVOLUTION[dimension](inputs, outputs, 3, stride, 1), nn.PReLU())

        def rise(channels: int) -> nn.Module:
            return nn.Sequential(TRANSPOSED[dimension](channels, channels, 2, 2), nn.PReLU())

        def head() -> nn.Module:
            wide = CONVOLUTION[dimension](2 * start_channel, dimension, 3, 1, 1, bias=False)
            return nn.Sequential(wide, nn.Softsign())

        super().__init__(start_channel, 8, layer, rise)
        self.dc9 = head()
        self.dc10 = head()  # in the authors' files, and used by nothing
        self.diffeomorphic = diffeomorphic

    def forward(self, fixed: Tensor, moving: Tensor) -> Tensor:
        """Displacement (1, d, z, y, x), fixed to moving, normalized, components z y x."""
        field = self._field(fixed, moving)
        return exponential(field).flip(1) if self.diffeomorphic else field.flip(1)

    def both(self, fixed: Tensor, moving: Tensor) -> tuple[Tensor, Tensor]:
        """Fixed to moving, moving to fixed: one pass, where the field is a velocity, else two."""
        if not self.diffeomorphic:
            return self(fixed, moving), self(moving, fixed)
        velocity = self._field(fixed, moving)
        return exponential(velocity).flip(1), exponential(-velocity).flip(1)

    def _field(self, fixed: Tensor, moving: Tensor) -> Tensor:
        """What the network says, components x y z."""
        said: Tensor = self.dc9(self.features(moving, fixed))
        return single(said).flip(1).contiguous()

    def adapted(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The authors' tensors with all kernels merged."""
        state = dict(state)
        for name in sorted(_LARGE):
            own = {k: state.pop(k) for k in list(state) if k.startswith(f"{name}.")}
            block: LargeKernel = self.get_submodule(name)  # type: ignore[assignment]
            merged = block.merge({k.removeprefix(f"{name}."): v for k, v in own.items()})
            state.update({f"{name}.{k}": v for k, v in merged.items()})
        return state


build = LKUNet
