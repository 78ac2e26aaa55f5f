"""Settings by the name of what is registered, each with its reason."""

from __future__ import annotations

from dataclasses import dataclass

from neuralreg.errors import InvalidOption
from neuralreg.registration.refine import Refinement


@dataclass(frozen=True)
class Preset:
    """refinement: how the field is refined. reason: why so."""

    refinement: Refinement
    reason: str


PRESETS = {
    "generic": Preset(
        Refinement(), "Nothing is known: the similarity is chosen by looking at the images."
    ),
    "brain MR": Preset(
        Refinement(similarity="auto", regularity=0.7),
        "Cortex differs between people at the scale of a few voxels: a more flexible field.",
    ),
    "abdomen CT": Preset(
        Refinement(similarity="lncc", regularity=1.3),
        "Organs have little contrast against noise: structure is safer than intensity.",
    ),
    "lung CT": Preset(
        Refinement(similarity="lncc", regularity=1.3),
        "Density changes with the breath, so intensities do not correspond.",
    ),
    "cardiac": Preset(
        Refinement(similarity="lncc", regularity=1.0),
        "One scanner and sequence; the wall moves far between neighboring slices.",
    ),
    "prostate multimodal": Preset(
        Refinement(similarity="mind", regularity=2.0),
        "Little deforms within a session; diffusion images have few edges to trust.",
    ),
}


def preset(name: str) -> Preset:
    """The preset of that name. Raises InvalidOption when there is none."""
    if name not in PRESETS:
        raise InvalidOption("there is no such preset", got=f"'{name}'", wanted=", ".join(PRESETS))
    return PRESETS[name]
