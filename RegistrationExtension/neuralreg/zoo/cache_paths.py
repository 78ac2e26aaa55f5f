"""Where cards and weights are stored on this machine, and what is remembered beside them."""

from __future__ import annotations

import json
import os
from pathlib import Path

from neuralreg.io.files import write_whole
from neuralreg.resources import resource_folders


def cards_folders() -> list[Path]:
    """The existing folders with cards: of the package, of the extension, and the user's own."""
    return [folder for folder in (*resource_folders("Models"), own_folder()) if folder.is_dir()]


def own_folder() -> Path:
    """The folder of a user's own cards and weights: NEURALREG_MODELS, else one in the cache."""
    own = os.environ.get("NEURALREG_MODELS")
    return Path(own) if own else cache_folder() / "own"


def cache_folder() -> Path:
    """The folder of downloaded weights: NEURALREG_CACHE, else the user's cache for this program."""
    from platformdirs import user_cache_dir

    own = os.environ.get("NEURALREG_CACHE")
    return Path(own) if own else Path(user_cache_dir("neuralreg"))


def read_record(path: Path) -> dict[str, str]:
    """Texts by the names of models; nothing where the file was not written yet."""
    record: dict[str, str] = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    return record


def add_to_record(path: Path, name: str, text: str) -> None:
    """Remember a text for a model.

    Raises:
        UnwritableOutput: the folder of the file is missing or closed.
    """
    record = {**read_record(path), name: text}
    with write_whole(path) as draft:
        draft.write_text(json.dumps(record, indent=2), encoding="utf-8")
