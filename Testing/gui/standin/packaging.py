"""`slicer.packaging`: asks for packages; installs none, a test says how it went."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType

from packaging.requirements import Requirement


@dataclass
class Installation:
    """One request for packages; `log` and `complete` play pip."""

    requirements: list[str]
    log: Callable[[str], None] | None
    complete: Callable[[int], None] | None


_requested: list[Installation] = []


def pip_check(req):
    """Whether requirements are met."""
    for text in [req] if isinstance(req, str) else req:
        wanted = Requirement(str(text))
        try:
            if version(wanted.name) not in wanted.specifier:
                return False
        except PackageNotFoundError:
            return False
    return True


def pip_install(
    requirements,
    constraints=None,
    blocking=True,
    show_progress=True,
    requester=None,
    logCallback=None,
    completedCallback=None,
):
    """Remembers the request."""
    wanted = requirements.split() if isinstance(requirements, str) else list(requirements)
    _requested.append(Installation(wanted, logCallback, completedCallback))


def packaging_module() -> ModuleType:
    """The module with both; `_requested` lists what was asked for."""
    made = ModuleType("slicer.packaging")
    made.pip_check, made.pip_install = pip_check, pip_install
    made._requested = _requested
    _requested.clear()
    return made
