"""Where and how precisely torch computes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext

import torch

from neuralreg.errors import DeviceUnavailable, InvalidOption

# Names of number types for a network's run, and the type that torch's autocast then takes.
PRECISIONS = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}

_SMALL = 2**17  # samples: of 45 thousand, torch deals out an operation to two threads at most


def choose_device(name: str = "auto") -> torch.device:
    """The device to compute on; "auto" is a GPU where there is one, else the CPU.

    Args:
        name: "auto", or a device as torch names it: "cpu", "cuda", "cuda:1", "mps".

    Raises:
        DeviceUnavailable: the named device is absent; there is no silent fallback to the CPU.
        InvalidOption: the name is none of a device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InvalidOption(
            "unknown device", got=f"'{name}'", wanted="auto, cpu, cuda, cuda:1 or mps"
        ) from error
    if not _exists(device):
        raise DeviceUnavailable(
            f"there is no device '{name}' on this machine",
            got=f"{torch.cuda.device_count()} CUDA devices seen by torch {torch.__version__}",
            remedy="Choose auto or cpu, or install a torch build and driver for this device.",
        )
    return device


def choose_registration_device(name: str = "auto") -> torch.device:
    """The device to register on, which has double precision.

    Args:
        name: as `choose_device` takes it.

    Raises:
        DeviceUnavailable: the device is absent, or an Apple GPU: coordinates are computed in double
            precision, which those do not have.
        InvalidOption: the name is none of a device.
    """
    device = choose_device(name)
    if device.type == "mps":
        raise DeviceUnavailable(
            "Apple GPUs do not compute in double precision, which registration needs",
            got=f"'{name}'",
            wanted="auto, cpu or cuda",
            remedy="Choose auto or cpu. A network can be trained on this device.",
        )
    return device


def _exists(device: torch.device) -> bool:
    if device.type == "cpu":
        return True
    module = getattr(torch, device.type, None)  # such as torch.cuda, torch.mps, torch.xpu
    if module is None or not hasattr(module, "is_available") or not module.is_available():
        return False
    return (device.index or 0) < int(module.device_count())


def require_precision(name: str) -> None:
    """Check the name of a precision.

    Args:
        name: one of `PRECISIONS`.

    Raises:
        InvalidOption: no network computes in this precision.
    """
    if name not in PRECISIONS:
        raise InvalidOption("unknown precision", got=f"'{name}'", wanted=" or ".join(PRECISIONS))


@contextmanager
def own_modes() -> Iterator[None]:
    """Torch in the modes that this package computes in, whatever those of its caller are.

    Gradients are recorded, new numbers are float32 on the CPU unless said otherwise, nothing is
    shortened by autocast, and an operation without a deterministic form does not fail. Afterwards
    all of these are as the caller had them.
    """
    determinism = _determinism()
    number = torch.get_default_dtype()
    with ExitStack() as modes:
        modes.enter_context(torch.inference_mode(False))
        modes.enter_context(torch.enable_grad())
        if torch.get_default_device().type != "cpu":
            modes.enter_context(torch.device("cpu"))
        for kind in ("cpu", "cuda"):
            if torch.is_autocast_enabled(kind):
                modes.enter_context(torch.autocast(kind, enabled=False))
        try:
            torch.set_default_dtype(torch.float32)
            if determinism == (True, False):
                torch.use_deterministic_algorithms(True, warn_only=True)
            yield
        finally:
            torch.set_default_dtype(number)
            if _determinism() != determinism:  # setting it imports torch's compiler: seconds
                strict, lenient = determinism
                torch.use_deterministic_algorithms(strict, warn_only=lenient)


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread for torch; afterwards it has those that it had."""
    threads = torch.get_num_threads()
    if threads == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def threads_for(samples: int) -> AbstractContextManager[None]:
    """As many threads as an image of so many samples can use.

    A small image is thousands of operations that take microseconds each: two threads wait for each
    other longer than they work, and on a busy machine much longer. Afterwards torch has the threads
    that it had.
    """
    return nullcontext() if samples >= _SMALL else one_thread()


def _determinism() -> tuple[bool, bool]:
    """Whether operations must be deterministic, and whether those that are not only warn."""
    return (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
