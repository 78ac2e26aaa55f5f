"""Options of the commands that register more than a pair."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from neuralreg.registration.options import RegistrationOptions

OutputFolder = Annotated[Path, typer.Option("--output", "-o", help="The folder for the results.")]
Model = Annotated[str, typer.Option(help="A name from `neuralreg models list`, or auto.")]
Preset = Annotated[str, typer.Option(help="What the images show.")]
RefineSteps = Annotated[
    int | None,
    typer.Option(
        min=0,
        help="At each resolution: 20 from a template, 60 between scans, 32 of a field by register.",
    ),
]


def options_of(
    model: str, preset: str, refine_steps: int | None, device: str
) -> RegistrationOptions:
    """The options of each registration of a group.

    Raises:
        InvalidOption: one of them is unknown.
    """
    from neuralreg.registration.options import FieldRefinement, RegistrationOptions

    refinement = None if refine_steps is None else FieldRefinement(steps=refine_steps)
    return RegistrationOptions().replace(
        model=model, preset=preset, refinement=refinement, device=device
    )
