"""Files of tensors: checkpoints, weights, cached images; written as a whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from neuralreg.io.files import write_whole

_FAILED_WRITE = ("inline_container", "PytorchStreamWriter")


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
