"""What the intensities of an image indicate about its modality. Needs no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray
    from torch import Tensor

_AIR, _AIR_SHARE = -500.0, 0.01  # only CT has values so low, and the share of them


def looks_like_ct(values: NDArray[Any] | Tensor) -> bool:
    """Whether a hundredth of the values is as low as only air in a CT is.

    Args:
        values: intensities, an array or a tensor of any shape.
    """
    return float((values < _AIR).sum()) > _AIR_SHARE * len(values.reshape(-1))
