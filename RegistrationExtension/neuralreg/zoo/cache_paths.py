"""Where cards and weights lie on this machine."""

from __future__ import annotations

import os
from pathlib import Path

from neuralreg.resources import resource_folders


def cards_folders() -> list[Path]:
    """Where cards lie: with the package, with the extension, and the user's own."""
    return [folder for folder in (*resource_folders("Models"), own_folder()) if folder.is_dir()]


def own_folder() -> Path:
    """Where a user's own cards and weights lie: NEURALREG_MODELS, else beside the downloads."""
    own = os.environ.get("NEURALREG_MODELS")
    return Path(own) if own else cache_folder() / "own"


def cache_folder() -> Path:
    """Where downloaded weights lie: NEURALREG_CACHE, else the user's cache for this program."""
    from platformdirs import user_cache_dir

    own = os.environ.get("NEURALREG_CACHE")
    return Path(own) if own else Path(user_cache_dir("neuralreg"))
