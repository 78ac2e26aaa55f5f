"""The module file and its resources, as far as no window is needed; the rest is in Testing/gui."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from Testing.support.paths import EXTENSION

MODULE = EXTENSION / "NeuralRegistration.py"


def test_the_module_file_is_short():
    assert len(MODULE.read_text().splitlines()) < 200


def test_a_resource_is_found_in_the_source_tree_and_beside_an_installed_module(tmp_path):
    from NeuralRegistrationLib import Paths

    assert Path(Paths.resourcePath("Icons/NeuralRegistration.png")).is_file()
    library = tmp_path / "qt-scripted-modules" / "NeuralRegistrationLib"
    icons = library.parent / "Resources" / "Icons"
    icons.mkdir(parents=True)
    library.mkdir()
    (library / "Paths.py").write_text(Path(Paths.__file__).read_text())
    (icons / "NeuralRegistration.png").write_bytes(b"png")
    spec = importlib.util.spec_from_file_location("InstalledPaths", library / "Paths.py")
    installed = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(installed)
    found = installed.resourcePath("Icons/NeuralRegistration.png")
    assert found == str(icons / "NeuralRegistration.png")
