"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def _remember(ctx: typer.Context, value: bool) -> bool:
    """Let the error boundary know that a program is listening."""
    ctx.meta["json"] = value
    return value


AsJson = Annotated[
    bool,
    typer.Option(
        "--json", callback=_remember, help="One JSON object on standard output, nothing else."
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on standard error.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is already there.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:1.")]
OutputFile = Annotated[Path, typer.Option("--output", "-o", help="The file to write.")]
TrustCode = Annotated[
    list[str] | None,
    typer.Option(
        "--trust-code", help="SHA-256 of Python code of a model or run that may run here; once."
    ),
]
Format = Annotated[
    list[str] | None,
    typer.Option(
        "--from",
        help="The program of a transform file whose content does not decide: itk, elastix, fsl, "
        "fsl-relative, fsl-absolute, freesurfer, minc, afni, niftyreg, spm, mrtrix, "
        "mrtrix-deformation, mrtrix-displacement, voxelmorph, learn2reg, x5, scene. Of several "
        "files one for each, or one for those that need it.",
    ),
]
FixedSide = Annotated[
    Path | None,
    typer.Option("--fixed", "--fixed-series", help="The fixed image (reference, base, template)."),
]
MovingSide = Annotated[
    Path | None,
    typer.Option("--moving", "--moving-series", help="The moving image (source, floating)."),
]


def one_format(formats: list[str] | None) -> str | None:
    """The program of the only transform file of a command.

    Raises:
        InvalidOption: several are given.
    """
    from neuralreg.errors import InvalidOption

    if formats and len(formats) > 1:
        raise InvalidOption("one --from for one transform file", got=", ".join(formats))
    return formats[0] if formats else None
