"""`neuralreg visualise`: pictures and animations of images and fields."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from neuralreg.cli.common_options import AsJson
from neuralreg.errors import InvalidOption


def visualize(
    mode: Annotated[
        int,
        typer.Option(
            "--mode",
            "-m",
            min=0,
            max=3,
            help="0: animation over slices; 1: animation of warping; 2: a table of slices; "
            "3: animation over slices of several images.",
        ),
    ],
    images: Annotated[
        list[str],
        typer.Option("--image-paths", "-i", help="Files, repeated or separated by commas."),
    ],
    folder: Annotated[
        Path, typer.Option("--save-path", "-s", help="The folder for the output.")
    ] = Path(),
    interval: Annotated[int, typer.Option(min=1, help="Milliseconds between frames.")] = 50,
    ddf_path: Annotated[
        Path | None, typer.Option("--ddf-path", help="The displacement field (mode 1).")
    ] = None,
    num_interval: Annotated[int, typer.Option(min=2, help="Frames of warping (mode 1).")] = 100,
    slice_inds: Annotated[
        str | None, typer.Option(help="Slices, separated by commas (modes 1 and 2).")
    ] = None,
    fname: Annotated[str | None, typer.Option(help="Name of the file (modes 2 and 3).")] = None,
    col_titles: Annotated[
        str | None, typer.Option(help="Titles of the columns, separated by commas (mode 2).")
    ] = None,
    size: Annotated[str, typer.Option(help="Rows and columns (mode 3).")] = "2,2",
    as_json: AsJson = False,
) -> None:
    """Make pictures of images: slices, warping, tables, tiles.

    Modes and options are those of DeepReg's deepreg_vis; slices count along the last axis of the
    file (z), the middle one is taken unless told otherwise.
    """
    from neuralreg.cli.outputs import require_folder
    from neuralreg.cli.terminal import print_result

    paths = [Path(part.strip()) for text in images for part in text.split(",") if part.strip()]
    require_folder(folder, (), True)
    slices = None if slice_inds is None else _numbers(slice_inds, "--slice-inds")
    makers = (_slices, _warps, _table, _tiles)
    picture = makers[mode](
        paths,
        folder,
        interval=interval,
        field=ddf_path,
        steps=num_interval,
        slices=slices,
        name=fname,
        titles=[t.strip() for t in col_titles.split(",")] if col_titles else None,
        size=_numbers(size, "--size"),
    )
    facts = {"output": [str(path) for path in picture]}
    print_result(facts, as_json, lambda: "\n".join(f"wrote {path}" for path in picture))


def _numbers(text: str, option: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise InvalidOption(f"{option} wants whole numbers", got=f"'{text}'") from error


def _read(paths: list[Path]) -> list[Any]:
    from neuralreg.io.image_files import read_image

    return [read_image(path) for path in paths]


def _stem(path: Path) -> str:
    from neuralreg.io.files import suffix_of

    return path.name[: len(path.name) - len(suffix_of(path))]


def _slices(paths: list[Path], folder: Path, *, interval: int, **_: Any) -> list[Path]:
    from neuralreg.training.results.visualize import gif_slices

    picture = [folder / f"{_stem(path)}.gif" for path in paths]
    for image, path in zip(_read(paths), picture, strict=True):
        gif_slices(image, path, interval_ms=interval)
    return picture


def _warps(
    paths: list[Path],
    folder: Path,
    *,
    interval: int,
    field: Path | None,
    steps: int,
    slices: list[int] | None,
    **_: Any,
) -> list[Path]:
    from neuralreg.geometry.field import DisplacementField
    from neuralreg.io.transform_files import read_transform
    from neuralreg.training.results.visualize import gif_warp

    if field is None:
        raise InvalidOption("mode 1 needs a displacement field", wanted="--ddf-path FILE")
    transform = read_transform(field)
    if not isinstance(transform, DisplacementField):
        raise InvalidOption("mode 1 needs a displacement field", got=f"{field}")
    middle = transform.grid.size[-1] // 2 if transform.grid.dimension == 3 else 0
    picture = []
    for image, path in zip(_read(paths), paths, strict=True):
        for number in slices or [middle]:
            picture.append(folder / f"{_stem(path)}_slice_{number}.gif")
            gif_warp(
                image, transform, picture[-1], slice_index=number, steps=steps, interval_ms=interval
            )
    return picture


def _table(
    paths: list[Path],
    folder: Path,
    *,
    slices: list[int] | None,
    name: str | None,
    titles: list[str] | None,
    **_: Any,
) -> list[Path]:
    from neuralreg.training.results.visualize import tile_slices

    picture = folder / (name or "visualisation.png")
    columns = titles or [_stem(path) for path in paths]
    tile_slices(_read(paths), picture, slice_indices=slices, titles=columns)
    return [picture]


def _tiles(
    paths: list[Path], folder: Path, *, interval: int, name: str | None, size: list[int], **_: Any
) -> list[Path]:
    from neuralreg.training.results.visualize import gif_tiles

    if len(size) != 2:
        raise InvalidOption("--size wants rows and columns", got=f"{size}", wanted="such as 2,2")
    picture = folder / (name or "visualisation.gif")
    gif_tiles(_read(paths), picture, size=(size[0], size[1]), interval_ms=interval)
    return [picture]
