"""The packages that do not come with Slicer, and their installation.

Whether one is installed is checked without importing it.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
from collections.abc import Callable
from dataclasses import dataclass

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
    """Hands on what is printed, line by line."""

    def __init__(self, take: Callable[[str], None]) -> None:
        self._take = take

    def write(self, text: str) -> int:
        for line in text.splitlines():
            self._take(line)
        return len(text)


class Installer:
    """Installs packages: torch by the PyTorch extension, the rest by pip in the background.

    onLog: takes each line. onDone: takes "" or what went wrong, in words; called once.
    """

    def __init__(self, onLog: Callable[[str], None], onDone: Callable[[str], None]) -> None:
        self._log, self._done = onLog, onDone

    def install(self, packages: list[Package]) -> None:
        """Begin; the outcome comes through `onDone`."""
        import slicer.packaging

        self._torch = any(package.module == "torch" for package in packages)
        byPip = [package for package in packages if package.module != "torch"]
        if not byPip:
            self._afterPip(0)
            return
        alone = [package.requirement for package in byPip if package.alone]
        others = [package.requirement for package in byPip if not package.alone]
        if not others:  # pip must be asked for something
            others, alone = alone, []
        slicer.packaging.pip_install(
            others,
            **({"no_deps_requirements": alone} if alone else {}),
            blocking=False,
            show_progress=False,
            requester=_("Neural Registration"),
            logCallback=self._log,
            completedCallback=self._afterPip,
        )

    def _afterPip(self, code: int) -> None:
        if code:
            self._done(_("pip ended with code {code}; see the log.").format(code=code))
        elif self._torch:
            self._installTorch()
        else:
            self._done("")

    def _installTorch(self) -> None:
        """The PyTorch extension picks the build that fits this computer's graphics card."""
        if not isInstalled("PyTorchUtils"):
            self._done(
                _(
                    "The PyTorch extension is missing. Install it in the Extensions Manager, "
                    "restart Slicer and return here."
                )
            )
            return
        import PyTorchUtils

        self._log(_("Installing torch: Slicer responds slowly until it is done ..."))
        try:
            with contextlib.redirect_stdout(_Lines(self._log)):
                torch = PyTorchUtils.PyTorchUtilsLogic().installTorch(
                    askConfirmation=False, torchVersionRequirement=TORCH.removeprefix("torch")
                )
        except Exception as error:  # noqa: BLE001  (whatever the other extension raises is shown)
            self._done(str(error))
            return
        self._done("" if torch is not None else _("torch was not installed."))
