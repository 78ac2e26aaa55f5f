"""Tables and records, as all commands on groups write them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from neuralreg.io.tables import format_cell, format_table

RECORD = "result.json"


def write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A CSV file; numbers with six digits, nothing for None."""
    cells = [[format_cell(value) for value in row] for row in rows]
    path.write_text(format_table(header, cells), "utf-8")


def write_record(draft: Path, record: Mapping[str, Any]) -> list[str]:
    """`result.json` beside all other files of a draft; their names, which it holds as well."""
    names = sorted([*(path.name for path in draft.iterdir()), RECORD])
    text = json.dumps({**record, "files": names}, indent=2) + "\n"
    (draft / RECORD).write_text(text, "utf-8")
    return names
