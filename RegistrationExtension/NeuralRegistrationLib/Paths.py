"""The paths of the extension's own files, and those that are proposed for a person's."""

from __future__ import annotations

import re
from pathlib import Path

_MODULE_FOLDER = Path(__file__).resolve().parent.parent


def resourcePath(name: str = "") -> str:
    """The path of a file in `Resources`.

    Installed, that folder is beside the module file; in the source tree one level above it.
    A name that exists in neither gives the installed path, as Slicer's own helper does.
    """
    folders = (_MODULE_FOLDER / "Resources", _MODULE_FOLDER.parent / "Resources")
    folder = next((each for each in folders if (each / name).exists()), folders[0])
    return str(folder / name)


def proposedPath(name: str) -> str:
    """A file in the home folder for what has a name in the scene, where "/" and ":" are allowed."""
    return str(Path.home() / re.sub(r'[<>:"/\\|?*\x00-\x1f]+', "_", name))
