"""What the installation provides: model cards, limits, recipes, and threads to use."""

from __future__ import annotations

from pathlib import Path

THREADS = 2  # of loops in NumPy; more gain little, as memory is the limit


def resource_folders(kind: str) -> list[Path]:
    """Folders for files of a kind, the likeliest first; none of them need exist.

    Args:
        kind: a folder of Resources, such as "Models".
    """
    package = Path(__file__).resolve().parent
    return [
        package / "_resources" / kind,  # installed by pip
        package.parent / "Resources" / kind,  # installed in Slicer
        package.parent.parent / "Resources" / kind,  # a checkout
    ]
