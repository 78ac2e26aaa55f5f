"""The models for the panels: cards, and whether weights are available. Loads no network."""

from __future__ import annotations

from pathlib import Path

from slicer.i18n import tr as _

from NeuralRegistrationLib import Dependencies

_MEGABYTE = 1e6


def cards(task: str | None = "registration") -> list:
    """The cards of the models for a task (None: for any), those first that need no download.

    Empty as long as the packages that read cards are missing.
    """
    if Dependencies.missingForCards():
        return []
    from neuralreg.zoo.registry import list_models

    return sorted(
        list_models(task=task), key=lambda card: (not isAvailable(card), card.title.lower())
    )


def isAvailable(card) -> bool:
    """Whether a model can be used without a download."""
    if card.weights is None:
        return True
    from neuralreg.zoo import weights

    return bool(weights.is_available(card))


def isDownloaded(card) -> bool:
    """Whether a model has weights that were downloaded, and so can be deleted."""
    from neuralreg.zoo import weights

    return bool(weights.is_downloaded(card))


def size(card) -> str:
    """The size of the weights, in words."""
    if card.weights is None:
        return _("no download")
    if card.weights.bytes is None:
        return _("size unknown")
    return megabytes(card.weights.bytes)


def megabytes(count: int) -> str:
    """A number of bytes in words."""
    if count >= 1000 * _MEGABYTE:
        return _("{size} GB").format(size=f"{count / _MEGABYTE / 1000:.1f}")
    return _("{size} MB").format(size=f"{max(count / _MEGABYTE, 0.1):.1f}")


def words(kinds: tuple[str, ...]) -> str:
    """Modalities or anatomies of a card."""
    return ", ".join(_("anything") if kind == "any" else kind for kind in kinds)


def state(card) -> str:
    """Whether it is ready or has to be downloaded."""
    if card.weights is None:
        return _("ready")
    return _("ready") if isAvailable(card) else _("not downloaded")


def consentQuestion(card) -> str:
    """What a person is asked before the weights are fetched; empty where the licence is permissive
    or was accepted before."""
    from neuralreg.zoo.consent import describe_source, needs_consent

    if not needs_consent(card):
        return ""
    text = _(
        "The weights of {title} have no licence that allows every use.\n\n"
        "Licence: {license}\nDownload: {source}\n\n"
        "Do you accept the licence, and fetch them? You are asked once for this model."
    )
    return text.format(title=card.title, license=card.license, source=describe_source(card))


def untrustedCode(path: Path) -> dict[Path, str]:
    """SHA-256 of the Python files that a card's import would run and nobody has agreed to.

    Raises RegistrationError where the card or one of them cannot be used.
    """
    from neuralreg.zoo.own_code import python_files_of, untrusted_hashes
    from neuralreg.zoo.registry import read_card

    return untrusted_hashes(python_files_of(read_card(path), path.parent))


def codeQuestion(files: dict[Path, str]) -> str:
    """What a person is asked before Python files of others run."""
    text = _(
        "This brings Python code, which would run on this computer with all your rights:\n\n"
        "{files}\n\n"
        "Only agree if you have read it, or trust its author. You are asked once for this content."
    )
    lines = (f"{file}\nSHA-256 {digest}" for file, digest in files.items())
    return text.format(files="\n".join(lines))


def short(card) -> str:
    """Intended use, licence, size, availability and measured time: HTML."""
    times = [value for name, value in card.measured.items() if "time" in name.lower()]
    facts = [card.license, size(card), state(card), *times]
    return f"{card.intended_use}<br><i>{' · '.join(facts)}</i>"


def folder() -> Path | None:
    """The folder of the weights; None as long as the packages that know it are missing."""
    if Dependencies.missingForCards():
        return None
    from neuralreg.zoo.cache_paths import cache_folder

    return cache_folder()


def storage() -> str:
    """The folder of the weights and their size, in words."""
    path = folder()
    if path is None:
        return ""
    files = [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else []
    size = megabytes(sum(file.stat().st_size for file in files)) if files else _("nothing yet")
    return _("Weights are in {folder}: {size}.").format(folder=path, size=size)


def remove(card) -> None:
    """Delete the weights from this computer."""
    from neuralreg.zoo import weights

    weights.remove(card)
