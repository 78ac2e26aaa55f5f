"""Options of what steers a registration beside its images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from neuralreg.errors import InvalidOption

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
    str | None,
    typer.Option(
        "--drive-labels",
        metavar="[given|auto]",
        help="Labels of the same value in both label maps pull; auto: what a network labels in two "
        "brains (T1, weights by `models get subcortical18`); given without a word.",
    ),
]
LabelWeight = Annotated[float, typer.Option(help="Of labels that drive, beside the images.")]
Channel = Annotated[
    list[str] | None,
    typer.Option(
        "--channel",
        metavar="FIXED MOVING [WEIGHT]",
        help="Two more images, one of each side, that are registered together with the others, "
        "beside whose 1 they have a weight (1); repeatable.",
    ),
]
Colors = Annotated[
    str,
    typer.Option("--channels", help="Of images in colors: luminance, or rgb for three channels."),
]
RigidLabels = Annotated[
    str | None,
    typer.Option(
        help="Labels of --fixed-seg that move as one piece each, such as bones: 1,2,5 or all."
    ),
]
Surface = Annotated[
    list[str] | None,
    typer.Option(
        "--surface",
        metavar="FIXED MOVING",
        help="Surfaces of both sides that pull each other: meshes (.vtk, .vtp, .ply, .stl) or "
        "label maps; repeatable.",
    ),
]
SurfaceWeight = Annotated[float, typer.Option(help="Of surfaces, beside the images.")]
Sliding = Annotated[
    Path | None,
    typer.Option(
        "--sliding",
        help="Mask of the part of the fixed image that may slide along the rest, such as the lungs "
        "along the chest wall.",
    ),
]
_BETWEEN = "\0"  # no argument of a program holds it
# Options of two files, and whether a number may follow.
_PAIRS = {"--channel": True, "--surface": False}


def join_pairs(arguments: Sequence[str]) -> list[str]:
    """The arguments, with the files of each pair as one word, which typer can repeat.

    Raises:
        InvalidOption: a file is missing.
    """
    joined: list[str] = []
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if word not in _PAIRS:
            joined.append(word)
            continue
        count = 3 if _PAIRS[word] and _is_number(rest[2:3]) else 2
        files, rest = rest[:count], rest[count:]
        if len(files) < 2 or any(file.startswith("--") for file in files):
            raise InvalidOption(
                f"{word} takes a file of the fixed and one of the moving side",
                got=" ".join(files) or "none",
            )
        joined.append(f"{word}={_BETWEEN.join(files)}")
    return joined


def split_channels(
    words: Sequence[str],
) -> tuple[tuple[tuple[Path, Path], ...], tuple[float, ...]]:
    """The files and the weights of all channels."""
    parts = [word.split(_BETWEEN) for word in words]
    pairs = tuple((Path(fixed), Path(moving)) for fixed, moving, *_ in parts)
    return pairs, tuple(float(part[2]) if len(part) > 2 else 1.0 for part in parts)


def _is_number(words: Sequence[str]) -> bool:
    try:
        return bool(words) and isinstance(float(words[0]), float)
    except ValueError:
        return False


def require_beside(context: typer.Context, partner: str, given: bool, *names: str) -> None:
    """Refuse options that were typed without the one that they belong to.

    Args:
        context: of the command.
        partner: the option that they belong to, with its dashes.
        given: whether it was.
        names: of the options, as parameters of the command.

    Raises:
        InvalidOption: one of them was typed alone, and would do nothing.
    """
    for name in names:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE" and not given:
            raise InvalidOption(
                f"--{name.replace('_', '-')} does nothing without {partner}",
                remedy=f"Give {partner} as well, or leave it out.",
            )
