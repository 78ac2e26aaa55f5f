"""`slicer.packaging`: installs nothing here; a test puts its own function in place."""

from __future__ import annotations

from types import ModuleType


def pip_install(
    requirements,
    constraints=None,
    no_deps_requirements=None,
    skip_packages=None,
    blocking=True,
    show_progress=True,
    requester=None,
    logCallback=None,
    completedCallback=None,
):
    """Never reached: tests do not change the environment."""
    raise AssertionError(f"a test wanted to install {requirements}")


def packaging_module() -> ModuleType:
    """The module."""
    made = ModuleType("slicer.packaging")
    made.pip_install = pip_install
    return made
