"""The Python in the pages of the documentation."""

from __future__ import annotations

import re
import shlex
from pathlib import Path


def run_page(page: Path, count: int | None = None) -> dict[str, object]:
    """Runs the Python of a page, or its first `count` blocks, in the current folder.

    Returns:
        The names that it makes, and all blocks as "blocks".
    """
    blocks = blocks_of(page, "python")
    names: dict[str, object] = {"__name__": page.name, "blocks": blocks}
    assert blocks
    for block in blocks[:count]:
        exec(compile(block, str(page), "exec"), names)
    return names


def commands_of(page: Path) -> list[list[str]]:
    """The `neuralreg` commands in the shell blocks of a page, as lists of arguments."""
    blocks = blocks_of(page, "sh")
    lines = [shlex.split(line, comments=True) for block in blocks for line in block.splitlines()]
    return [line[1:] for line in lines if line[:1] == ["neuralreg"]]


def blocks_of(page: Path, language: str) -> list[str]:
    """The blocks of a page in a language, as text."""
    text = page.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
