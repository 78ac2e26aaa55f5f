"""The module file: opens light, follows the conventions, and works from the console."""

from __future__ import annotations

import importlib
import subprocess
import sys
import types
from pathlib import Path

import pytest

MODULE = Path(__file__).resolve().parents[2] / "RegistrationExtension" / "NeuralRegistration.py"
FROM_THE_APPLICATION = ("qt", "slicer.i18n", "slicer.ScriptedLoadableModule")


class Recorder:
    """Takes any attribute and call, as a Qt object would, and remembers what it was made with."""

    def __init__(self, *made_with):
        self.made_with = made_with

    def __getattr__(self, name):
        return Recorder()

    def __call__(self, *args, **kwargs):
        return Recorder(*args)


class Base:
    """Stands for each of the four base classes that the application brings."""

    def __init__(self, parent=None):
        self.parent = parent
        self.layout = Recorder()

    def setup(self):
        self.wasSetUp = True

    def delayDisplay(self, message):
        self.lastMessage = message


@pytest.fixture
def the_module(monkeypatch):
    import slicer

    stand_ins = {name: types.ModuleType(name) for name in FROM_THE_APPLICATION}
    stand_ins["qt"].QIcon = stand_ins["qt"].QLabel = Recorder
    stand_ins["qt"].Qt = Recorder()
    stand_ins["slicer.i18n"].tr = lambda text: text
    stand_ins["slicer.i18n"].translate = lambda context, text: text
    for kind in ("", "Widget", "Logic", "Test"):
        name = f"ScriptedLoadableModule{kind}"
        setattr(stand_ins["slicer.ScriptedLoadableModule"], name, type(name, (Base,), {}))
    for name, module in stand_ins.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(slicer, "__path__", [], raising=False)
    monkeypatch.delitem(sys.modules, "NeuralRegistration", raising=False)
    yield importlib.import_module("NeuralRegistration")
    sys.modules.pop("NeuralRegistration", None)


def test_the_classes_carry_the_names_that_slicer_looks_for(the_module):
    for kind in ("", "Widget", "Logic", "Test"):
        made = getattr(the_module, f"NeuralRegistration{kind}")
        assert made.__bases__[0].__name__ == f"ScriptedLoadableModule{kind}"


def test_the_module_says_what_slicer_shows(the_module):
    parent = types.SimpleNamespace()
    the_module.NeuralRegistration(parent)
    assert parent.title == "Neural Registration"
    assert parent.categories == ["Registration"]
    (icon,) = parent.icon.made_with
    assert Path(icon).is_file()


def test_the_panel_opens_with_a_word_on_what_to_type(the_module):
    widget = the_module.NeuralRegistrationWidget()
    widget.setup()
    assert "NeuralRegistrationLogic().register(" in widget.howToLabel.made_with[0]


def test_the_three_lines_of_the_panel_run(the_module, a_scene, blobs, an_oblique_grid, monkeypatch):
    """What the panel tells to type, typed; with an engine that needs no time."""
    import neuralreg
    import slicer
    from NeuralRegistrationLib import Volumes

    Volumes.volumeNodeFromImage(blobs(an_oblique_grid), "fixed")
    Volumes.volumeNodeFromImage(blobs(an_oblique_grid), "moving")
    asked = {}

    def engine(fixed, moving, model, **options):
        asked.update(model=model, grid=fixed.grid)
        raise neuralreg.errors.Cancelled("enough")

    monkeypatch.setitem(vars(neuralreg), "register", engine)
    with pytest.raises(neuralreg.errors.Cancelled):
        exec(the_module.CONSOLE_EXAMPLE, {"getNode": slicer.util.getNode})
    assert asked["model"] == "convex"
    assert asked["grid"].is_close(an_oblique_grid)


def test_the_self_test_that_slicer_runs_passes_with_the_default_engine(the_module, a_scene):
    test = the_module.NeuralRegistrationTest()
    test.runTest()
    assert test.lastMessage == "The shift was found and taken back"


def test_the_module_file_is_short():
    assert len(MODULE.read_text().splitlines()) < 200


def test_opening_the_module_loads_neither_torch_nor_itk():
    code = f"""
import sys, types, time
class Any(types.ModuleType):
    def __getattr__(self, name): return type(name, (), {{}})
for name in ("qt", "slicer", "slicer.i18n", "slicer.ScriptedLoadableModule"):
    sys.modules[name] = Any(name)
sys.path.insert(0, {str(MODULE.parent)!r})
start = time.process_time()  # a busy machine is not the module's fault
import NeuralRegistration
print(time.process_time() - start)
print(sorted({{"torch", "SimpleITK", "numpy", "neuralreg", "vtk"}} & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True
    )
    seconds, loaded = done.stdout.splitlines()
    assert loaded == "[]"
    assert float(seconds) < 0.15


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
