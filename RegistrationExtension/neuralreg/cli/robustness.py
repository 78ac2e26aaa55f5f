"""`neuralreg robustness`: where does the result depend on the start?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from neuralreg.cli.common_options import AsJson, Device, OutputFile, Overwrite, Quiet


def robustness(
    fixed: Annotated[Path, typer.Argument(help="The fixed image.")],
    moving: Annotated[Path, typer.Argument(help="The moving image.")],
    output: OutputFile,
    model: Annotated[str, typer.Option(help="A name from `neuralreg models list`.")] = "auto",
    starts: Annotated[int, typer.Option(help="How many registrations.")] = 4,
    seed: Annotated[int, typer.Option(help="Seed of the random starts.")] = 0,
    device: Device = "auto",
    overwrite: Overwrite = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Register from several starts and write the spread of the results, in mm, as an image.

    Where it is large the images did not decide. Where it is small the results may still be wrong
    together: the map ranks locations by doubt and measures no accuracy.
    """
    from neuralreg.cli.terminal import print_result, show_progress, warn
    from neuralreg.io.files import require_free
    from neuralreg.io.image_files import read_image
    from neuralreg.review.workflow.robustness import Perturbation, write_spread
    from neuralreg.review.workflow.robustness import robustness as run_robustness

    require_free(output, overwrite, [fixed, moving])
    notes: list[str] = []
    images = (read_image(fixed, notes=notes), read_image(moving, notes=notes))
    with show_progress(quiet) as progress:
        result = run_robustness(
            *images,
            model,
            starts=starts,
            perturbation=Perturbation(seed=seed),
            device=device,
            progress=progress,
        )
    write_spread(result, images[0].grid, output)
    warn([*notes, *result.result.warnings])
    facts = {
        "output": str(output),
        "starts": result.starts,
        "model": result.result.model,
        "spread_mean_mm": float(result.spread_mm.mean()),
        "spread_max_mm": float(result.spread_mm.max()),
        "seconds": round(result.seconds, 1),
    }
    words = f"{result.starts} starts, spread {facts['spread_mean_mm']:.2g} mm on average"
    print_result(facts, as_json, lambda: f"{words}, {facts['spread_max_mm']:.2g} at most: {output}")
