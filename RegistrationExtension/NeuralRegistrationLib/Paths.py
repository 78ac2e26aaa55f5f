"""Where the extension's own files lie, in the source tree and in an installed Slicer."""

from __future__ import annotations

from pathlib import Path

_MODULE_FOLDER = Path(__file__).resolve().parent.parent


def resourcePath(name: str = "") -> str:
    """The path of a file in `Resources`.

    Installed, that folder stands beside the module file; in the source tree one level above it.
    A name that exists in neither gives the installed path, as Slicer's own helper does.
    """
    places = (_MODULE_FOLDER / "Resources", _MODULE_FOLDER.parent / "Resources")
    found = next((place for place in places if (place / name).exists()), places[0])
    return str(found / name)
