"""How much each voxel of an image counts: masks, soft weights, and regions that are excluded."""

from __future__ import annotations

import torch

from neuralreg.errors import InvalidImage
from neuralreg.geometry.image import Image
from neuralreg.registration.image_checks import on_grid


def combine_weights(
    image: Image,
    mask: Image | None,
    weight: Image | None,
    exclude: Image | None,
    role: str,
) -> tuple[Image | None, list[str]]:
    """One weight for each voxel, 0 to 1, as a mask of `register`.

    Args:
        image: that is weighed.
        mask: above 0 where the image counts.
        weight: 0 to 1.
        exclude: above 0 where the image does not count, such as a lesion.
        role: how messages call the image: "fixed image", "moving image".

    Returns:
        The product, on the grid of the image, or None where nothing is given; and a sentence for
        each that was brought onto that grid.

    Raises:
        InvalidImage: a weight is negative, above 1 or no number, or nothing is left.
    """
    if mask is weight is exclude is None:
        return None, []
    notes: list[str] = []
    product = torch.ones(1, *image.grid.shape)
    if mask is not None:
        placed, more = on_grid(mask, image.grid, f"mask of the {role}")
        product, notes = product * placed.above_zero(), notes + more
    if weight is not None:
        require_weights(weight, f"weight of the {role}")
        placed, more = on_grid(weight, image.grid, f"weight of the {role}")
        product, notes = product * placed.data.float(), notes + more
    if exclude is not None:
        placed, more = on_grid(exclude, image.grid, f"excluded part of the {role}")
        product, notes = product * ~placed.above_zero(), notes + more
    if not bool((product > 0).any()):
        raise InvalidImage(
            f"nothing of the {role} is left to compare",
            got="masks and weights of 0 everywhere",
            remedy="Look at the mask, the weight and what is excluded.",
        )
    return Image(product, image.grid), notes


def require_weights(weight: Image, role: str) -> None:
    """Check that all values lie between 0 and 1.

    Raises:
        InvalidImage: some do not, or are no numbers.
    """
    values = weight.data.double()
    wrong = ~((values >= 0) & (values <= 1))
    if bool(wrong.any()):
        raise InvalidImage(
            f"the {role} lies between 0 and 1",
            got=f"{float(values[wrong][0]):g} and {int(wrong.sum()) - 1} more such voxels",
            remedy="Divide it by its largest value, or give it as a mask.",
        )
