"""The folder or file that a command writes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from neuralreg.io.files import draft_folder, make_folder, require_free


def require_folder(
    folder: Path, files: tuple[str, ...], overwrite: bool, inputs: Iterable[Path | None] = ()
) -> None:
    """Make the folder and try it out, before minutes of work go to waste.

    Raises:
        UnwritableOutput: when it cannot be written to, holds one of the files already, or one of
            them is an input.
    """
    make_folder(folder)
    with draft_folder(folder, last="") as folder_of_drafts:
        (folder_of_drafts / "trial").write_bytes(b"")
        (folder_of_drafts / "trial").unlink()
    inputs = list(inputs)
    for name in files:
        require_free(folder / name, overwrite, inputs)


@contextmanager
def folder_for(
    files: tuple[str, ...], folder: Path, overwrite: bool, inputs: Iterable[Path | None] = ()
) -> Iterator[None]:
    """`require_folder` around long work; what it made goes again when that leaves nothing."""
    new = [each for each in (folder, *folder.parents) if not each.exists()]
    try:
        require_folder(folder, files, overwrite, inputs)
        yield
    except BaseException:
        for each in new:
            if each.is_dir() and not any(each.iterdir()):
                each.rmdir()
        raise
