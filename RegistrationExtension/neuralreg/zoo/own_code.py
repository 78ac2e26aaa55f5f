"""Python files that belong to models: run only after somebody has agreed to just this content."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from neuralreg.errors import ChecksumMismatch, CodeNotTrusted, UnreadableFile
from neuralreg.io.files import write_whole
from neuralreg.zoo.cache_paths import cards_folders, own_folder
from neuralreg.zoo.python_sources import PythonSource, read_source, run_sources

if TYPE_CHECKING:
    from neuralreg.zoo.card import ModelCard

_TRUSTED = "trusted-code.txt"  # hashes, in the folder of the user's own models
# What stands beside the card of each trained model and builds its network.
BUILDER = '''"""Builds a network that `neuralreg train` has trained, as its card says."""

from neuralreg.training.model.export import build

__all__ = ["build"]
'''

# What stands in the code of a run for parts that no file defines; it runs nothing but this check.
_NOTICE = '''"""Parts of this run were defined in a notebook, a console or the program that trained.

Their code is in no file that could come along.
"""

from neuralreg.training.config.own_parts import require_parts

require_parts({parts})
'''
_NAMED = r"\('(\w[\w ]*)', '(\w[\w.-]*)'\)"
_NOTICES = re.compile(
    re.escape(_NOTICE).replace(re.escape("{parts}"), rf"\[{_NAMED}(?:, {_NAMED})*\]")
)


def notice_of(parts: Sequence[tuple[str, str]]) -> PythonSource:
    """The file that stands for parts without one, and says so where they are missing.

    Args:
        parts: kind and name of each.
    """
    text = _NOTICE.replace("{parts}", str(list(parts)))
    return PythonSource("parts_without_file", text.encode(), Path("parts_without_file.py"))


def is_notice(source: PythonSource) -> bool:
    """Whether a file is one that `notice_of` makes: it runs nothing of anybody's own."""
    return _NOTICES.fullmatch(source.content.decode("utf-8", "replace")) is not None


def code_of(card: ModelCard, folder: Path | None = None) -> list[PythonSource]:
    """The files of a card's code, checked to be those that it names.

    Args:
        card: of a model.
        folder: of the card; the folders of all cards unless given.

    Raises:
        UnreadableFile: one is missing.
        ChecksumMismatch: one has another content.
    """
    folders = [folder] if folder else [*reversed(cards_folders())]
    sources = []
    for name, sha256 in card.code.items():
        path = next((top / name for top in folders if (top / name).is_file()), None)
        if path is None:
            raise UnreadableFile(
                "code that a model needs is missing",
                where=card.name,
                wanted=" or ".join(str(top / name) for top in folders),
                remedy="Copy the whole folder of the run, with the folder of its code.",
            )
        source = read_source(path)
        if source.sha256 != sha256:
            raise ChecksumMismatch(
                "the code of a model was changed since its training",
                where=f"{card.name}, {path}",
                got=source.sha256,
                wanted=sha256,
                remedy="Take the file that was trained with, or train again.",
            )
        sources.append(source)
    return sources


def python_files_of(card: ModelCard, folder: Path) -> list[PythonSource]:
    """What an import of a card would run: its code, and the file beside it that builds it.

    Args:
        card: of a model.
        folder: of the card.

    Raises:
        UnreadableFile, ChecksumMismatch: as `code_of`.
    """
    builder = folder / f"{card.architecture}.py"
    return [*code_of(card, folder), *([read_source(builder)] if builder.is_file() else [])]


def run_code_of(card: ModelCard, folder: Path | None = None) -> None:
    """Register the parts of a card's code, before its network is built.

    Args:
        card: of a model.
        folder: of the card; the folders of all cards unless given.

    Raises:
        UnreadableFile, ChecksumMismatch: as `code_of`.
        CodeNotTrusted: the user has not agreed to it, or to the file beside it that builds it.
    """
    is_foreign = folder is not None and folder != own_folder()
    sources = code_of(card, folder)
    require_trust(python_files_of(card, folder) if folder and is_foreign else sources, card.name)
    run_sources(sources)


def trust(digests: Iterable[str]) -> None:
    """Remember files that the user has run or agreed to, by their SHA-256."""
    new = [digest for digest in digests if digest not in _read_trusted()]
    if new:
        own_folder().mkdir(parents=True, exist_ok=True)
        with write_whole(own_folder() / _TRUSTED) as draft:
            draft.write_text("\n".join([*_read_trusted(), *new]) + "\n", encoding="utf-8")


def _read_trusted() -> list[str]:
    path = own_folder() / _TRUSTED
    return path.read_text(encoding="utf-8").split() if path.is_file() else []


def untrusted_hashes(sources: Sequence[PythonSource]) -> dict[Path, str]:
    """SHA-256 of those of some files that nobody on this machine has agreed to."""
    known = {hashlib.sha256(BUILDER.encode()).hexdigest(), *_read_trusted()}
    return {
        source.path: source.sha256
        for source in sources
        if source.sha256 not in known and not is_notice(source)
    }


def trust_among(sources: Sequence[PythonSource], digests: Iterable[str]) -> None:
    """Remember the agreement to those of some files that have one of these SHA-256."""
    agreed = set(digests)
    trust([source.sha256 for source in sources if source.sha256 in agreed])


def require_trust(sources: Sequence[PythonSource], where: str) -> None:
    """Check that the user agrees to Python files of others.

    Args:
        sources: the files.
        where: what they belong to.

    Raises:
        CodeNotTrusted: not yet; the message names files and hashes.
    """
    unknown = untrusted_hashes(sources)
    if unknown:
        raise CodeNotTrusted(
            "it brings code of its own, which would run on this machine",
            where=where,
            got="; ".join(f"{path} (sha256 {digest})" for path, digest in unknown.items()),
            remedy="Read it; if you trust it, repeat the command (for a model of the list: its "
            "import) with "
            + " ".join(f"--trust-code {digest}" for digest in dict.fromkeys(unknown.values()))
            + ". It is asked once.",
        )
