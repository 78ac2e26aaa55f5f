"""`neuralreg brain-mask`: where the brain is in a head."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from neuralreg.cli.common_options import AsJson, Device, OutputFile, Overwrite, Quiet


def brain_mask(
    head: Annotated[Path, typer.Argument(help="An image of a human head.")],
    output: OutputFile,
    model: Annotated[
        str,
        typer.Option(
            help="mindgrab: a network for any MR contrast; template: by registration; auto: the "
            "network where it is on this machine."
        ),
    ] = "auto",
    device: Device = "auto",
    overwrite: Overwrite = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Find the brain in a head, for models that want brains without skull, and for anything else.

    An image that shows no human head is refused, as far as its result tells.
    """
    from neuralreg.cli.terminal import print_result, show_progress, warn
    from neuralreg.io.files import require_free
    from neuralreg.io.image_files import read_image, write_image
    from neuralreg.registration.brain.brain_mask import brain_mask as find_brain

    require_free(output, overwrite, [head])
    notes: list[str] = []
    image = read_image(head, notes=notes)
    with show_progress(quiet) as progress:
        brain = find_brain(image, model=model, device=device, progress=progress)
    write_image(brain.mask, output)
    warn(notes := [*notes, *brain.warnings])
    facts = {
        "output": str(output),
        "model": brain.model,
        "liters": round(brain.liters, 3),
        "warnings": notes,
    }
    print_result(facts, as_json, lambda: f"wrote {output} ({brain.liters:.2f} l, {brain.model})")
