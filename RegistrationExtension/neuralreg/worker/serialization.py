"""Records as JSON with their arrays in files beside it, and back without copying.

An array travels as a raw `.npy` file: written in slabs, so that whoever writes may do something
else in between, and opened as a memory map, so that only what is touched is read. On one machine
such a file never leaves the page cache. Shared memory would spare that copy, but not survive a
killed process without leaving something behind, and is limited in containers.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import fields, is_dataclass
from errno import ENOMEM
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from neuralreg.errors import OutOfMemory, UnreadableFile, UnwritableOutput
from neuralreg.geometry.typing import Array
from neuralreg.worker.messages import RECORDS

Json = Any
Result = TypeVar("Result")
Steps = Generator[None, None, Result]  # work in short steps; what it returns is the result

SLAB_BYTES = 4 << 20  # a few milliseconds of writing or reading


def slabs(array: Array) -> list[slice]:
    """Parts of the first axis of at most about 4 MB each."""
    rows = len(array)
    step = max(1, SLAB_BYTES * rows // max(array.nbytes, 1))
    return [slice(start, start + step) for start in range(0, rows, step)]


def at_once(steps: Steps[Result]) -> Result:
    """What comes out of work in steps, without a pause."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: Result = end.value
            return result


def arguments_of(job: object) -> Mapping[str, Any]:
    """A job's record, or a mapping, as arguments by name."""
    if is_dataclass(job):
        return {part.name: getattr(job, part.name) for part in fields(job)}
    if isinstance(job, Mapping):
        return job
    raise TypeError(f"a job is a record or a mapping, not {type(job).__name__}")


def pack(value: object, folder: Path) -> Steps[Json]:
    """The value as JSON, its arrays as files in the folder.

    Raises:
        UnwritableOutput: when the folder is closed or the disk full.
    """
    names = (folder / f"{number}.npy" for number in count())
    return (yield from _pack(value, lambda: next(names)))


def _pack(value: object, next_file: Callable[[], Path]) -> Steps[Json]:
    if isinstance(value, np.ndarray):
        path = next_file()
        yield from _write(value, path)
        return {"array": str(path)}
    if is_dataclass(value):
        named: dict[str, Json] = {"record": type(value).__name__}
        for part in fields(value):
            named[part.name] = yield from _pack(getattr(value, part.name), next_file)
        return named
    if isinstance(value, Mapping):
        mapped: dict[str, Json] = {}
        for key, part in value.items():
            mapped[str(key)] = yield from _pack(part, next_file)
        return mapped
    if isinstance(value, list | tuple):
        parts = []
        for part in value:
            parts.append((yield from _pack(part, next_file)))
        return parts
    return value.item() if isinstance(value, np.generic) else value


def _write(array: Array, path: Path) -> Steps[None]:
    header = {"descr": array.dtype.str, "fortran_order": False, "shape": array.shape}
    try:
        with path.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, header)
            for part in slabs(array):
                file.write(np.ascontiguousarray(array[part]).data)
                yield
    except OSError as error:
        raise UnwritableOutput(
            "an image could not be handed over",
            where=str(path.parent),
            got=error.strerror or str(error),
            remedy="Make room on the disk of the temporary folder.",
        ) from error


def unpack(value: Json) -> Any:
    """The value that was packed; its arrays are memory maps whose changes reach no file.

    Raises:
        UnreadableFile: when a file is missing or no array.
        OutOfMemory: when an array cannot be mapped.
    """
    if isinstance(value, list):
        return tuple(map(unpack, value))
    if not isinstance(value, dict):
        return value
    if set(value) == {"array"}:
        return _open(value["array"])
    parts = {key: unpack(part) for key, part in value.items() if key != "record"}
    return RECORDS[value["record"]](**parts) if "record" in value else parts


def _open(path: str) -> Array:
    try:
        array: Array = np.load(path, mmap_mode="c")
    except (OSError, ValueError) as error:
        if getattr(error, "errno", None) == ENOMEM:
            raise OutOfMemory(
                "there is too little memory for an image that was handed over",
                where=path,
                remedy="Close other programs, or crop the images.",
            ) from error
        raise UnreadableFile(
            "an array that was handed over cannot be read", where=path, got=str(error)
        ) from error
    return array
