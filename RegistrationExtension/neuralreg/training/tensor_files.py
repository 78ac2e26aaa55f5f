"""Files of tensors: checkpoints, weights, cached images; written as a whole or not at all."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch

from neuralreg.errors import UnreadableFile
from neuralreg.io.files import require_existing, write_whole
from neuralreg.training.run_files import BEST, CHECKPOINTS, LAST

logger = logging.getLogger(__name__)

FORMAT = 1  # of checkpoints
_FAILED_WRITE = ("inline_container", "PytorchStreamWriter", "iostream error")


def save_tensors(content: Any, path: Path) -> None:
    """What `torch.save` writes, never a half file.

    Args:
        content: tensors and plain values.
        path: it is replaced if it exists.

    Raises:
        UnwritableOutput: the folder cannot be written to, or the disk is full.
    """
    with write_whole(path) as draft:
        try:
            torch.save(content, draft)
        except RuntimeError as error:
            # torch reports a failed write, whatever its reason, by where its own code noticed it.
            if not any(word in str(error) for word in _FAILED_WRITE):
                raise
            raise OSError("the disk is full, or files may not be that large") from error


def newest_checkpoint(folder: Path) -> Path:
    """The checkpoint with the most steps, whatever it is called: a kill may have left best.pt only.

    Args:
        folder: with the checkpoints of a run.

    Raises:
        UnreadableFile: there is none.
    """
    reached: dict[Path, tuple[int, int]] = {}
    errors: list[UnreadableFile] = []
    for path in sorted(folder.glob("*.pt")):
        try:
            state = read_checkpoint(path, lazily=True)["state"]
        except UnreadableFile as error:
            errors.append(error)
            continue
        reached[path] = state["step"], state["epoch"]
    if not reached and errors:
        raise UnreadableFile(
            f"{folder} holds no checkpoint that can be read",
            got="; ".join(map(str, errors)),
            remedy="Use the version of this program that wrote them, or another copy of the run.",
        )
    if not reached:
        raise UnreadableFile(
            f"{folder} holds no checkpoint",
            remedy="The run ended before its first one: nothing of it is left to go on from.",
        )
    for damage in errors:
        logger.warning("%s", damage)
    # Of equal ones last.pt, which a run writes most often.
    return max(reached, key=lambda path: (reached[path], path.name == LAST))


def read_checkpoint(path: Path, *, lazily: bool = False) -> dict[str, Any]:
    """The content of a checkpoint.

    Args:
        path: of the file.
        lazily: tensors are only read when they are used; the file is open until then.

    Raises:
        UnreadableFile: it is none.
    """
    require_existing(path)
    try:
        content: dict[str, Any] = torch.load(
            path, map_location="cpu", weights_only=True, mmap=lazily
        )
    except Exception as error:
        raise UnreadableFile(f"{path} is no checkpoint", got=str(error).splitlines()[0]) from error
    version = content.get("format") if isinstance(content, dict) else None
    if version != FORMAT:
        newer = isinstance(version, int) and version > FORMAT
        raise UnreadableFile(
            f"{path} is no checkpoint of this version",
            got=f"one of a newer version of this program (format {version})" if newer else "",
            wanted=f"format {FORMAT}" if newer else "",
        )
    return content


def weights_of_run(run: Path, name: str) -> Path:
    """The file with the weights of a run: its model, else its best or its newest checkpoint.

    Args:
        run: its folder.
        name: of its model.

    Raises:
        UnreadableFile: there is none.
    """
    candidates = (run / f"{name}.pt", run / CHECKPOINTS / BEST)
    existing = next((path for path in candidates if path.is_file()), None)
    return existing or newest_checkpoint(run / CHECKPOINTS)
