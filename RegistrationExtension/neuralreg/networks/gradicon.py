"""uniGradICON and multiGradICON: four U-Nets, coarse to fine, whose maps are composed.

Source: Tian et al. 2023, GradICON, doi:10.48550/arXiv.2206.05897; Tian et al. 2024, uniGradICON,
doi:10.48550/arXiv.2403.05780; Demir et al. 2024, multiGradICON, doi:10.48550/arXiv.2408.00221.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from neuralreg.errors import InvalidImage
from neuralreg.geometry.normalized import displace, identity_map, resize, sample
from neuralreg.networks.icon_unet import TallUNet
from neuralreg.networks.network import Output, RegistrationModule

# Where the authors' state dict keeps the four networks, coarse to fine.
_STAGES = (
    "netPhi.netPhi.net.netPhi.net.net",  # at a quarter of the size
    "netPhi.netPhi.net.netPsi.net",  # at half of the size
    "netPhi.netPsi.net",
    "netPsi.net",
)
_SMALLEST = 65  # samples along an axis: a quarter of them is halved five times


class GradICON(RegistrationModule):
    """The multi-resolution, two-step composition of uniGradICON.

    Under autocast to bfloat16 the U-Nets are faster where the processor has it; positions stay in
    float32. That moves voxels by 0.004 on average and up to 0.05 on smooth fields, more on rough.
    Images are (1, 1, z, y, x) in 0..1, at least 65 samples along each axis, 175 in the published
    weights.
    """

    output = Output("coordinates", "unit", "zyx")
    smallest = _SMALLEST
    dimensions = (3,)

    def __init__(self) -> None:
        super().__init__()
        for path in _STAGES:
            _attach(self, path, TallUNet())

    def forward(self, fixed: Tensor, moving: Tensor) -> Tensor:
        """Where each fixed sample is in the moving image: (1, 3, z, y, x).

        A unit map, 0 at the first sample center and 1 at the last, components z y x.
        """
        return _unit_map(self.fields(fixed, moving), fixed)

    def both(self, fixed: Tensor, moving: Tensor, **options: float) -> tuple[Tensor, Tensor]:
        """Fixed to moving and moving to fixed, each from a run of its own."""
        sizes = _halves(fixed), _halves(moving)
        forward, backward = self._fields(*sizes), self._fields(*sizes[::-1])
        return _unit_map(forward, fixed), _unit_map(backward, moving)

    def fields(self, fixed: Tensor, moving: Tensor, **options: float) -> list[Tensor]:
        """The networks' displacements from fixed to moving, in the order in which points pass.

        (n, 3, z, y, x), each on its own grid, normalized, components x y z.
        """
        return self._fields(_halves(fixed), _halves(moving))

    def _fields(self, fixed: Sequence[Tensor], moving: Sequence[Tensor]) -> list[Tensor]:
        fields: list[Tensor] = []
        for path, level in zip(_STAGES, (2, 1, 0, 0), strict=True):
            warped = moving[level]
            if fields:
                warped = sample(warped, _coordinates(fields, fixed[level]))
            network: TallUNet = self.get_submodule(path)  # type: ignore[assignment]
            fields.insert(0, 2 * network(warped, fixed[level]).flip(1))
        return fields


def _coordinates(fields: Sequence[Tensor], image: Tensor) -> Tensor:
    """Where the samples of an image are after all fields: (n, 3, z, y, x)."""
    shape = tuple(image.shape[2:])
    first, *others = fields
    if first.shape[2:] != shape:  # as sampling it at all samples, and quicker
        first = resize(first, shape, aligned=True)
    return displace(identity_map(shape, first) + first, others)


def _unit_map(fields: Sequence[Tensor], image: Tensor) -> Tensor:
    """The same as a unit map, components z y x."""
    return _coordinates(fields, image).flip(1) / 2 + 0.5


def _halves(image: Tensor) -> list[Tensor]:
    """An image, half and quarter of it, with an odd last sample kept."""
    if min(image.shape[2:]) < _SMALLEST:
        raise InvalidImage(
            "the network halves an image seven times, and this one is too small",
            got=f"{tuple(image.shape[2:])} samples",
            wanted=f"at least {_SMALLEST} along each axis",
        )
    half = functional.avg_pool3d(image, 2, ceil_mode=True)
    return [image, half, functional.avg_pool3d(half, 2, ceil_mode=True)]


def _attach(root: nn.Module, path: str, leaf: nn.Module) -> None:
    """Puts a module at a dotted path, through plain modules that hold nothing else."""
    *parents, name = path.split(".")
    for parent in parents:
        children = dict(root.named_children())
        if parent not in children:
            root.add_module(parent, nn.Module())
        root = root.get_submodule(parent)
    root.add_module(name, leaf)


build = GradICON
