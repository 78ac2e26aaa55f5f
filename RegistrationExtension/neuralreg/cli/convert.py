"""`neuralreg convert`: transforms of any program as those of any other."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from neuralreg.cli.common_options import (
    AsJson,
    FixedSide,
    Format,
    MovingSide,
    OutputFile,
    Overwrite,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from neuralreg.geometry.grid import Grid
    from neuralreg.io.exchange.families import Content
    from neuralreg.io.exchange.sides import Sides
    from neuralreg.io.transform_chains import Link

_HELP = (
    "Transform files, in the order in which points of the fixed image pass them, as "
    "antsApplyTransforms lists them. [FILE,1] is the inverse of a file."
)


def convert(
    transform: Annotated[list[str], typer.Argument(help=_HELP)],
    output: OutputFile,
    source: Format = None,
    target: Annotated[
        str | None,
        typer.Option("--to", help="The program to write for, where the ending does not decide."),
    ] = None,
    fixed: FixedSide = None,
    moving: MovingSide = None,
    inverse: Annotated[
        bool, typer.Option("--inverse", help="Write the transform from moving to fixed.")
    ] = False,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Read transforms of any program, join them, and write them for any other.

    Formats are recognized by content; where that leaves it open, the command asks for --from. Some
    formats (FSL, register.dat, fields in voxels) only make sense with the images: --fixed and
    --moving. With both, the images are also used to check what came out.
    """
    from neuralreg.cli.terminal import print_result, warn
    from neuralreg.io.exchange.families import FAMILIES, WRITERS, format_of_suffix, writer_name
    from neuralreg.io.exchange.sides import Sides
    from neuralreg.io.files import require_free
    from neuralreg.io.formats.elastix import field_beside
    from neuralreg.io.transform_chains import Link, invert, join, read_chain, write_content

    links, notes, sides = [Link.parse(one) for one in transform], list[str](), Sides(fixed, moving)
    inputs = [*(link.path for link in links), fixed, moving]
    name = writer_name(target) if target else format_of_suffix(output)
    require_free(output, overwrite, inputs)
    if name == "elastix":
        require_free(field_beside(output), overwrite, inputs)
    contents, families = read_chain(links, sides, source or [], notes)
    content = join(contents)
    described = [_in_words(*one) for one in zip(links, families, contents, strict=True)]
    others = {"in the other order": join(contents[::-1])} if len(contents) > 1 else {}
    if inverse:
        others = {}
        content, sides = invert(content, _grid_of(moving), notes), sides.exchange()
    written = write_content(content, output, name, sides, notes)
    notes.extend(_doubts(content, sides, others))
    facts: dict[str, object] = {
        "output": str(output),
        "read": described,
        "format": FAMILIES[name].program,
        "maps": direction_in_words(sides, links, inverse),
        "file_maps": _meaning(name, written),
        "apply_with": WRITERS[name].use if name in WRITERS else _USE_OF_ITK,
        "warnings": notes,
    }
    warn(notes)
    print_result(facts, as_json, lambda: _sentences(facts))


_USE_OF_ITK = "antsApplyTransforms -i MOVING -r FIXED -t FILE -o OUT, or load it in 3D Slicer"


def direction_in_words(sides: Sides, links: list[Link], inverse: bool) -> str:
    """What maps what to what, with the names of the images where they are known."""
    first, last = ("the fixed image", "the moving image")
    if inverse:
        first, last = ("the moving image of the inputs", "their fixed image")
    names = [f" ({path.name})" if path else "" for path in (sides.fixed, sides.moving)]
    return (
        f"points of {first}{names[0]} to {last}{names[1]}; "
        f"it resamples {last}{names[1]} onto {first}{names[0]}"
    )


def _in_words(link: Link, family: str, content: Content) -> str:
    from neuralreg.io.exchange.families import FAMILIES

    said = f"{link.path} ({FAMILIES[family].program}: {_meaning(family, content)})"
    return said + ", inverted" * link.inverted


def _meaning(name: str, content: Content) -> str:
    """What a file of a family maps, in its own coordinates."""
    from neuralreg.io.exchange.families import FAMILIES
    from neuralreg.io.transform_chains import is_linear

    return FAMILIES[name].linear if is_linear(content) else FAMILIES[name].field


def _grid_of(path: Path | None) -> Grid | None:
    from neuralreg.io.itk_images import open_grid

    return None if path is None else open_grid(path)[0]


def _sentences(facts: dict[str, object]) -> str:
    return "\n".join(
        [
            f"wrote {facts['output']} for {facts['format']}",
            f"maps {facts['maps']}",
            f"in the file: {facts['file_maps']}",
            f"apply with: {facts['apply_with']}",
        ]
    )


def _doubts(content: Content, sides: Sides, others: Mapping[str, Content]) -> list[str]:
    """What the images say against the transform, where both are known."""
    if sides.fixed is None or sides.moving is None:
        return []
    from neuralreg.io.itk_images import read_volume
    from neuralreg.io.itk_transforms import as_transform
    from neuralreg.review.findings.direction import doubts_about

    images = (read_volume(sides.fixed, []), read_volume(sides.moving, []))
    readings = {name: as_transform(other) for name, other in others.items()}
    return doubts_about(as_transform(content), *images, readings)
