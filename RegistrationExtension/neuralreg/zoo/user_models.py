"""Networks of a user's own: a card with its weights, a saved program, or a file of Python."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import torch

from neuralreg.errors import ChecksumMismatch, IncompatibleModel, WeightsUnavailable
from neuralreg.geometry.grid import Grid
from neuralreg.io.files import draft_folder, sha256_of
from neuralreg.zoo.cache_paths import own_folder
from neuralreg.zoo.card import TRAINED, ModelCard
from neuralreg.zoo.loaded_network import field_of
from neuralreg.zoo.registry import load_card, read_card
from neuralreg.zoo.weights import ensure_folder

_SHIFT = 2  # samples: far enough to see a wrong direction, unit or order
_TOLERANCE = 0.75  # of the shift: a ball is new to most networks, but a wrong sign is off by 2
_SIZE = 48


def import_card(path: Path) -> ModelCard:
    """The card in a file, after it and what it needs were checked and copied to the user's models.

    The folder of the card may hold its weights and, named as its architecture, a Python file whose
    `build` makes the network: that file is run, as any program of yours is.

    Args:
        path: the card, a JSON file of any name.

    Raises:
        IncompatibleModel: the card or the weights do not fit, or the network's output for a known
            shift is not what the card describes.
        WeightsUnavailable: the weights that the card names are missing.
        ChecksumMismatch: they are not the ones that the card names.
    """
    card = read_card(path)
    files = [path]
    if card.weights is not None:
        files.append(_require_weights(path.parent / card.weights.file, card))
    code = path.parent / f"{card.architecture}.py"
    files += [code] if code.is_file() else []
    _require_answer(card, path.parent)
    name = f"{card.name}.json"  # of any file name: the cards of all runs are model.json
    with draft_folder(ensure_folder(own_folder()), last=name) as draft:
        for file in files:
            shutil.copyfile(file, draft / (name if file == path else file.name))
    return card


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
    if card.output.kind in ("features", "affine") or card.architecture == "convex":
        return  # nothing that a shift of samples could check
    if card.architecture == TRAINED:
        return  # the card is right; the network may never have seen such a ball
    share = answer_to_a_shift(card, folder)
    if abs(share - 1) > _TOLERANCE:
        raise IncompatibleModel(
            "a network does not recover a known shift as its card describes",
            where=card.name,
            got=f"{share:.2f} of the shift",
            wanted="about 1 (-1: the wrong direction; 0: another axis, or no response)",
            remedy="Check kind and order of the card's output, and that it is fixed to moving.",
        )


def _require_weights(weights: Path, card: ModelCard) -> Path:
    if not weights.is_file():
        raise WeightsUnavailable(
            "the weights that a card names are not next to it",
            where=str(weights.parent),
            got="nothing",
            wanted=weights.name,
        )
    sha256 = card.weights.sha256 if card.weights else None
    if sha256 and (digest := sha256_of(weights)) != sha256:
        raise ChecksumMismatch(
            "these are not the weights that the card names",
            where=str(weights),
            got=digest,
            wanted=sha256,
            remedy="Take the right file, or correct the card.",
        )
    return weights
