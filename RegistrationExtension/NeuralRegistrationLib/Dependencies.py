"""The packages that do not come with Slicer, and their installation.

Whether one is installed is checked without importing it.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
from collections.abc import Callable
from dataclasses import dataclass

import slicer
from slicer.i18n import tr as _

TORCH = "torch>=2.2"


@dataclass(frozen=True)
class Package:
    """module: what is imported. requirement: what pip is asked for. download_mb: about.

    alone: install it without its own requirements, which are here, and would come in another
    version.
    """

    module: str
    requirement: str
    download_mb: int
    alone: bool = False


PACKAGES = (
    Package("torch", TORCH, 250),
    Package("pydantic", "pydantic>=2.10", 3),
    Package("platformdirs", "platformdirs>=4", 1),
    Package("SimpleITK", "SimpleITK>=2.4", 50),
    Package("nibabel", "nibabel>=5.2", 3),
    Package("pydicom", "pydicom>=3", 3),
)
TRAINING = (
    Package("typer", "typer>=0.15", 1),
    Package("rich", "rich>=13", 1),
    Package("omegaconf", "omegaconf>=2.3", 1),
    Package("monai", "monai>=1.4", 3, alone=True),  # it would bring a torch of its own
    Package("tensorboard", "tensorboard>=2.18", 8),
    Package("pandas", "pandas>=2.2", 13),
    Package("h5py", "h5py>=3.12", 5),
    Package("scipy", "scipy>=1.11", 37),
    Package("PIL", "pillow>=10.1", 7),
)
REPORT = (  # of a review, as a PDF
    Package("fpdf", "fpdf2>=2.8", 6),
    Package("matplotlib", "matplotlib>=3.8", 12),  # its font prints names in other scripts
)
_READ_CARDS = ("pydantic", "platformdirs")
_SECONDS_PER_MB = 0.5  # download at 30 Mbit/s, and unpacking


def missingPackages() -> list[Package]:
    """What has to be installed before anything can be registered."""
    return [package for package in PACKAGES if not isInstalled(package.module)]


def missingForTraining() -> list[Package]:
    """What has to be installed before anything can be trained."""
    return missingPackages() + [package for package in TRAINING if not isInstalled(package.module)]


def missingForReports() -> list[Package]:
    """What has to be installed before the report of a review can be a PDF for all names."""
    return [package for package in REPORT if not isInstalled(package.module)]


def isInstalled(module: str) -> bool:
    """Whether a module can be imported, without importing it."""
    try:
        return importlib.util.find_spec(module) is not None
    except ImportError:  # the import system says no in its own words
        return False


def missingForCards() -> list[Package]:
    """What has to be installed before the cards of models can be read."""
    return [package for package in missingPackages() if package.module in _READ_CARDS]


def describe(packages: list[Package], purpose: str = "") -> str:
    """Names, purpose, size and time of a download, in words."""
    size = sum(package.download_mb for package in packages)
    minutes = max(1, round(size * _SECONDS_PER_MB / 60))
    text = _(
        "{purpose}, Slicer needs {names}: a download of about {size} MB, about {minutes} min."
    ).format(
        purpose=purpose or _("To register images"),
        names=", ".join(package.module for package in packages),
        size=size,
        minutes=minutes,
    )
    if any(package.module == "torch" for package in packages):
        text += " " + _("With an NVIDIA card the download is about 3 GB.")
    return text


class _Lines(io.TextIOBase):
    """Hands on what is printed, line by line; empty lines are left out."""

    def __init__(self, take: Callable[[str], None]) -> None:
        self._take, self._begun = take, ""

    def write(self, text: str) -> int:
        *lines, self._begun = (self._begun + text).split("\n")
        for line in filter(str.strip, lines):
            self._take(line)
        return len(text)


_underWay: list[Installer] = []


def isInstalling() -> bool:
    """Whether packages are being installed now, by this extension or another one."""
    packaging = _packaging()
    asked = getattr(packaging, "isPipInstallInProgress", None)
    return bool(_underWay) or (asked is not None and bool(asked()))


def _packaging():
    """Slicer's module for installing packages; None before Slicer 5.12."""
    try:
        return importlib.import_module("slicer.packaging")
    except ImportError:
        return None


class Installer:
    """Installs packages: torch by the PyTorch extension, the rest by pip in the background.

    Before Slicer 5.12 pip works in the foreground.
    onLog: takes each line. onDone: takes "" or what went wrong, in words; called once.
    """

    def __init__(self, onLog: Callable[[str], None], onDone: Callable[[str], None]) -> None:
        self._log, self._onDone = onLog, onDone
        self._steps: list[tuple[list[str], list[str]]] = []
        self._torch = False

    def install(self, packages: list[Package]) -> None:
        """Begin; the outcome comes through `onDone`."""
        if isInstalling():
            self._onDone(_("Other packages are being installed: try again when that is done."))
            return
        _underWay.append(self)
        self._torch = any(package.module == "torch" for package in packages)
        byPip = [package for package in packages if package.module != "torch"]
        alone = [package.requirement for package in byPip if package.alone]
        others = [package.requirement for package in byPip if not package.alone]
        # pip must be asked for something; what is to come alone then gets the option by itself.
        self._steps = (
            [(others, alone)] if others else [(["--no-deps", *alone], [])] if alone else []
        )
        self._next(0)

    def _next(self, code: int) -> None:
        """A step has ended: begin the next one."""
        try:
            if code:
                self._end(_("pip ended with code {code}; see the log.").format(code=code))
            elif self._steps:
                self._callPip(*self._steps.pop(0))
            elif self._torch:
                self._torch = False
                self._installTorch()
            else:
                self._end("")
        except Exception as error:  # noqa: BLE001  (a slot has nobody else to tell)
            self._end(str(error) or type(error).__name__)

    def _end(self, problem: str) -> None:
        if self not in _underWay:
            return
        _underWay.remove(self)
        importlib.invalidate_caches()  # what was installed just now is seen at once
        self._onDone(problem)

    def _callPip(self, requirements: list[str], alone: list[str]) -> None:
        packaging = _packaging()
        if packaging is None:
            self._callOldPip(requirements, alone)
            return
        packaging.pip_install(
            requirements,
            **({"no_deps_requirements": alone} if alone else {}),
            blocking=False,
            show_progress=False,
            requester=_("Neural Registration"),
            logCallback=self._log,
            completedCallback=self._next,
        )
        if slicer.app.testingEnabled():  # it has installed at once, and calls nobody
            self._next(0)

    def _callOldPip(self, requirements: list[str], alone: list[str]) -> None:
        self._log(_("Slicer does not respond until pip is done ..."))
        slicer.util.pip_install(requirements)
        if alone:
            slicer.util.pip_install(["--no-deps", *alone])
        self._next(0)

    def _installTorch(self) -> None:
        """The PyTorch extension picks the build that fits this computer's graphics card."""
        if not isInstalled("PyTorchUtils"):
            self._end(
                _(
                    "The PyTorch extension is missing. Install it in the Extensions Manager, "
                    "restart Slicer and return here."
                )
            )
            return
        import PyTorchUtils

        self._log(_("Installing torch: Slicer responds slowly until it is done ..."))
        with contextlib.redirect_stdout(_Lines(self._log)):
            torch = PyTorchUtils.PyTorchUtilsLogic().installTorch(
                askConfirmation=False, torchVersionRequirement=TORCH.removeprefix("torch")
            )
        self._end("" if torch is not None else _("torch was not installed."))
