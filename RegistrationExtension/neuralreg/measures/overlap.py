"""How well two label maps overlap."""

from __future__ import annotations

import torch

from neuralreg.errors import InvalidImage
from neuralreg.geometry.image import Image


def dice(first: Image, second: Image, *, background: int = 0) -> dict[int, float]:
    """Dice coefficient by label, in 0..1: twice the shared voxels by the sum of both.

    Args:
        first: a label map; values are truncated to whole numbers.
        second: a label map on the same grid.
        background: the label that is left out.

    Returns:
        One value for every label that is in one of the maps; 0 if it is in one map only.

    Raises:
        InvalidImage: when the maps are not on the same grid.

    Source: Dice 1945, doi:10.2307/1932409.
    """
    if not first.grid.is_close(second.grid) or first.data.shape != second.data.shape:
        raise InvalidImage(
            "overlap needs both label maps on one grid",
            got=f"sizes {first.grid.size} and {second.grid.size}",
            remedy="Warp one of them onto the grid of the other first (warp_labels).",
        )
    a, b = first.data.long().flatten(), second.data.long().flatten().to(first.data.device)
    labels, index = torch.unique(torch.cat([a, b]), return_inverse=True)
    n = len(labels)
    in_a, in_b = (torch.bincount(part, minlength=n) for part in index.chunk(2))
    index_a, index_b = index.chunk(2)
    shared = torch.bincount(index_a[index_a == index_b], minlength=n)
    score = (2 * shared.double() / (in_a + in_b)).tolist()
    scores = zip(labels.tolist(), score, strict=True)
    return {label: value for label, value in scores if label != background}
