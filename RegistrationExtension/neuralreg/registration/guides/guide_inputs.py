"""What steers a registration beside its options and its two images, as it is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from neuralreg.errors import InvalidOption
from neuralreg.io.arguments import ImageLike
from neuralreg.registration.channels.channel_inputs import add_channels
from neuralreg.registration.guides.label_inputs import add_labels
from neuralreg.registration.image_checks import Inputs
from neuralreg.registration.options import RegistrationOptions
from neuralreg.registration.rigid_parts.rigid_chain import add_rigid_parts
from neuralreg.registration.sliding.sliding_border import add_sliding
from neuralreg.registration.surfaces.surface_inputs import SurfaceLike, add_surfaces


@dataclass(frozen=True)
class GuideInputs:
    """Images and files that steer; each has its weight among the options.

    Attributes:
        labels: label map of the fixed and of the moving image.
        channels: pairs of a fixed and a moving image, each on any grid in the world of its side.
        rigid: label map of parts of the fixed image that move as one piece each.
        surfaces: pairs of a fixed and a moving surface: a mesh, a label map whose labels are the
            inside, or points (n, d) in LPS mm.
        sliding: mask of the part of the fixed image that may slide along the rest.
    """

    labels: tuple[ImageLike | None, ImageLike | None] = (None, None)
    channels: Sequence[tuple[ImageLike, ImageLike]] = ()
    rigid: ImageLike | None = None
    surfaces: Sequence[tuple[SurfaceLike, SurfaceLike]] = ()
    sliding: ImageLike | None = None

    def add_to(self, inputs: Inputs, options: RegistrationOptions) -> Inputs:
        """The inputs of a registration, with all that steers it.

        Raises:
            RegistrationError: something does not belong to the images, or has no weight.
        """
        source = options.label_source
        inputs = add_labels(inputs, *self.labels, options.label_weight, source)
        inputs = add_rigid_parts(inputs, self.rigid, options.rigid_labels)
        inputs = add_sliding(inputs, self.sliding)
        inputs = add_surfaces(inputs, self.surfaces, options.surface_weight)
        return add_channels(inputs, self.channels, options.channel_weights)


def split_keywords(keywords: Mapping[str, Any]) -> tuple[GuideInputs, dict[str, Any]]:
    """The guides among the keywords of a registration, and the others.

    Raises:
        InvalidOption: a guide that comes as a pair of two sides is none.
    """
    names = [field.name for field in fields(GuideInputs)]
    guides = {name: value for name, value in keywords.items() if name in names}
    others = {name: value for name, value in keywords.items() if name not in names}
    more = [*guides.get("channels", ()), *guides.get("surfaces", ())]
    for pair in (guides.get("labels", (None, None)), *more):
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise InvalidOption(
                "labels, channels and surfaces have a fixed and a moving side",
                got=repr(pair)[:80],
                wanted="labels=(fixed, moving), channels=[(fixed, moving), ...]",
                remedy="Weights are options: label_weight=1, channel_weights=(1, 0.5).",
            )
    return GuideInputs(**guides), others
