"""The Python in the pages of the documentation."""

from __future__ import annotations

import re
from pathlib import Path


def run_page(page: Path, count: int | None = None) -> dict[str, object]:
    """Runs the Python of a page, or its first `count` blocks, in the current folder.

    Returns:
        The names that it makes, and all blocks as "blocks".
    """
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    names: dict[str, object] = {"__name__": page.name, "blocks": blocks}
    assert blocks
    for block in blocks[:count]:
        exec(compile(block, str(page), "exec"), names)
    return names
