"""DIRAC: registration of images where tissue of one is absent in the other, such as tumors.

Source: Mok and Chung 2022, "Unsupervised Deformable Image Registration with Absent Correspondences
in Pre-operative and Post-Recurrence Brain Tumor MRI Scans", doi:10.48550/arXiv.2206.03900.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from neuralreg.geometry.normalized import compose
from neuralreg.networks.conditional_lapirn import ConditionalLapIRN

_MARGIN = 0.015  # normalized units by which an absent place is worse than the mean


class DIRAC(ConditionalLapIRN):
    """Conditional LapIRN without normalization, with a map of absent correspondence.

    Images are (1, 1, z, y, x) in 0..1; sizes divide by 8.

    Args:
        width: channels of all layers.
    """

    dimensions = (3,)

    def __init__(self, width: int = 24) -> None:
        super().__init__(((width,) * 4,) * 3, normalize=False)

    def forward(self, fixed: Tensor, moving: Tensor, *, smoothness: float = 0.3) -> Tensor:
        """Displacement (1, 3, z, y, x), fixed to moving, normalized, components x y z.

        Args:
            fixed: (1, 1, z, y, x) in 0..1.
            moving: like `fixed`.
            smoothness: 0 (follows every detail, may fold) to 1 (stiff).
        """
        return super().forward(fixed, moving, smoothness=smoothness)

    def maps(
        self,
        fixed: Tensor,
        moving: Tensor,
        output: Tensor,
        shape: tuple[int, ...],
        **options: float,
    ) -> dict[str, Tensor]:
        """ "absent", bool: where the fixed image shows what the moving one lacks."""
        backward = self(moving, fixed, **options)
        forward, backward, large = (
            functional.interpolate(values, shape, mode="trilinear", align_corners=True)
            for values in (output, backward, fixed)
        )
        return {"absent": absent(forward, backward, large > 0)}


def absent(fixed_to_moving: Tensor, moving_to_fixed: Tensor, foreground: Tensor) -> Tensor:
    """Where the fixed image shows what the moving image does not have.

    The path to the moving image and back misses its start by more than elsewhere. The authors
    resample the displacements to the resolution of the image first, and so do the numbers of
    samples below count.

    Args:
        fixed_to_moving: (1, 3, z, y, x), normalized, components x y z.
        moving_to_fixed: like `fixed_to_moving`.
        foreground: (1, 1, z, y, x), where the fixed image has tissue; decides what is usual.

    Returns:
        Truth values (1, 1, z, y, x).

    Source: as above: the error, smoothed by two means over 5 samples along each axis, against its
    mean over the foreground plus a margin.
    """
    error = compose(fixed_to_moving, moving_to_fixed).norm(dim=1, keepdim=True)
    inside = foreground.bool()
    usual = error[inside].mean()
    for _ in range(2):
        error = functional.avg_pool3d(error, 5, 1, 2)
    away: Tensor = error > usual + _MARGIN
    return away & inside


build = DIRAC
