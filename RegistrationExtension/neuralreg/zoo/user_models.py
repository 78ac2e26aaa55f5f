"""Networks of a user's own: a card with its weights, a saved program, or a file of Python."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch

from neuralreg.devices import own_modes
from neuralreg.errors import (
    ChecksumMismatch,
    IncompatibleModel,
    UnwritableOutput,
    WeightsUnavailable,
)
from neuralreg.geometry.grid import Grid
from neuralreg.io.files import draft_folder, sha256_of
from neuralreg.zoo.cache_paths import own_folder
from neuralreg.zoo.card import TRAINED, ModelCard
from neuralreg.zoo.loaded_network import field_of
from neuralreg.zoo.own_code import code_of, python_files_of, require_trust, trust_among
from neuralreg.zoo.registry import list_models, load_card, read_card
from neuralreg.zoo.weights import ensure_folder

_SHIFT = 2  # samples: far enough to see a wrong direction, unit or order
_TOLERANCE = 0.75  # of the shift: a ball is new to most networks, but a wrong sign is off by 2
_SIZE = 48


@own_modes()
def import_card(
    path: Path,
    *,
    name: str | None = None,
    overwrite: bool = False,
    versioned: bool = False,
    trusted: Sequence[str] = (),
) -> ModelCard:
    """The card in a file, after it and what it needs were checked and copied to the user's models.

    The folder of the card may hold its weights and, named as its architecture, a Python file whose
    `build` makes the network. Each model keeps files of its own: a file of another content never
    takes the place of one that is there.

    Args:
        path: the card, a JSON file of any name.
        name: of the model from now on, if not that on the card.
        overwrite: replace a model of the user's that has this name.
        versioned: take the next free name, such as trained_2, where another model has this one.
        trusted: SHA-256 of Python files beside the card that the user agrees to run.

    Raises:
        IncompatibleModel: the card or the weights do not fit, or the network's output for a known
            shift is not what the card describes.
        CodeNotTrusted: it brings code that nobody has agreed to; nothing of it was run.
        WeightsUnavailable: the weights that the card names are missing.
        ChecksumMismatch: they are not the ones that the card names.
        UnwritableOutput: there is another model of that name.
    """
    card, folder = read_card(path), path.parent
    sources = python_files_of(card, folder)
    trust_among(sources, trusted)
    require_trust(sources, str(path))
    files, changes = _files_by_content(card, folder)
    _require_answer(card, folder)
    code = folder / f"{card.architecture}.py"
    card = card.model_copy(update=changes)
    taken = _free_name(name or card.name, card, code, overwrite=overwrite, versioned=versioned)
    card = card.model_copy(update={"name": taken})
    if code.is_file():
        card = card.model_copy(update={"architecture": _free_architecture(code, card)})
        files[code] = f"{card.architecture}.py"
    _write(card, files)
    return card


def _files_by_content(card: ModelCard, folder: Path) -> tuple[dict[Path, str], dict[str, Any]]:
    """Weights and code of a card, how they are to be called, and what of the card follows."""
    files: dict[Path, str] = {}
    changes: dict[str, Any] = {}
    if card.weights is not None:
        path = folder / card.weights.file
        digest = _require_weights(path, card)
        files[path] = _name_by_content(digest, card.weights.file)
        stored = {"file": files[path], "sha256": digest}
        changes["weights"] = card.weights.model_copy(update=stored)
    code = code_of(card, folder)
    names = {each.path: f"{each.file_name[:-3]}-{each.sha256[:8]}.py" for each in code}
    changes["code"] = dict(zip(names.values(), card.code.values(), strict=True))
    return {**files, **names}, changes


def _write(card: ModelCard, files: Mapping[Path, str]) -> None:
    """Copy a card and its files to the user's models, the card last."""
    own = ensure_folder(own_folder())
    name = f"{card.name}.json"  # of any file name: the cards of all runs are model.json
    earlier = read_card(own / name) if (own / name).is_file() else None
    with draft_folder(own, last=name) as draft:
        for file, stored in files.items():
            shutil.copyfile(file, draft / stored)
        (draft / name).write_text(card.model_dump_json(indent=2, exclude_none=True), "utf-8")
    named = {each.weights.file for each in list_models(task=None) if each.weights is not None}
    if earlier and earlier.weights and earlier.weights.file not in named:
        (own / earlier.weights.file).unlink(missing_ok=True)


def _free_name(name: str, card: ModelCard, code: Path, *, overwrite: bool, versioned: bool) -> str:
    """The name under which a model may be stored.

    Raises:
        UnwritableOutput: another model has it.
    """
    existing = {each.name: each for each in list_models(task=None)}
    own, taken = own_folder(), name
    for number in count(2):
        is_own = (own / f"{taken}.json").is_file()
        if taken not in existing or (is_own and (overwrite or _same(existing[taken], card, code))):
            return taken
        if not versioned:
            break
        taken = f"{name}_{number}"
    raise UnwritableOutput(
        f"there is another model called {name}",
        where=str(own / f"{name}.json") if is_own else "it comes with this program",
        remedy=("Import with --overwrite to replace it, or" if is_own else "Import")
        + f" under another name: --name {name}_2.",
    )


