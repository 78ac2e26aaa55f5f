"""Weights from a file into a network, without running anything that the file may contain."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from neuralreg.errors import IncompatibleModel
from neuralreg.zoo.weight_files import format_of

_BARE = "float32"  # numbers without names
_NESTED = ("state_dict", "model_state", "model_state_dict", "model", "network")
_PREFIXES = ("module.", "_orig_mod.", "model.", "network.", "net.")  # of programs around a network


def state_of(path: Path, format: str = "") -> dict[str, Tensor]:
    """The tensors of a file by name, on the CPU.

    Args:
        path: the file: what torch.save made (read with `weights_only`), safetensors, NumPy's .npz,
            or a TorchScript program, of which only the weights are taken.
        format: "state_dict" or "safetensors" where it is known; else the content decides. Numbers
            without names ("float32") become one tensor, "flat".

    Raises:
        UnreadableFile: there is no such file.
        IncompatibleModel: a file that is truncated, would run code, is a zip bomb, or contains
            anything else than finite tensors.
    """
    content = _READERS[_format(path, format)](path)
    for key in _NESTED:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not all(isinstance(v, Tensor) for v in content.values()):
        got = f"a {type(content).__name__}"
        if isinstance(content, Mapping):
            got += f" with {', '.join(map(str, list(content)[:6]))}"
        remedy = "Save the network's state_dict() alone."
        raise _unusable(path, got, "tensors by name", remedy)
    for name, values in content.items():
        if values.is_floating_point() and not bool(torch.isfinite(values).all()):
            remedy = "Such a training has diverged: take weights from before that."
            raise _unusable(path, f"NaN or infinite numbers in {name}", "finite numbers", remedy)
    return dict(content)


def _format(path: Path, format: str) -> str:
    """What is to be read; a card's word on a file counts unless its content is another one."""
    if format == _BARE:  # any bytes could be such numbers: only a card can say so
        return format
    by_content = format_of(path)
    return format if format in _READERS and by_content == "state_dict" else by_content


def fill_weights(network: nn.Module, state: Mapping[str, Tensor], where: str) -> nn.Module:
    """The network with all of its weights, ready to predict.

    Args:
        network: without its weights; it is changed.
        state: tensors by name; what programs around a network put before all names is left out.
        where: for messages: the file.

    Raises:
        IncompatibleModel: a tensor is missing, left over, or of another shape.
    """
    try:
        network.load_state_dict(_without_prefix(state, set(network.state_dict())), strict=True)
    except (RuntimeError, KeyError) as error:
        raise IncompatibleModel(
            "the weights do not fit the architecture",
            where=where,
            got=" ".join(str(error).split())[:400],
            remedy="Check that architecture and arguments are those of the training.",
        ) from error
    return network.eval().requires_grad_(False)


def _without_prefix(state: Mapping[str, Tensor], names: set[str]) -> Mapping[str, Tensor]:
    """The same tensors under the names of a network, where all have a known word before them."""
    stripped = dict(state)
    while stripped and not names & stripped.keys():
        prefix = next((p for p in _PREFIXES if all(n.startswith(p) for n in stripped)), None)
        if prefix is None:
            return state
        stripped = {name.removeprefix(prefix): values for name, values in stripped.items()}
    return stripped


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
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise IncompatibleModel(
            "the file would run code, or is not a file of weights: it was not loaded",
            where=str(path),
            got=_reason(error),
            remedy="Take weights from a source that you trust, saved as a state dict: "
            'torch.save(model.state_dict(), "weights.pt") where the model can be loaded.',
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


def _numpy(path: Path) -> Any:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: torch.from_numpy(np.array(arrays[name])) for name in arrays.files}
    except (ValueError, TypeError, OSError, zipfile.BadZipFile) as error:
        raise _unusable(path, _first_line(error), "arrays of numbers") from error


def _bare_numbers(path: Path) -> Any:
    content = path.read_bytes()
    if len(content) % 4:
        raise _unusable(path, f"{len(content)} bytes", "whole numbers of four bytes")
    return {"flat": torch.from_numpy(np.frombuffer(content, "<f4").astype(np.float32))}


def _torchscript(path: Path) -> Any:
    return program_of(path, "torchscript").state_dict()


_READERS: dict[str, Callable[[Path], Any]] = {
    "state_dict": _read_state_dict,
    "safetensors": _safetensors,
    "numpy": _numpy,
    "torchscript": _torchscript,
    _BARE: _bare_numbers,
}


def _reason(error: Exception) -> str:
    """What torch found in a file, without its advice on how to load it all the same."""
    _, _, text = str(error).partition("WeightsUnpickler error:")
    return next((line.strip() for line in text.splitlines() if line.strip()), _first_line(error))


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def _unusable(
    path: Path,
    got: str,
    expected: str,
    remedy: str = "Fetch the file again; it may be incomplete.",
) -> IncompatibleModel:
    return IncompatibleModel(
        "a file of weights cannot be used",
        where=str(path),
        got=got,
        wanted=expected,
        remedy=remedy,
    )
