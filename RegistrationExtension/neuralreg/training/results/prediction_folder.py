"""The folder of predictions: those of one call, an earlier one kept until all are written."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from neuralreg.errors import UnwritableOutput
from neuralreg.io.files import remove_path
from neuralreg.training.results.metrics import TABLES
from neuralreg.training.results.pair_files import ABOUT, FIELD, PREDICTED
from neuralreg.training.run_files import REPLACED

_PAIR = re.compile(r"^pair_\d{4,}$")
_OF_A_PAIR = (ABOUT, FIELD, "pair.png", f"{PREDICTED}_label_*.nii.gz")
ALL_PAIRS = "pairs.png"


def pairs_in(folder: Path) -> list[Path]:
    """The folders of pairs that a prediction wrote, in their order."""
    return sorted(
        path
        for path in folder.glob("pair_*")
        if _PAIR.match(path.name) and any(any(path.glob(pattern)) for pattern in _OF_A_PAIR)
    )


def require_no_predictions(folder: Path) -> None:
    """Raise UnwritableOutput when a folder holds predictions, with or without their tables."""
    existing = pairs_in(folder)
    if existing:
        raise UnwritableOutput(
            f"{folder} holds predictions",
            got=", ".join(path.name for path in existing[:4]),
            remedy="Choose another folder, or --overwrite, which replaces all of them.",
        )


@contextmanager
def replace_predictions(folder: Path) -> Iterator[None]:
    """Have a folder hold the predictions of the block alone, or those of before if that fails.

    Args:
        folder: it exists.
    """
    aside = folder / REPLACED
    if aside.is_dir():  # a process was killed before it was done
        _put_back(folder, aside)
    earlier = _files(folder)
    if earlier:
        aside.mkdir()
        for path in earlier:
            path.replace(aside / path.name)
    foreign = {path.name for path in folder.iterdir()}
    try:
        yield
    except BaseException:
        for path in [p for p in folder.iterdir() if p.name not in foreign]:
            if _PAIR.match(path.name) or path.name in (*TABLES, ALL_PAIRS):
                remove_path(path)
        if aside.is_dir():
            _put_back(folder, aside)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _files(folder: Path) -> list[Path]:
    named = (folder / name for name in (*TABLES, ALL_PAIRS))
    return [*pairs_in(folder), *(path for path in named if path.is_file())]


def _put_back(folder: Path, aside: Path) -> None:
    for path in _files(folder):
        remove_path(path)
    for path in aside.iterdir():
        if (folder / path.name).exists():
            remove_path(folder / path.name)  # half written
        path.replace(folder / path.name)
    aside.rmdir()