def _same(one: ModelCard, other: ModelCard, code: Path) -> bool:
    """Whether two cards are of one network: the same weights, built in the same way."""
    alike = ("arguments", "code", "input", "output")
    if any(getattr(one, key) != getattr(other, key) for key in alike):
        return False
    builder = own_folder() / f"{one.architecture}.py"
    if code.is_file() and builder.is_file() and sha256_of(builder) != sha256_of(code):
        return False
    hashes = [card.weights.sha256 if card.weights else None for card in (one, other)]
    return hashes[0] == hashes[1]


def _name_by_content(digest: str, name: str) -> str:
    """The name of a file of weights, with a part of its hash where another file has that name."""
    existing = own_folder() / name
    names = {card.weights.file for card in list_models(task=None) if card.weights is not None}
    taken = sha256_of(existing) != digest if existing.exists() else name in names
    return f"{Path(name).stem}-{digest[:8]}{Path(name).suffix}" if taken else name


def _free_architecture(code: Path, card: ModelCard) -> str:
    """The name of a Python file that builds networks, another one where models use that of now."""
    existing = own_folder() / code.name
    used = any(c.architecture == code.stem and c.name != card.name for c in list_models(task=None))
    if code.stem == TRAINED or not existing.is_file() or not used:
        return code.stem
    digest = sha256_of(code)
    return code.stem if sha256_of(existing) == digest else f"{code.stem}_{digest[:8]}"


def answer_to_a_shift(card: ModelCard, folder: Path) -> float:
    """The fraction of a known shift that a network recovers, in the axis where it is worst.

    The moving image is the fixed image, shifted along one axis at a time. About 1 for a network
    that registers and whose card is right, -1 for a wrong direction, 0 for a network that does not
    respond or a wrong axis.

    Args:
        card: of the network.
        folder: of the weights.
    """
    network = load_card(card, folder)
    d = card.input.dimensions[-1]
    shape = card.input.shape or (_SIZE,) * d
    grid = Grid(shape[::-1], (1.0,) * d, (0.0,) * d, tuple(np.eye(d).ravel().tolist()))
    shares = []
    for axis in range(d):
        body = _blob(shape, [0.0] * d)
        offset = [_SHIFT * float(a == axis) for a in range(d)]  # x first
        output = network.predict(body, _blob(shape, offset))
        field = field_of(output, card.output, grid)
        inside = body[0] > 0.3
        shares.append(float(field.vectors[axis][inside].mean()) / _SHIFT)
    return min(shares, key=lambda share: -abs(share - 1))


def _blob(shape: tuple[int, ...], offset_xyz: list[float]) -> torch.Tensor:
    """A textured ball (1, z, y, x) in 0..1, moved by some samples."""
    axes = [
        torch.arange(n) - (n - 1) / 2 - shift
        for n, shift in zip(shape, offset_xyz[::-1], strict=True)
    ]
    at = torch.meshgrid(*axes, indexing="ij")
    radius = min(shape) / 3
    distance = sum(a.square() for a in at)
    texture = sum(torch.cos(a * 2 * torch.pi / (radius * 0.9)) for a in at) / len(shape)
    ball = torch.sigmoid(radius - torch.as_tensor(distance).sqrt())
    return (ball * (0.55 + 0.3 * texture))[None]


def _require_answer(card: ModelCard, folder: Path) -> None:
    if card.architecture == "convex":
        return
    if card.output.kind in ("features", "affine") or card.architecture == TRAINED:
        # Nothing that a shift of samples could check, or a network that never saw such a ball.
        load_card(card, folder, "cpu")
        return
    share = answer_to_a_shift(card, folder)
    if abs(share - 1) > _TOLERANCE:
        raise IncompatibleModel(
            "a network does not recover a known shift as its card describes",
            where=card.name,
            got=f"{share:.2f} of the shift",
            wanted="about 1 (-1: the wrong direction; 0: another axis, or no response)",
            remedy="Check kind and order of the card's output, and that it is fixed to moving.",
        )


def _require_weights(weights: Path, card: ModelCard) -> str:
    """The SHA-256 of a file of weights, which is that of the card if it names one."""
    if not weights.is_file():
        raise WeightsUnavailable(
            "the weights that a card names are not next to it",
            where=str(weights.parent),
            got="nothing",
            wanted=weights.name,
        )
    sha256, digest = card.weights.sha256 if card.weights else None, sha256_of(weights)
    if sha256 and digest != sha256:
        raise ChecksumMismatch(
            "these are not the weights that the card names",
            where=str(weights),
            got=digest,
            wanted=sha256,
            remedy="Take the right file, or correct the card.",
        )
    return digest
