"""Channels as they are given, checked and made ready."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from neuralreg.errors import InvalidImage, InvalidOption
from neuralreg.geometry.image import Image
from neuralreg.geometry.linear import LinearTransform
from neuralreg.io.arguments import ImageLike, as_image
from neuralreg.io.colors import NAMES as COLORS
from neuralreg.io.colors import luminance_of, split_colors
from neuralreg.registration.channels.channel import Channel
from neuralreg.registration.image_checks import Inputs, overlap, prepare
from neuralreg.registration.linear_search import agreement
from neuralreg.registration.working_grid import resample_to, unit_intensities, work_grid

_SIDES = ("fixed", "moving")
_BYTES = (torch.uint8, torch.uint16)  # of colors; others are vectors
_SAMPLES = 100_000  # at which the images of one side are compared
_LEAST_SHARED = 0.02  # nats beyond chance


def add_channels(
    inputs: Inputs, given: Sequence[tuple[ImageLike, ImageLike]], weights: Sequence[float]
) -> Inputs:
    """The inputs, with channels where there are some.

    Args:
        inputs: of the registration.
        given: fixed and moving image of each channel.
        weights: one for each, or none where all are 1.

    Raises:
        InvalidOption: another number of weights than of channels.
        InvalidImage: an image of a channel is constant, has another dimension, or lies outside of
            the image of its side.
    """
    if not given and not weights:
        return inputs
    if weights and len(weights) != len(given):
        raise InvalidOption(
            "each channel has one weight",
            got=f"{len(weights)} weights and {len(given)} channels",
            remedy="Give as many weights as channels, or none where all count alike.",
        )
    channels = [
        _channel(pair, weight, f"channel {n}", inputs)
        for n, (pair, weight) in enumerate(
            zip(given, weights or [1.0] * len(given), strict=True), start=1
        )
    ]
    return replace(inputs, channels=(*inputs.channels, *channels))


def split_images(
    images: tuple[Image, Image], colors: str, notes: list[str]
) -> tuple[tuple[Image, Image], list[tuple[Image, Image]]]:
    """Both images in gray, and what is registered instead of them.

    Args:
        images: fixed and moving, in gray or in colors.
        colors: "luminance" or "rgb".
        notes: what is registered of colors is appended in words.

    Returns:
        The luminance of images in colors, others as they are; and with "rgb" three pairs of gray
        images that decide on the deformation in their place, else none.

    Raises:
        InvalidOption: "rgb" was asked for, and not both images have colors.
    """
    in_colors = [i.channels == len(COLORS) and i.data.dtype in _BYTES for i in images]
    gray = [luminance_of(i) if c else i for i, c in zip(images, in_colors, strict=True)]
    if colors == "rgb":
        if not all(in_colors):
            raise InvalidOption(
                "red, green and blue are registered as channels of two images in colors",
                got=", ".join(
                    f"a {side} image {'in colors' if c else 'in gray'}"
                    for side, c in zip(_SIDES, in_colors, strict=True)
                ),
                remedy="Leave the option out (--channels rgb): the luminance is registered.",
            )
        return (gray[0], gray[1]), list(zip(*map(split_colors, images), strict=True))
    for side, is_colored in zip(_SIDES, in_colors, strict=True):
        if is_colored:
            notes.append(
                f"the {side} image has colors: their luminance is registered; red, green and blue "
                "are with colors rgb (--channels rgb)"
            )
    return (gray[0], gray[1]), []


def add_colors(inputs: Inputs, colors: Sequence[tuple[Image, Image]]) -> Inputs:
    """The inputs, with colors in the place of the images in the deformation, if there are some."""
    channels = []
    for name, pair in zip(COLORS, colors, strict=False):
        if any(bool((image.data == image.data.flatten()[0]).all()) for image in pair):
            inputs.notes.append(f"{name} is constant on one side and does nothing")
            continue
        channels.append(_channel(pair, 1.0, name, inputs))
    if not channels:
        return inputs
    return replace(inputs, channels=(*inputs.channels, *channels), weight=0.0)


def _channel(
    pair: tuple[ImageLike, ImageLike], weight: float, name: str, inputs: Inputs
) -> Channel:
    fixed, moving = (
        _prepare(one, side, name, inputs) for one, side in zip(pair, _SIDES, strict=True)
    )
    return Channel(fixed, moving, weight, name)


def _prepare(given: ImageLike, side: str, name: str, inputs: Inputs) -> Image:
    """One image of a channel in unit intensities; what is doubtful about it joins the notes."""
    role = f"{side} image of {name}"
    image = as_image(given, role, notes=inputs.notes)
    main: Image = getattr(inputs, side)
    if image.grid.dimension != main.grid.dimension:
        raise InvalidImage(
            f"the {role} has the dimension of the {side} image",
            got=f"{image.grid.dimension}D",
            wanted=f"{main.grid.dimension}D",
        )
    share = overlap(image, main.grid, role)
    image, notes = prepare(image, role)
    inputs.notes.extend(notes)
    unit = Image(unit_intensities(image.to(main.data.device)), image.grid)
    shared = _shared_information(unit, inputs.first.sides[_SIDES.index(side)])
    if shared < _LEAST_SHARED:
        inputs.notes.append(
            f"the {role} has nothing in common with the {side} image where both lie (mutual "
            f"information {shared:.3f}): check that both show one patient in one space"
        )
    elif share < 1:
        inputs.notes.append(f"the {role} covers {100 * share:.0f} % of the {side} image")
    return unit


@torch.no_grad()
def _shared_information(one: Image, main: Image) -> float:
    """Mutual information in nats of two images of one side, less what chance gives."""
    grid = work_grid(main.grid, _SAMPLES)
    nowhere = LinearTransform.identity(grid.dimension)
    inside = Channel(main, one).coverage(grid, nowhere).flatten() > 0
    values = [resample_to(image.data, image.grid, grid).flatten()[inside] for image in (main, one)]
    order = torch.randperm(len(values[1]), generator=torch.Generator().manual_seed(0))
    order = order.to(inside.device)
    everywhere = torch.ones_like(values[0])
    shared, chance = (
        agreement(values[0], two, everywhere) for two in (values[1], values[1][order])
    )
    return shared - chance
