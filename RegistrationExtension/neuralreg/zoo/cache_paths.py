"""Where cards and weights are stored on this machine."""

from __future__ import annotations

import os
from pathlib import Path

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
