"""VoxelMorph: a U-Net whose output is a displacement, or a velocity that is integrated.

Source: Balakrishnan et al. 2019, doi:10.1109/TMI.2019.2897538; Dalca et al. 2019,
doi:10.1016/j.media.2019.07.006 (diffeomorphic).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from neuralreg.errors import InvalidOption
from neuralreg.geometry.normalized import exponential, from_voxels, resize, to_voxels
from neuralreg.networks.blocks import CONVOLUTION, single, unwrap
from neuralreg.networks.network import Output, RegistrationModule
from neuralreg.networks.unet import FEATURES, UNet

# Names in files from before 2022, and what they are called since.
_OLDER = {
    "downarm.{}.": "encoder.{}.0.",
    "uparm.{}.": "decoder.{}.0.",
    "extras.{}.": "remaining.{}.",
}


class VoxelMorph(RegistrationModule):
    """The classic network (VxmDense), with the key layout of its PyTorch files.

    Images are (1, 1, z, y, x), or (1, 1, y, x), in 0..1; sizes divide by 2 to the number of levels.

    Args:
        dimension: of the images.
        features: of encoder and decoder.
        per_level: convolutions per level.
        int_steps: squarings; 0 for a plain displacement.
        int_downsize: by how much the velocity is coarser than the images while it is integrated.
        half_res: whether the U-Net already ends at half of the resolution.

    Raises:
        InvalidOption: half_res is not integrated at half of the resolution.
    """

    output = Output("displacement", "voxel", "zyx")
    training_defaults: ClassVar = {"int_steps": 0}  # method "velocity" integrates

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
        self.divisor = 2 ** (len(features[0]) // per_level)
        self.int_steps = int_steps
        self.int_downsize = int_downsize if int_steps else 1
        self.half_res = half_res

    def forward(self, fixed: Tensor, moving: Tensor) -> Tensor:
        """Displacement (1, d, z, y, x), fixed to moving, in voxels, components z y x."""
        return self._integrate(self._predict(fixed, moving))

    def both(self, fixed: Tensor, moving: Tensor, **options: float) -> tuple[Tensor, Tensor]:
        """Fixed to moving, moving to fixed: one pass, where there is a velocity, else two."""
        if not self.int_steps:
            return super().both(fixed, moving, **options)
        velocity = self._predict(fixed, moving)
        return self._integrate(velocity), self._integrate(-velocity)

    def _predict(self, fixed: Tensor, moving: Tensor) -> Tensor:
        """Displacement or velocity in voxels of its own array, components z y x."""
        features = self.unet_model(torch.cat((moving, fixed), 1))
        values = single(self.flow(features)).contiguous()
        if self.int_downsize > 1 and not self.half_res:
            small = tuple(n // self.int_downsize for n in values.shape[2:])
            values = resize(values, small, aligned=True) / self.int_downsize
        return values

    def _integrate(self, values: Tensor) -> Tensor:
        """The displacement in voxels z y x of the image that `_predict` stands for."""
        if not self.int_steps:
            return values
        velocity = from_voxels(values.flip(1))
        field = to_voxels(exponential(velocity, self.int_steps, outside="zeros")).flip(1)
        if self.int_downsize == 1:
            return field
        large = tuple(n * self.int_downsize for n in field.shape[2:])
        return resize(field * self.int_downsize, large, aligned=True)

    def adapt_weights(self, weights: Mapping[str, Any]) -> dict[str, Tensor]:
        """The tensors out of a checkpoint file, by today's names, without sampling grids."""
        tensors = unwrap(weights, "model_state")
        return {_rename_key(k): v for k, v in tensors.items() if not k.endswith(".grid")}


def _rename_key(key: str) -> str:
    for older, newer in _OLDER.items():
        head = "unet_model." + older.split("{}", maxsplit=1)[0]
        if key.startswith(head):
            number, end = key.removeprefix(head).split(".", maxsplit=1)
            return "unet_model." + newer.format(number) + end
    return key


build = VoxelMorph
