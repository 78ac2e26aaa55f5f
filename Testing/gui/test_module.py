"""The module file: opens light, follows Slicer's conventions, and tests itself."""

from __future__ import annotations

import subprocess
import sys
import types

import pytest

from Testing.support.paths import EXTENSION

MODULE = EXTENSION / "NeuralRegistration.py"


@pytest.fixture
def the_module(the_application):
    import NeuralRegistration

    return NeuralRegistration


def test_the_classes_carry_the_names_that_slicer_looks_for(the_module):
    for kind in ("", "Widget", "Logic", "Test"):
        made = getattr(the_module, f"NeuralRegistration{kind}")
        assert made.__bases__[0].__name__ == f"ScriptedLoadableModule{kind}"


def test_the_module_says_what_slicer_shows(the_module):
    parent = types.SimpleNamespace(path=str(MODULE))
    the_module.NeuralRegistration(parent)
    assert parent.title == "Neural Registration"
    assert parent.categories == ["Registration"]
    assert not parent.icon.isNull()


def test_there_is_a_tab_for_each_panel_and_no_empty_one(a_panel):
    tabs = a_panel.tabs
    assert [tabs.tabText(i) for i in range(tabs.count)] == [
        "Register",
        "Review",
        "Train",
        "Models",
        "Batch",
    ]


def test_the_self_test_that_slicer_runs_passes_with_the_default_engine(
    the_module, real_worker, a_scene
):
    import unittest

    result = unittest.TestResult()
    the_module.NeuralRegistrationTest().run(result)
    assert result.errors + result.failures + result.skipped == []
    assert result.testsRun == 1


def test_reload_and_test_cleans_up_without_unittest_and_skips_without_an_error(
    the_module, a_scene, monkeypatch, the_application
):
    from NeuralRegistrationLib import Dependencies

    closed = []
    cleanup = the_module.NeuralRegistrationWidget.cleanup
    monkeypatch.setattr(
        the_module.NeuralRegistrationWidget,
        "cleanup",
        lambda self: (closed.append(self), cleanup(self)),
    )
    missing = [package for package in Dependencies.PACKAGES if package.module == "torch"]
    monkeypatch.setattr(Dependencies, "missingPackages", lambda: missing)
    the_module.NeuralRegistrationTest().runTest()
    assert len(closed) == 1


def test_opening_the_module_loads_neither_torch_nor_itk():
    code = f"""
import sys, types, time
class Any(types.ModuleType):
    def __getattr__(self, name): return type(name, (), {{}})
names = ("qt", "slicer", "slicer.i18n", "slicer.ScriptedLoadableModule", "slicer.util")
for name in names:
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
