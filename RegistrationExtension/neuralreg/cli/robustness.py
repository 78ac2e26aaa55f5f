"""`neuralreg robustness`: where does the answer depend on the start?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from neuralreg.cli.options import AsJson, Device, OutputFile, Overwrite, Quiet


def robustness(
    fixed: Annotated[Path, typer.Argument(help="The fixed image.")],
    moving: Annotated[Path, typer.Argument(help="The moving image.")],
    output: OutputFile,
    model: Annotated[str, typer.Option(help="A name from `neuralreg models list`.")] = "auto",
    starts: Annotated[int, typer.Option(help="How often to register: the cost.")] = 4,
    seed: Annotated[int, typer.Option(help="Of the random starts.")] = 0,
    device: Device = "auto",
    overwrite: Overwrite = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Register from several starts and write the spread of the answers, in mm, as an image.

    Where it is large the images did not decide. Where it is small the answers may still be wrong
    together: the map ranks places by doubt and measures no accuracy.
    """
    from neuralreg.cli.outputs import require_free
    from neuralreg.cli.terminal import answer, shown_progress, warn
    from neuralreg.io.image_files import read_image
    from neuralreg.review.workflow.robustness import robustness as spread_of
    from neuralreg.review.workflow.robustness import write_spread

    require_free(output, overwrite)
    notes: list[str] = []
    images = (read_image(fixed, notes=notes), read_image(moving, notes=notes))
    with shown_progress(quiet) as progress:
        found = spread_of(
            *images, model, starts=starts, seed=seed, device=device, progress=progress
        )
    write_spread(found, images[0].grid, output)
    warn([*notes, *found.result.warnings])
    facts = {
        "output": str(output),
        "starts": found.starts,
        "model": found.result.model,
        "spread_mean_mm": float(found.spread_mm.mean()),
        "spread_max_mm": float(found.spread_mm.max()),
        "seconds": round(found.seconds, 1),
    }
    words = f"{found.starts} starts, spread {facts['spread_mean_mm']:.2g} mm on average"
    answer(facts, as_json, lambda: f"{words}, {facts['spread_max_mm']:.2g} at most: {output}")
