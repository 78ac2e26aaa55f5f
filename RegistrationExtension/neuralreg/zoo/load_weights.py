"""Weights from a file into a network, without running anything that the file may contain."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from neuralreg.errors import IncompatibleModel

_INFLATION = 50  # a zip that grows more than this is no file of weights
_NESTED = ("state_dict", "model_state", "model_state_dict", "model")


def state_of(path: Path, format: str = "state_dict") -> dict[str, Tensor]:
    """The tensors of a file by name, on the CPU.

    Args:
        path: the file.
        format: "state_dict", what torch.save made, read with `weights_only`; or "safetensors".

    Raises:
        IncompatibleModel: a file that is truncated, would run code, is a zip bomb, or contains
            anything else than finite tensors.
    """
    content = _safetensors(path) if format == "safetensors" else _read_state_dict(path)
    for key in _NESTED:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not all(isinstance(v, Tensor) for v in content.values()):
        raise _unusable(path, f"a {type(content).__name__}", "tensors by name")
    for name, values in content.items():
        if values.is_floating_point() and not bool(torch.isfinite(values).all()):
            raise _unusable(path, f"NaN or infinite numbers in {name}", "finite numbers")
    return dict(content)


def fill_weights(network: nn.Module, state: Mapping[str, Tensor], where: str) -> nn.Module:
    """The network with all of its weights, ready to predict.

    Args:
        network: without its weights; it is changed.
        state: tensors by name.
        where: for messages: the file.

    Raises:
        IncompatibleModel: a tensor is missing, left over, or of another shape.
    """
    try:
        network.load_state_dict(state, strict=True)
    except (RuntimeError, KeyError) as error:
        raise IncompatibleModel(
            "the weights do not fit the architecture",
            where=where,
            got=" ".join(str(error).split())[:400],
            remedy="Check the architecture and its arguments on the card.",
        ) from error
    return network.eval().requires_grad_(False)


def program_of(path: Path, format: str) -> Any:
    """A network that was saved as a program.

    Such a file is a program for torch's own machine; it cannot run Python.

    Args:
        path: the file.
        format: "torchscript", or "exported" by torch.export.

    Raises:
        IncompatibleModel: it cannot be read.
    """
    try:
        if format == "exported":
            return torch.export.load(path).module()
        return torch.jit.load(path, map_location="cpu").eval()  # type: ignore[no-untyped-call]
    except (RuntimeError, ValueError, OSError, zipfile.BadZipFile) as error:
        raise _unusable(path, _first_line(error), f"a {format} file") from error


def _read_state_dict(path: Path) -> Any:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            inflated = sum(entry.file_size for entry in archive.infolist())
        if inflated > _INFLATION * path.stat().st_size:
            raise _unusable(path, f"{inflated} bytes packed into {path.stat().st_size}", "weights")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise IncompatibleModel(
            "the file would run code, or is not a file of weights: it was not loaded",
            where=str(path),
            got=_reason(error),
            remedy="Take weights from a source that you trust, saved as a state dict.",
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise _unusable(path, _first_line(error), "a complete file of weights") from error


def _safetensors(path: Path) -> Any:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError as error:
        raise IncompatibleModel(
            "reading these weights needs one more package",
            where=str(path),
            wanted="safetensors",
            remedy="Install it: pip install safetensors.",
        ) from error
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise _unusable(path, _first_line(error), "a complete safetensors file") from error


def _reason(error: Exception) -> str:
    """What torch found in a file, without its advice on how to load it all the same."""
    _, _, text = str(error).partition("WeightsUnpickler error:")
    return next((line.strip() for line in text.splitlines() if line.strip()), _first_line(error))


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def _unusable(path: Path, got: str, expected: str) -> IncompatibleModel:
    return IncompatibleModel(
        "a file of weights cannot be used",
        where=str(path),
        got=got,
        wanted=expected,
        remedy="Fetch the file again; it may be incomplete.",
    )
