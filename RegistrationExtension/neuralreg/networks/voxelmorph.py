"""VoxelMorph: a U-Net whose answer is a displacement, or a velocity that is integrated.

Source: Balakrishnan et al. 2019, doi:10.1109/TMI.2019.2897538; Dalca et al. 2019,
doi:10.1016/j.media.2019.07.006 (diffeomorphic).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from neuralreg.errors import InvalidOption
from neuralreg.geometry.normalized import exponential, from_voxels, resize, to_voxels
from neuralreg.networks.blocks import CONVOLUTION, Adapting, single, unwrapped
from neuralreg.networks.unet import FEATURES, UNet

# Names in files from before 2022, and what they are called since.
_OLDER = {
    "downarm.{}.": "encoder.{}.0.",
    "uparm.{}.": "decoder.{}.0.",
    "extras.{}.": "remaining.{}.",
}


class VoxelMorph(Adapting):
    """The classic network (VxmDense), with the key layout of its PyTorch files.

    features: of encoder and decoder. per_level: convolutions per level. int_steps: squarings; 0 for
    a plain displacement. int_downsize: how much coarser the velocity is integrated.
    half_res: whether the U-Net already ends at half of the resolution.
    Images are (1, 1, z, y, x), or (1, 1, y, x), in 0..1; sizes divide by 2 to the number of levels.
    Raises InvalidOption when half_res is not integrated at half of the resolution.
    """

    def __init__(
        self,
        dimension: int = 3,
        *,
        features: Sequence[Sequence[int]] = FEATURES,
        per_level: int = 1,
        int_steps: int = 7,
        int_downsize: int = 2,
        half_res: bool = False,
    ) -> None:
        super().__init__()
        if half_res and (int_steps == 0 or int_downsize != 2):
            raise InvalidOption(
                "half_res leaves a velocity at half of the resolution",
                got=f"int_steps {int_steps}, int_downsize {int_downsize}",
                wanted="int_steps > 0, int_downsize 2",
            )
        self.unet_model = UNet(
            dimension, 2, features, per_level=per_level, half_resolution=half_res
        )
        self.flow = CONVOLUTION[dimension](self.unet_model.outputs, dimension, 3, 1, 1)
        nn.init.normal_(self.flow.weight, 0, 1e-5)
        nn.init.zeros_(self.flow.bias)
        self.int_steps = int_steps
        self.int_downsize = int_downsize if int_steps else 1
        self.half_res = half_res

    def forward(self, fixed: Tensor, moving: Tensor) -> Tensor:
        """Displacement (1, d, z, y, x), fixed to moving, in voxels, components z y x."""
        return self._displacement(self._answer(fixed, moving))

    def both(self, fixed: Tensor, moving: Tensor) -> tuple[Tensor, Tensor]:
        """Fixed to moving, moving to fixed: one pass, where the answer is a velocity, else two."""
        if not self.int_steps:
            return self(fixed, moving), self(moving, fixed)
        answer = self._answer(fixed, moving)
        return self._displacement(answer), self._displacement(-answer)

    def _answer(self, fixed: Tensor, moving: Tensor) -> Tensor:
        """Displacement or velocity in voxels of its own array, components z y x."""
        features = self.unet_model(torch.cat((moving, fixed), 1))
        answer = single(self.flow(features)).contiguous()
        if self.int_downsize > 1 and not self.half_res:
            small = tuple(n // self.int_downsize for n in answer.shape[2:])
            answer = resize(answer, small, aligned=True) / self.int_downsize
        return answer

    def _displacement(self, answer: Tensor) -> Tensor:
        if not self.int_steps:
            return answer
        velocity = from_voxels(answer.flip(1))
        field = to_voxels(exponential(velocity, self.int_steps, outside="zeros")).flip(1)
        if self.int_downsize == 1:
            return field
        large = tuple(n * self.int_downsize for n in field.shape[2:])
        return resize(field * self.int_downsize, large, aligned=True)

    def adapted(self, state: Mapping[str, Any]) -> dict[str, Tensor]:
        """The tensors out of a checkpoint file, by today's names, without sampling grids."""
        tensors = unwrapped(state, "model_state")
        return {_named_today(k): v for k, v in tensors.items() if not k.endswith(".grid")}


def _named_today(key: str) -> str:
    for older, newer in _OLDER.items():
        head = "unet_model." + older.split("{}", maxsplit=1)[0]
        if key.startswith(head):
            number, rest = key.removeprefix(head).split(".", maxsplit=1)
            return "unet_model." + newer.format(number) + rest
    return key


build = VoxelMorph
