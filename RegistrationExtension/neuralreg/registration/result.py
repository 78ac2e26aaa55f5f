"""What a registration gives back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field as member
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import SimpleITK as sitk

    from neuralreg.geometry.field import DisplacementField
    from neuralreg.geometry.image import Image
    from neuralreg.geometry.linear import LinearTransform


@dataclass(frozen=True)
class Outcome:
    """How a registration ended, in plain numbers.

    Attributes:
        similarity: name of the measure; higher is better; over the foreground
            that both images show.
        similarity_initial: as the images came.
        similarity_linear: after the alignment before the deformation.
        similarity_final: with the whole chain.
        folding_percent: share of the field's samples within the fixed image that have a Jacobian
            determinant <= 0.
        folding_percent_body: the same inside the fixed foreground.
        inverse_error_mean_mm, inverse_error_max_mm: forward-backward error in the fixed foreground.
        displacement_mean_mm, displacement_max_mm: length of the deformation beyond the alignment.
    """

    similarity: str
    similarity_initial: float
    similarity_linear: float
    similarity_final: float
    folding_percent: float
    folding_percent_body: float
    inverse_error_mean_mm: float
    inverse_error_max_mm: float
    displacement_mean_mm: float
    displacement_max_mm: float

    def not_measured(self) -> list[str]:
        """Names of the figures that are no finite numbers."""
        figures = vars(self).items()
        return [n for n, v in figures if isinstance(v, float) and not math.isfinite(v)]


@dataclass(frozen=True, eq=False)
class RegistrationResult:
    """Both directions of a registration, how they came about, and how good they look.

    Attributes:
        field: fixed to moving, the whole chain, on a grid that covers the fixed image with a
            margin.
        inverse_field: moving to fixed, likewise over the moving image.
        linear: the alignment in that chain, fixed to moving.
        model: name of the one that was used.
        outcome: in numbers.
        warnings: each thing that was repaired, assumed or looks wrong, in words.
        timings: seconds per stage.
        provenance: inputs, options, versions.
        maps: what else the model found, by name, on the fixed grid; "absent" is 1 where the fixed
            image shows tissue that the moving one lacks.
    """

    field: DisplacementField
    inverse_field: DisplacementField
    linear: LinearTransform
    model: str
    outcome: Outcome
    warnings: tuple[str, ...]
    timings: Mapping[str, float]
    provenance: Mapping[str, object]
    maps: Mapping[str, Image] = member(default_factory=dict)

    @cached_property
    def fixed_to_moving(self) -> sitk.Transform:
        """The ITK transform that resampling the moving image onto the fixed one takes."""
        from neuralreg.io.itk import to_itk

        transform: sitk.Transform = to_itk(self.field)
        return transform

    @cached_property
    def moving_to_fixed(self) -> sitk.Transform:
        """The other direction: it moves points of the moving image onto the fixed one."""
        from neuralreg.io.itk import to_itk

        transform: sitk.Transform = to_itk(self.inverse_field)
        return transform
