"""MeshNet: a stack of dilated convolutions at full resolution that gives each voxel a label.

Sources: Fedorov et al. 2017, "End-to-end learning of brain tissue segmentation from imperfect
labeling", doi:10.1109/IJCNN.2017.7966333; mindgrab, doi:10.48550/arXiv.2506.11860.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from neuralreg.networks.network import Network
from neuralreg.progress import Progress, silent

FLAT = "flat"  # name of the tensor that holds all numbers of a file without names
_SLAB = 8  # slices at a time, which stay in the processor's cache
_CONVOLVED = 24  # slices at a time, beside the 32 around them that the widest kernel needs
_EPSILON = 1e-5
_FAST = torch.channels_last_3d  # on a processor: less than half the time and memory
_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": functional.gelu,
    "elu": functional.elu,
    "relu": functional.relu,
}

Reduction = Callable[[Tensor], Tensor]


class MeshNet(Network):
    """Dilated 3x3x3 convolutions, each with an activation, and a last one of 1x1x1.

    Args:
        channels: of all inner layers.
        classes: of the output; 0 is the background.
        dilations: of the 3x3x3 convolutions, in order.
        activation: after each of them.
        normalize: whether each channel is brought to mean 0 and variance 1 over all voxels before
            the activation; such convolutions have no bias.
    """

    def __init__(
        self,
        channels: int,
        classes: int,
        dilations: Sequence[int],
        activation: Literal["gelu", "elu", "relu"] = "elu",
        normalize: bool = False,
    ) -> None:
        super().__init__()
        self.activation, self.normalize = activation, normalize
        self.convolutions = nn.ModuleList(
            nn.Conv3d(
                channels if n else 1,
                channels,
                3,
                padding=dilation,
                dilation=dilation,
                bias=not normalize,
            )
            for n, dilation in enumerate(dilations)
        )
        self.classify = nn.Conv3d(channels, classes, 1)
        self.to(memory_format=_FAST)  # type: ignore[call-overload]

    def adapt_weights(self, weights: Mapping[str, Any]) -> Mapping[str, Any]:
        """The tensors of a file of bare numbers, layer after layer, kernel before bias.

        Its kernels have the axes z y x, input, output; ours output, input, z y x.
        """
        if FLAT not in weights:
            return weights
        numbers, own, start = weights[FLAT], self.state_dict(), 0
        if numbers.numel() != sum(values.numel() for values in own.values()):
            return weights
        tensors = {}
        for name, values in own.items():
            part = numbers[start : start + values.numel()]
            start += values.numel()
            if values.dim() == 5:
                out, into, *kernel = values.shape
                part = part.view(*kernel, into, out).permute(4, 3, 0, 1, 2)
            tensors[name] = part
        return tensors

    @torch.no_grad()
    def forward(
        self,
        image: Tensor,
        *,
        background: float | None = None,
        voxels: int | None = None,
        reduce: Reduction = lambda logits: logits,
        progress: Progress = silent,
    ) -> Tensor:
        """The logits of each voxel, or what is made of them.

        Args:
            image: (1, 1, z, y, x), scaled as the weights want it.
            background: value of the voxels around the image. A network that normalizes then counts
                them as part of the image, at the cost of the box alone: what surrounds the box is
                constant after each layer, but for a seam. None pads with zeros and normalizes over
                the box.
            voxels: of the image with its surroundings; needed with a background.
            reduce: of logits (1, classes, z', y, x) of some slices, to keep less of them.
            progress: called after each layer; a caller may raise in it to stop.

        Returns:
            What `reduce` makes of the logits, joined along z: (1, c, z, y, x).
        """
        x = image
        outside = None if background is None else x.new_full((1, 1, 1, 1, 1), background)
        total = voxels or image[0, 0].numel()
        if outside is not None:
            x = x - outside  # zero padding then continues the background
        for n, layer in enumerate(self.convolutions):
            if n:
                _convolve_in_place(cast(nn.Conv3d, layer), x)
            else:
                x = layer(x).contiguous(memory_format=_FAST)
            if self.normalize:
                outside = self._normalize(x, outside, total)
            else:
                for part in _slabs(x):
                    part.copy_(_ACTIVATIONS[self.activation](part))
            progress((n + 1) / len(self.convolutions), f"layer {n + 1}")
        shift = 0.0 if outside is None else outside
        parts = [reduce(self.classify(part + shift)) for part in _slabs(x)]
        return torch.cat(parts, 2)

    def _normalize(self, x: Tensor, outside: Tensor | None, total: int) -> Tensor | None:
        """Normalize and activate (1, c, z, y, x) in place; the new value of the background.

        With a background, values come in relative to what the convolution makes of it, in which
        the kernel's sum cancels, and go out relative to the value that is returned. Mean and
        variance are those of `total` voxels, all beyond the box being background.
        """
        box = x[0, 0].numel()
        count = box if outside is None else total
        mean = _sum_over_slabs(x) / count
        squares = _sum_over_slabs(x, mean.float())
        variance = (squares + (count - box) * mean.square()) / count
        mean = mean.float()
        scale = (variance + _EPSILON).rsqrt().float()
        activate = _ACTIVATIONS[self.activation]
        after = None if outside is None else activate(-mean * scale)
        for part in _slabs(x):
            values = activate(part.sub_(mean).mul_(scale))
            part.copy_(values if after is None else values.sub_(after))
        return after


def _convolve_in_place(layer: nn.Conv3d, x: Tensor) -> None:
    """The convolution of (1, c, z, y, x) in its own memory, some slices after the others.

    Of what was overwritten only the slices are kept that the next ones still need: half of the
    memory of a second tensor and more.
    """
    reach, count = layer.dilation[0], x.shape[2]
    shape = (*x.shape[:2], _CONVOLVED + 2 * reach, *x.shape[3:])
    window = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=_FAST).zero_()
    for start in range(0, count, _CONVOLVED):
        stop = min(start + _CONVOLVED, count)
        after = x[:, :, start : stop + reach]
        window[:, :, reach : reach + after.shape[2]] = after
        window[:, :, reach + after.shape[2] :] = 0
        part = window[:, :, : stop - start + 2 * reach]
        x[:, :, start:stop] = functional.conv3d(
            part, layer.weight, layer.bias, padding=(0, reach, reach), dilation=reach
        )
        window[:, :, :reach] = window[:, :, stop - start : stop - start + reach].clone()


def _slabs(x: Tensor) -> tuple[Tensor, ...]:
    """Views of a few slices each."""
    return torch.split(x, _SLAB, 2)


def _sum_over_slabs(x: Tensor, mean: Tensor | None = None) -> Tensor:
    """Per channel, of values or of squared distances from a mean: (1, c, 1, 1, 1), in double.

    Added up in one tensor: a list of the slabs' sums would lie between their working memory and
    keep the allocator from using it again, which takes almost another tensor of the size of x.
    """
    total = x.new_zeros((1, x.shape[1], 1, 1, 1), dtype=torch.float64)
    for part in _slabs(x):
        values = part if mean is None else (part - mean).square_()
        total += values.sum((2, 3, 4), keepdim=True)
    return total


build = MeshNet
