"""`neuralreg label`: the structures of a brain, with names, colors and volumes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from neuralreg.cli.common_options import AsJson, Device, OutputFile, Overwrite, Quiet


def label(
    head: Annotated[Path, typer.Argument(help="A T1-weighted image of a human head or brain.")],
    output: OutputFile,
    model: Annotated[
        str, typer.Option(help="subcortical18, or aparc50 for heads with skull.")
    ] = "subcortical18",
    sides: Annotated[
        bool, typer.Option("--sides", help="Labels of their own for left (+100) and right (+200).")
    ] = False,
    table: Annotated[
        Path | None, typer.Option(help="A CSV file for label, name and volume in ml.")
    ] = None,
    colors: Annotated[
        Path | None, typer.Option(help="A color table with the names, for Slicer (.ctbl).")
    ] = None,
    device: Device = "auto",
    overwrite: Overwrite = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Label the structures of a brain by a network.

    A file that ends in .seg.nrrd holds names and colors as well. An image in which no brain with
    the contrast of T1 can be recognized is refused.
    """
    from neuralreg.cli.terminal import print_result, show_progress, warn
    from neuralreg.errors import InvalidOption
    from neuralreg.io.files import require_free, write_whole
    from neuralreg.io.formats.segmentations import write_color_table, write_segmentation
    from neuralreg.io.image_files import read_image
    from neuralreg.io.tables import format_table
    from neuralreg.registration.brain.structures import label_brain

    outputs = [path for path in (output, table, colors) if path is not None]
    for path in outputs:
        require_free(path, overwrite, [head])
    if len({path.resolve() for path in outputs}) < len(outputs):
        raise InvalidOption("each output is a file of its own", got=", ".join(map(str, outputs)))
    notes: list[str] = []
    image = read_image(head, notes=notes)
    with show_progress(quiet) as progress:
        brain = label_brain(image, model=model, sides=sides, device=device, progress=progress)
    write_segmentation(brain.labels, brain.segments, output)
    if table is not None:
        rows = [[str(cell) for cell in row.values()] for row in brain.table()]
        with write_whole(table) as draft:
            draft.write_text(format_table(("label", "name", "volume_ml"), rows), "utf-8")
    if colors is not None:
        write_color_table(brain.segments, colors)
    warn(notes := [*notes, *brain.warnings])
    facts = {
        "outputs": [str(path) for path in outputs],
        "model": brain.model,
        "structures": brain.table(),
        "warnings": notes,
    }
    volume = sum(brain.volumes_ml.values())
    print_result(facts, as_json, lambda: f"wrote {output} ({volume:.0f} ml, {brain.model})")
