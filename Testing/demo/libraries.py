"""The system libraries that off-screen views need; everything else works without them."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys

_APT = ("libegl1", "libgl1-mesa-dri")
INSTALL = f"apt-get install --yes --no-install-recommends {' '.join(_APT)}"


def can_draw() -> bool:
    """Whether VTK can draw off the screen here; tried in a process that may die of it."""
    code = (
        "import vtk; w = vtk.vtkRenderWindow(); w.OffScreenRenderingOn(); w.SetSize(8, 8);"
        "w.AddRenderer(vtk.vtkRenderer()); w.Render(); raise SystemExit(not w.SupportsOpenGL())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    return done.returncode == 0


def ensure() -> str:
    """Install what is missing where that is allowed; one line that says what could not be done."""
    if _has_egl() and can_draw():
        return ""
    if os.geteuid() == 0 and shutil.which("apt-get"):
        for command in ("apt-get update --quiet", INSTALL):
            subprocess.run(
                command.split(),
                env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
                capture_output=True,
                check=False,
            )
    return (
        ""
        if can_draw()
        else f"No pictures: slice views need system libraries. Type: sudo {INSTALL}"
    )


def _has_egl() -> bool:
    try:
        ctypes.CDLL("libEGL.so.1")
    except OSError:
        return False
    return True
