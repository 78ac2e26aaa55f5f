"""Draws the pictures of docs/tutorial-python.md by running it."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from pathlib import Path

import matplotlib

from Testing.support.pages import run_page
from Testing.support.paths import DOCS
from Testing.support.published_images import fetch

PAGE = DOCS / "tutorial-python.md"
FILES = {"person.nii.gz": "T1.nii.gz", "atlas.nii.gz": "tpl-MNI152NLin6Asym_res-01_T1w.nii.gz"}


def main() -> None:
    matplotlib.use("Agg")
    images = DOCS / "images"
    images.mkdir(exist_ok=True)
    files = fetch(Path("demo-output") / ".cache")
    with tempfile.TemporaryDirectory() as folder:
        for name, source in FILES.items():
            shutil.copy(files[source], Path(folder) / name)
        with contextlib.chdir(folder):
            run_page(PAGE)
        for picture in Path(folder).glob("*.png"):
            shutil.copy(picture, images / picture.name)


if __name__ == "__main__":
    main()
