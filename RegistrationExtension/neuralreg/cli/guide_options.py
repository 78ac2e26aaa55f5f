"""Options of what steers a registration beside its images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Landmarks = Annotated[
    tuple[Path, Path] | None,
    typer.Option(
        "--landmarks",
        help="Landmarks of the fixed and of the moving image that steer (.mrk.json, .fcsv, CSV), "
        "paired by name.",
    ),
]
LandmarkFrame = Annotated[
    str, typer.Option(help="Frame of landmarks in tables: LPS or RAS. Slicer's files say theirs.")
]
LandmarkWeight = Annotated[
    float, typer.Option(help="Of the landmarks beside the images; 0 uses them for the start only.")
]
LandmarkTolerance = Annotated[
    float, typer.Option(help="How exactly the landmarks are placed; closer ones do not pull.")
]
DriveLabels = Annotated[
    bool,
    typer.Option("--drive-labels", help="Labels of the same value in both label maps pull."),
]
LabelWeight = Annotated[float, typer.Option(help="Of labels that drive, beside the images.")]
