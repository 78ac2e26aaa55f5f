"""Python files that belong to models: run only after somebody has agreed to just this content."""

from __future__ import annotations

import importlib.util
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING

from neuralreg.errors import ChecksumMismatch, IncompatibleModel, UnreadableFile
from neuralreg.io.files import sha256_of, write_whole
from neuralreg.zoo.cache_paths import cards_folders, own_folder

if TYPE_CHECKING:
    from neuralreg.zoo.card import ModelCard

_TRUSTED = "trusted-code.txt"  # hashes, in the folder of the user's own models
_in_a_file: ContextVar[bool] = ContextVar("_in_a_file", default=False)


def runs_from_a_file() -> bool:
    """Whether the code that runs now was named by a configuration or a model.

    Its parts replace those of other such files: each network is built just after its own code ran.
    """
    return _in_a_file.get()


def run_file(path: Path) -> None:
    """Run a Python file that registers parts.

    Args:
        path: of the file.

    Raises:
        UnreadableFile: it is missing, or no Python file.
    """
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise UnreadableFile(f"{path} is no Python file")
    token = _in_a_file.set(True)
    try:
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
    finally:
        _in_a_file.reset(token)


def code_files(card: ModelCard, folder: Path | None = None) -> list[Path]:
    """The files of a card's code, checked to be those that it names.

    Args:
        card: of a model.
        folder: of the card; the folders of all cards unless given.

    Raises:
        UnreadableFile: one is missing.
        ChecksumMismatch: one has another content.
    """
    folders = [folder] if folder else [*reversed(cards_folders())]
    files = []
    for name, sha256 in card.code.items():
        path = next((top / name for top in folders if (top / name).is_file()), None)
        if path is None:
            raise UnreadableFile(
                "code that a model needs is missing",
                where=card.name,
                wanted=" or ".join(str(top / name) for top in folders),
                remedy="Copy the whole folder of the run, with the folder of its code.",
            )
        if (got := sha256_of(path)) != sha256:
            raise ChecksumMismatch(
                "the code of a model was changed since its training",
                where=f"{card.name}, {path}",
                got=got,
                wanted=sha256,
                remedy="Take the file that was trained with, or train again.",
            )
        files.append(path)
    return files


def run_code_of(card: ModelCard, folder: Path | None = None) -> None:
    """Register the parts of a card's code, before its network is built.

    Raises:
        UnreadableFile, ChecksumMismatch: as `code_files`.
        IncompatibleModel: the user has not agreed to it.
    """
    require_trust(card, folder or own_folder())
    for path in code_files(card, folder):
        run_file(path)


def trust(digests: list[str]) -> None:
    """Remember files that the user has run or agreed to, by their SHA-256."""
    new = [digest for digest in digests if digest not in _read_trusted()]
    if new:
        own_folder().mkdir(parents=True, exist_ok=True)
        with write_whole(own_folder() / _TRUSTED) as draft:
            draft.write_text("\n".join([*_read_trusted(), *new]) + "\n", encoding="utf-8")


def _read_trusted() -> list[str]:
    path = own_folder() / _TRUSTED
    return path.read_text(encoding="utf-8").split() if path.is_file() else []


def require_trust(card: ModelCard, folder: Path) -> None:
    """Check that the user agrees to the code of a card.

    Raises:
        IncompatibleModel: not yet; the message names files and hashes.
    """
    unknown = {str(folder / name): h for name, h in card.code.items() if h not in _read_trusted()}
    if unknown:
        raise IncompatibleModel(
            "the model brings code of its own, which would run on this machine",
            where=card.name,
            got="; ".join(f"{path} (sha256 {digest})" for path, digest in unknown.items()),
            remedy="Read it; if you trust it, import the model with "
            + " ".join(f"--trust-code {digest}" for digest in unknown.values())
            + ". It is asked once.",
        )
