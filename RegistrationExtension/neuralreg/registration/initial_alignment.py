"""What comes before the deformation: a transform that was given, or the best linear one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neuralreg.errors import InvalidOption
from neuralreg.geometry.field import DisplacementField
from neuralreg.geometry.grid import require_dimension
from neuralreg.geometry.image import Image
from neuralreg.progress import Progress, stage
from neuralreg.registration.brain.label_start import label_proposal
from neuralreg.registration.guides.landmark_start import landmark_start
from neuralreg.registration.image_checks import Inputs
from neuralreg.registration.options import RegistrationOptions
from neuralreg.registration.prealign import prealign
from neuralreg.registration.working_grid import InitialTransform, add_margin

if TYPE_CHECKING:
    import SimpleITK as sitk


def initial_alignment(
    inputs: Inputs, start: sitk.Transform | None, options: RegistrationOptions, progress: Progress
) -> tuple[InitialTransform, dict[str, object]]:
    """What comes before the deformation, and plain values on how it came about.

    Args:
        inputs: both images.
        start: taken as it is, unless None.
        options: say how far the search for a linear transform may go, and where it begins.
        progress: gets a fraction and a message.
    """
    if start is not None:
        if options.start == "labels":
            raise InvalidOption("a registration has one start", got="an initial one and labels")
        return _from_itk(start, inputs.fixed), {"start": "given"}
    how = options.linear
    grids = inputs.fixed.grid, inputs.moving.grid
    landmarks = landmark_start(inputs.landmarks, inputs.centers, grids, how, inputs.notes)
    alignment = prealign(
        inputs.fixed,
        inputs.moving,
        how,
        fixed_mask=inputs.fixed_mask,
        moving_mask=inputs.moving_mask,
        landmarks=landmarks,
        propose=label_proposal(inputs, options, stage(progress, 0.2, 0.4)),
        only_proposed=options.start == "labels",
        progress=progress,
    )
    if alignment.start.is_turned:
        inputs.notes.append("the moving image was turned by 90 degrees or more: check the result")
    return alignment.linear, {"start": alignment.start.value, "kind": alignment.kind.value}


def _from_itk(start: sitk.Transform, fixed: Image) -> InitialTransform:
    from neuralreg.io.itk import from_itk, linear_from_itk

    require_dimension(start.GetDimension(), fixed.grid.dimension)
    if start.IsLinear():
        return linear_from_itk(start)
    field = from_itk(start, add_margin(fixed.grid))
    return DisplacementField(field.vectors.to(fixed.data), field.grid)
