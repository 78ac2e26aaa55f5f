"""LKU-Net: a U-Net whose encoder has large kernels, in 2D and 3D.

Source: Jia et al. 2022, "U-Net vs Transformer: Is U-Net Outdated in Medical Image Registration?",
doi:10.48550/arXiv.2208.04939.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from neuralreg.geometry.normalized import exponential
from neuralreg.networks.blocks import CONVOLUTION, TRANSPOSED, single
from neuralreg.networks.network import Output
from neuralreg.networks.symnet_unet import SYMNetUNet

_LARGE = {"ec3", "ec5", "ec7", "ec9"}


class LargeKernel(nn.Module):
    """A large kernel, a small one, a single one and the input, summed: one merged convolution.

    Args:
        channels: in and out.
        kernel: samples along each axis of the large kernel.
        dimension: of the images.
        parallel: whether the kernels stay three and are summed at each use, as in training: an
            optimizer step changes them differently from their sum.
    """

    def __init__(self, channels: int, kernel: int, dimension: int, parallel: bool = False) -> None:
        super().__init__()
        make = CONVOLUTION[dimension]
        self.sizes = {"regular": 3, "large": kernel, "one": 1}
        self.parallel = parallel
        self.layer_nonlinearity = nn.PReLU()
        branches = {
            f"layer_{name}Kernel": nn.Sequential(make(channels, channels, size))
            for name, size in self.sizes.items()
        }
        if parallel:
            for name, branch in branches.items():
                self.add_module(name, branch)
            return
        self.merged = make(channels, channels, kernel, padding=kernel // 2)
        weight, bias = self._sum(nn.ModuleDict(branches).state_dict())
        self.merged.load_state_dict({"weight": weight, "bias": bias})

    def forward(self, values: Tensor) -> Tensor:
        """(n, c, z, y, x) to the same shape."""
        if not self.parallel:
            return self.layer_nonlinearity(self.merged(values))  # type: ignore[no-any-return]
        weight, bias = self._sum(dict(self.named_parameters()))
        convolved = functional.conv3d if values.dim() == 5 else functional.conv2d
        return self.layer_nonlinearity(  # type: ignore[no-any-return]
            convolved(values, weight, bias, padding=self.sizes["large"] // 2)
        )

    def merge(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The authors' tensors of this block, its three kernels and the input as one kernel.

        They stay as they are when one is missing or has another shape, for strict loading to name.
        """
        state = dict(state)
        if self.parallel:
            return state
        large, bias = self.merged.weight, self.merged.bias
        shapes = {
            f"layer_{name}Kernel.0.weight": large.shape[:2] + (size,) * (large.dim() - 2)
            for name, size in self.sizes.items()
        } | {f"layer_{name}Kernel.0.bias": bias.shape for name in self.sizes}
        if any(k not in state or state[k].shape != shape for k, shape in shapes.items()):
            return state
        parts = {name: state.pop(name) for name in shapes}
        state["merged.weight"], state["merged.bias"] = self._sum(parts)
        return state

    def _sum(self, parts: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Kernel and bias of the convolution that the branches and the input add up to."""
        named = [f"layer_{name}Kernel.0." for name in self.sizes]
        size = self.sizes["large"]
        kernels = [_center(parts[name + "weight"], size) for name in named]
        channels, axes = len(kernels[0]), kernels[0].dim() - 2
        same = torch.eye(channels).to(kernels[0]).view(channels, channels, *[1] * axes)
        weight = torch.stack([*kernels, _center(same, size)]).sum(0)
        return weight, torch.stack([parts[name + "bias"] for name in named]).sum(0)


def _center(kernel: Tensor, size: int) -> Tensor:
    """A kernel in the middle of a larger one."""
    margin = (size - kernel.shape[-1]) // 2
    return functional.pad(kernel, [margin] * 2 * (kernel.dim() - 2))


class LKUNet(SYMNetUNet):
    """Displacement or velocity from a U-Net with large kernels.

    Images are (1, 1, z, y, x), or (1, 1, y, x), in 0..1; sizes divide by 16.

    Args:
        start_channel: channels at full resolution.
        kernel: samples along each axis of the large kernels.
        dimension: of the images.
        diffeomorphic: whether the output is a velocity, which is then integrated.
        parallel: see `LargeKernel`.
    """

    output = Output("displacement", "normalized", "zyx")
    training_defaults: ClassVar = {"start_channel": 8, "diffeomorphic": False, "parallel": True}

    def __init__(
        self,
        start_channel: int = 4,
        *,
        kernel: int = 5,
        dimension: int = 3,
        diffeomorphic: bool = True,
        parallel: bool = False,
    ) -> None:
        def layer(name: str, inputs: int, outputs: int, stride: int) -> nn.Module:
            if name in _LARGE:
                return LargeKernel(outputs, kernel, dimension, parallel)
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

    def both(self, fixed: Tensor, moving: Tensor, **options: float) -> tuple[Tensor, Tensor]:
        """Fixed to moving, moving to fixed: one pass, where the field is a velocity, else two."""
        if not self.diffeomorphic:
            return super().both(fixed, moving, **options)
        velocity = self._field(fixed, moving)
        return exponential(velocity).flip(1), exponential(-velocity).flip(1)

    def _field(self, fixed: Tensor, moving: Tensor) -> Tensor:
        """Displacement or velocity, components x y z."""
        values: Tensor = self.dc9(self.features(moving, fixed))
        return single(values).flip(1).contiguous()

    def adapt_weights(self, weights: Mapping[str, Any]) -> dict[str, Tensor]:
        """The authors' tensors with all kernels merged."""
        state = dict(weights)
        for name in sorted(_LARGE):
            own = {k: state.pop(k) for k in list(state) if k.startswith(f"{name}.")}
            block: LargeKernel = self.get_submodule(name)  # type: ignore[assignment]
            merged = block.merge({k.removeprefix(f"{name}."): v for k, v in own.items()})
            state.update({f"{name}.{k}": v for k, v in merged.items()})
        return state


build = LKUNet
