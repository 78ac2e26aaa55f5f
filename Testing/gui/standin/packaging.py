"""`slicer.packaging`: installs nothing here; a test puts its own function in place.

Modeled from Slicer's packaging.py: in testing mode pip works at once and nobody is called back
(:651-657), and it raises while another installation is under way (:660-664). Not modeled: the
dialogs of progress, constraints, and pip itself.
"""

from __future__ import annotations

from types import ModuleType

import slicer

_underWay = []


def isPipInstallInProgress():
    """Whether an installation in the background has not called back yet (:248)."""
    return bool(_underWay)


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
    """Hands the request to `run`, which a test puts in place."""
    if blocking or slicer.app.testingEnabled():
        packaging.run(requirements, no_deps_requirements)
        return
    if _underWay:
        raise RuntimeError("Another non-blocking pip_install is already in progress.")
    _underWay.append(requirements)

    def completed(code):
        _underWay.clear()
        completedCallback(code)

    try:
        packaging.run(requirements, no_deps_requirements, logCallback, completed)
    except BaseException:
        _underWay.clear()
        raise


def _refuse(requirements, *rest):
    raise AssertionError(f"a test wanted to install {requirements}")


packaging = ModuleType("slicer.packaging")


def packaging_module() -> ModuleType:
    """The module."""
    packaging.pip_install = pip_install
    packaging.isPipInstallInProgress = isPipInstallInProgress
    return packaging


packaging.run = _refuse
