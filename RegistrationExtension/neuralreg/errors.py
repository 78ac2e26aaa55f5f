"""Errors that a user can act on: each has what, where, got, wanted, and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self


class RegistrationError(Exception):
    """Base of every error that this package raises on purpose.

    The parts stay readable as attributes, so that a panel can show the remedy on its own line.

    Attributes:
        what: what is wrong.
        where: file, key or name that it is about.
        got: what was given.
        wanted: what would be valid.
        remedy: what the user can do.
    """

    def __init__(
        self, what: str, *, where: str = "", got: str = "", wanted: str = "", remedy: str = ""
    ) -> None:
        self.what, self.where, self.got, self.wanted, self.remedy = what, where, got, wanted, remedy
        head = f"{what} ({where})" if where else what
        facts = [f"got {got}"] * bool(got) + [f"wanted {wanted}"] * bool(wanted)
        text = ": ".join([head, *([", ".join(facts)] if facts else [])])
        super().__init__(". ".join([text, *([remedy] if remedy else [])]))

    def at(self, where: str) -> Self:
        """The same error with the file, key or name that it is about."""
        facts = {"got": self.got, "wanted": self.wanted, "remedy": self.remedy}
        return type(self)(self.what, where=where, **facts)


class InvalidImage(RegistrationError):
    """An image, mask or label map cannot be used as it is."""


class InvalidTransform(RegistrationError):
    """A transform or displacement field cannot be used as it is."""


class InvalidOption(RegistrationError):
    """An option has an unknown name or a value outside of its range."""


class UnreadableFile(RegistrationError):
    """A file is missing, truncated, or of a kind that cannot be read."""


class UnwritableOutput(RegistrationError):
    """A result cannot be written where it was asked for."""


class IncompatibleModel(RegistrationError):
    """A model does not exist, or cannot take these images."""


class CodeNotTrusted(IncompatibleModel):
    """A model or run brings Python files that nobody on this machine has agreed to run."""


class WeightsUnavailable(RegistrationError):
    """A model's weights are not on this machine and could not be fetched."""


class ConsentRequired(WeightsUnavailable):
    """The licence of a model's weights has to be accepted before they are fetched."""


class ChecksumMismatch(RegistrationError):
    """A file is not the one that its card names."""


class DeviceUnavailable(RegistrationError):
    """The computing device asked for does not exist here."""


class OutOfMemory(RegistrationError):
    """A device has too little memory for this job."""

    _WORDS = "allocate memory", "not enough memory", "out of memory"

    @classmethod
    def matches(cls, error: BaseException) -> bool:
        """Whether another error means this; on a CPU torch and ITK only have words for it."""
        text = str(error).lower()
        return isinstance(error, MemoryError) or any(words in text for words in cls._WORDS)


class TrainingDiverged(RegistrationError):
    """A training has come to numbers that are not finite."""


class Cancelled(RegistrationError):
    """The user ended the job. Nothing was changed."""


class PackageMissing(RegistrationError):
    """The Python that computes lacks a package, such as torch."""


class WorkerFailed(RegistrationError):
    """The process that computes ended, hung, or sent what cannot be read."""


class InputsChanged(RegistrationError):
    """An image was deleted or changed while it was registered: the result fits it no longer."""


@contextmanager
def convert_memory_errors(
    where: str = "", remedy: str = "Close other programs, crop the images, or use a coarser model."
) -> Iterator[None]:
    """Turn a lack of memory inside the block, on any device, into OutOfMemory.

    Args:
        where: the device.
        remedy: what the user can do.

    Raises:
        OutOfMemory: in place of the error of torch, ITK or Python.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not OutOfMemory.matches(error):
            raise
        lines = str(error).splitlines() or [type(error).__name__]
        raise OutOfMemory(
            "there is too little memory for this job", where=where, got=lines[0], remedy=remedy
        ) from error
