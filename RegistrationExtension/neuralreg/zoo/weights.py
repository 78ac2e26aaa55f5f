"""The files that networks need: where they are, downloading and checking them."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from neuralreg.errors import ChecksumMismatch, UnwritableOutput, WeightsUnavailable
from neuralreg.io.files import sha256_of, write_whole
from neuralreg.progress import Progress, silent
from neuralreg.zoo.cache_paths import (
    add_to_record,
    cache_folder,
    cards_folders,
    read_record,
)
from neuralreg.zoo.consent import give_consent, needs_consent, require_consent

if TYPE_CHECKING:
    from neuralreg.zoo.card import ModelCard, Weights

_RECORD = "first-downloads.json"


def path_of(card: ModelCard, cache: Path | None = None) -> Path | None:
    """The path of the weights of a model on this machine; None if they are missing or not needed.

    Args:
        card: of the model.
        cache: folder of downloaded weights, if not the usual one.
    """
    if card.weights is None:
        return None
    # What is named comes first, such as the folder of a run; then what belongs to the user's cards.
    folders = [*([cache] if cache else []), *reversed(cards_folders()), cache_folder()]
    return next((p / card.weights.file for p in folders if (p / card.weights.file).is_file()), None)


def is_available(card: ModelCard, cache: Path | None = None) -> bool:
    """Whether the model runs without a download."""
    return card.weights is None or path_of(card, cache) is not None


def is_downloaded(card: ModelCard, cache: Path | None = None) -> bool:
    """Whether the weights are in the cache, from which `remove` deletes them.

    Weights that came with the program or with a card of the user's own are not.

    Args:
        card: of the model.
        cache: folder of downloaded weights, if not the usual one.
    """
    path = path_of(card, cache)
    return path is not None and path.parent == (cache or cache_folder())


def require(card: ModelCard, cache: Path | None = None) -> Path:
    """The file with a model's weights, checked.

    Args:
        card: of a model with weights.
        cache: folder of downloaded weights, if not the usual one.

    Raises:
        WeightsUnavailable: they are not on this machine; the message names the way to get them.
        ChecksumMismatch: they are not the ones that the card names.
    """
    path = path_of(card, cache)
    if path is None:
        raise WeightsUnavailable(
            "a model's weights are not on this machine",
            where=card.name,
            remedy=f"`neuralreg models get {card.name}` fetches them"
            + (f" from {card.weights.url}" if card.weights and card.weights.url else "")
            + ", `neuralreg models import FILE` takes a copy that you have.",
        )
    verify(card, path, cache)
    return path


def fetch(
    card: ModelCard,
    cache: Path | None = None,
    progress: Progress = silent,
    *,
    accept_licence: bool = False,
) -> Path | None:
    """The file with a model's weights, downloaded if it is missing; None if it needs none.

    A download goes to a temporary file, resumes an earlier one that was interrupted, is checked,
    and only then gets its name. An error that `progress` raises to cancel passes through, and the
    partial file stays for the next try.

    Args:
        card: of the model.
        cache: folder of downloaded weights, if not the usual one.
        progress: gets a fraction and a message.
        accept_licence: whether the person accepts the licence on the card; remembered for this
            model. Needed where it is not a permissive one.

    Raises:
        ConsentRequired: the licence is not permissive, and was not accepted.
        WeightsUnavailable: the server does not provide them.
        ChecksumMismatch: they are not the ones that the card names.
        UnwritableOutput: they cannot be written.
    """
    if card.weights is None:
        return None
    if path_of(card, cache) is not None:
        return require(card, cache)
    if accept_licence and needs_consent(card, cache):
        ensure_folder(cache or cache_folder())
        give_consent(card, cache)
    require_consent(card, cache)
    return fetch_file(card.weights, card.name, cache, progress)


def fetch_file(
    weights: Weights, name: str, cache: Path | None = None, progress: Progress = silent
) -> Path:
    """One pinned file, in the cache or downloaded to it.

    Args:
        weights: the file and its hash.
        name: how messages call it.
        cache: folder of downloaded weights, if not the usual one.
        progress: gets a fraction and a message.

    Raises:
        WeightsUnavailable, ChecksumMismatch, UnwritableOutput: as `fetch`.
    """
    from neuralreg.zoo.download import download_file

    folder = ensure_folder(cache or cache_folder())
    path, check = folder / weights.file, _checker(name, weights, folder)
    if path.is_file():
        check(path)
        return path
    if weights.url is None:
        raise WeightsUnavailable(
            "a model's weights cannot be downloaded",
            where=name,
            remedy=f"Get them from {weights.page or 'their authors'}, then "
            "`neuralreg models import FILE`.",
        )
    download_file(weights.url, path, check, progress)
    _remember(name, weights, path)
    return path


def import_weights(
    path: Path, cards: list[ModelCard], cache: Path | None = None
) -> tuple[list[ModelCard], list[Path]]:
    """Copy every file that a card names, whatever it is called, to the cache.

    Args:
        path: a file, or a folder that is searched with all folders in it.
        cards: of the models that are considered.
        cache: folder of downloaded weights, if not the usual one.

    Returns:
        The models that have their weights now, and the files that none of the cards names.

    Raises:
        WeightsUnavailable: no card names any of the files.
        UnwritableOutput: they cannot be copied.
    """
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    owners = {file: [card for card in cards if _fits(card.weights, file)] for file in files}
    ready = [card for card in cards if any(card in owner for owner in owners.values())]
    if not ready:
        raise WeightsUnavailable(
            f"no model card names {'this file' if path.is_file() else 'these files'}",
            where=str(path),
            got=f"sha256 {sha256_of(path)}" if path.is_file() else f"{len(files)} files",
            remedy=f"For the model of this run: `neuralreg models import {path / 'model.json'}`."
            if (path / "model.json").is_file()
            else "Check that the download was complete; your own network needs a card next to it "
            "(`neuralreg models import CARD.json`).",
        )
    folder = ensure_folder(cache or cache_folder())
    for file, owner in owners.items():
        for name in {card.weights.file for card in owner if card.weights}:
            with write_whole(folder / name) as draft:
                shutil.copyfile(file, draft)
    return ready, [file for file, owner in owners.items() if not owner]


def remove(card: ModelCard, cache: Path | None = None) -> bool:
    """Delete a model's weights from the cache.

    Args:
        card: of the model.
        cache: folder of downloaded weights, if not the usual one.

    Returns:
        Whether there were any.
    """
    if card.weights is None:
        return False
    path = (cache or cache_folder()) / card.weights.file
    is_there = path.is_file()
    path.unlink(missing_ok=True)
    return is_there


def verify(card: ModelCard, path: Path | None = None, cache: Path | None = None) -> str:
    """What is known about a model's file: "none needed", "absent", "checked", or "as recorded".

    "as recorded": its publisher gives no hash; it equals the first download.

    Args:
        card: of the model.
        path: of the weights; where they are found unless given.
        cache: folder of downloaded weights, if not the usual one.

    Raises:
        ChecksumMismatch: it is another file than the card, or the record, names.
    """
    path = path or path_of(card, cache)
    if card.weights is None:
        return "none needed"
    if path is None:
        return "absent"
    _checker(card.name, card.weights, cache or cache_folder())(path)
    return "checked" if card.weights.sha256 or card.weights.git_blob else "as recorded"


def git_blob_hash(path: Path) -> str:
    """The SHA-1 by which git knows a file."""
    total = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: total).hexdigest()


def _fits(weights: Weights | None, file: Path) -> bool:
    if weights is None or weights.bytes not in (None, file.stat().st_size):
        return False
    if weights.sha256:
        return sha256_of(file) == weights.sha256
    return bool(weights.git_blob) and git_blob_hash(file) == weights.git_blob


class _checker:  # noqa: N801 - reads as a function that carries what it compares with
    """Raises ChecksumMismatch when a file is not what was pinned, or what it was the first time."""

    def __init__(self, name: str, weights: Weights, folder: Path) -> None:
        self.name, self.weights, self.folder = name, weights, folder

    def __call__(self, path: Path) -> None:
        weights = self.weights
        kind = "git_blob" if weights.git_blob and not weights.sha256 else "sha256"
        remembered = read_record(self.folder / _RECORD).get(self.name)
        pinned = weights.sha256 or weights.git_blob or remembered
        got = git_blob_hash(path) if kind == "git_blob" else sha256_of(path)
        if pinned and got != pinned:
            raise ChecksumMismatch(
                "this is not the expected file",
                where=f"{self.name}, {path}",
                got=f"{kind} {got}",
                wanted=pinned,
                remedy=f"Delete the file and fetch it again (`neuralreg models get {self.name}`); "
                "if it is the same again, the publisher has changed it: do not use it.",
            )


def _remember(name: str, weights: Weights, path: Path) -> None:
    """Record the hash of a first download whose publisher gives none."""
    if not (weights.sha256 or weights.git_blob):
        add_to_record(path.parent / _RECORD, name, sha256_of(path))


def ensure_folder(folder: Path) -> Path:
    """A folder, created if it does not exist.

    Raises:
        UnwritableOutput: it cannot be created.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UnwritableOutput(
            "the folder for models cannot be created",
            where=str(folder),
            got=str(error),
            remedy="Set NEURALREG_CACHE (downloads) or NEURALREG_MODELS (your own models) to a "
            "folder that you may write.",
        ) from error
    return folder
