"""A second device that only pretends: torch refuses on it what a GPU would refuse.

Its tensors hold one of the CPU each, and every operation is made by the CPU. An operation on
tensors of both places raises, as on a GPU; only numbers (tensors without axes) and the indices of
an indexing may come from the CPU. What it cannot show: speed, memory, rounding, and operations that
a GPU has no kernel for.

Torch 2.13 can have a backend written in Python under the key PrivateUse1
(`torch.utils.backend_registration`). Operations that torch composes of others without a kernel of
their own would work on the empty array behind such a tensor, so each of them is handed to the CPU.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor
from torch.utils import backend_registration
from torch.utils._pytree import tree_leaves, tree_map

NAME = "pretended"
_RESHAPING = {"aten::view", "aten::_unsafe_view"}  # its tensors say that they are contiguous
_CONVOLUTIONS = {"convolution", "_convolution", "convolution_backward"}
_COMPOSED = ("CompositeExplicitAutograd", "CompositeExplicitAutogradNonFunctional")


class _Module(backend_registration._DummyBackendModule):  # type: ignore[misc]
    """What torch asks of `torch.pretended`."""

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16, torch.float16]


class _Pretended(Tensor):
    """A tensor of the device; the storage has what it holds, so that torch's own copies find it."""

    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, raw: Tensor) -> _Pretended:
        tensor = torch._C._acc.create_empty_tensor(raw.shape, raw.dtype)
        tensor.__class__ = cls
        tensor.untyped_storage().raw = raw
        return tensor  # type: ignore[no-any-return]


def _content(value: Any) -> Any:
    if isinstance(value, torch.device):
        return torch.device("cpu")
    if not isinstance(value, Tensor) or value.device.type == "cpu":
        return value
    return value.untyped_storage().raw


def _pretend(value: Any) -> Any:
    if isinstance(value, Tensor) and value.device.type == "cpu":
        return _Pretended(value)
    return value


def _run(operation: Any, *args: Any, **kwargs: Any) -> Any:
    """An operation on what the tensors hold."""
    name = operation._schema.name
    leaves = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    if not name.startswith("aten::index"):
        for leaf in leaves:
            if leaf.device.type == "cpu" and leaf.dim() > 0:
                raise RuntimeError(f"{name}: tensors on {NAME} and on the CPU")
    held, options = tree_map(_content, (args, kwargs))
    options.pop("pin_memory", None)
    if name in _RESHAPING:
        return _Pretended(held[0].reshape(*held[1:]))
    result = operation(*held, **options)
    if not operation._schema.is_mutable:
        return tree_map(_pretend, result)
    changed = {id(_content(leaf)): leaf for leaf in leaves}
    return tree_map(lambda value: changed.get(id(value), _pretend(value)), result)


def _empty(size: list[int], *, dtype: torch.dtype | None = None, **_: Any) -> Tensor:
    return _Pretended(torch.empty(size, dtype=dtype, device="cpu"))


def _empty_strided(
    size: list[int], stride: list[int], *, dtype: torch.dtype | None = None, **_: Any
) -> Tensor:
    return _Pretended(torch.empty_strided(size, stride, dtype=dtype, device="cpu"))


def _copy_from(source: Tensor, target: Tensor, non_blocking: bool = False) -> Tensor:
    _content(target).copy_(_content(source))
    return target


def _convolution(*args: Any) -> Tensor:
    return _Pretended(torch.ops.aten.convolution(*map(_content, args)))


def _convolution_backward(
    gradient: Tensor, values: Tensor, weight: Tensor, *more: Any
) -> tuple[Tensor | None, ...]:
    *options, wanted = more
    transposed, groups = options[3], options[5]
    channels = weight.shape[1] * groups if transposed else weight.shape[0]
    bias = [channels] if wanted[2] else None
    held = map(_content, (gradient, values, weight))
    parts = torch.ops.aten.convolution_backward(*held, bias, *options, wanted)
    return tuple(map(_pretend, parts))


_OWN: dict[str, Callable[..., Any]] = {
    "empty.memory_format": _empty,
    "empty_strided": _empty_strided,
    "_copy_from": _copy_from,
    "convolution_overrideable": _convolution,
    "convolution_backward_overrideable": _convolution_backward,
}
_LEFT = {"copy_", "_to_copy"}  # torch makes them of _copy_from


@cache
def register_device() -> tuple[torch.library.Library, ...]:
    """Makes `torch.device("pretended")` for the rest of the process; what must be kept for it."""
    backend_registration._setup_privateuseone_for_python_backend(NAME, backend_module=_Module())
    everything, aten = (torch.library.Library(name, "IMPL") for name in ("_", "aten"))
    everything.fallback(_run, dispatch_key="PrivateUse1")
    for name, function in _OWN.items():
        aten.impl(name, function, "PrivateUse1")
    for name in _composed_operations():
        base, _, overload = name.partition(".")
        operation = getattr(getattr(torch.ops.aten, base), overload or "default")
        aten.impl(name, partial(_run, operation), "PrivateUse1")
    return everything, aten


def _composed_operations() -> list[str]:
    """The operations of torch that have no kernel per device and are not written in others."""
    has_kernel = torch._C._dispatch_has_kernel_for_dispatch_key
    names = []
    for full_name in torch._C._dispatch_get_all_op_names():
        space, _, name = full_name.partition("::")
        base = name.partition(".")[0]
        if space != "aten" or name in _OWN or base in _LEFT | _CONVOLUTIONS:
            continue
        if name.endswith(".out"):
            continue
        if any(has_kernel(full_name, key) for key in _COMPOSED):
            names.append(name)
    return names
