"""What a worklist starts from: results in a folder, and what an earlier list knows about them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from neuralreg.errors import UnreadableFile
from neuralreg.review.workflow.provenance import RECORD, locate_input
from neuralreg.review.workflow.worklist import (
    INPUTS,
    OF_PERSONS,
    Entry,
    void_decision,
    with_failure,
)


def entries_in(folder: Path) -> list[Entry]:
    """An entry for each result of `neuralreg register` below a folder.

    A record that cannot be read, or that another program wrote under this name, is an entry with
    the verdict "error".

    Raises:
        UnreadableFile: There is none.
    """
    folder = folder.resolve()
    entries = [entry_of(record, folder) for record in sorted(folder.rglob(RECORD))]
    if not entries:
        raise UnreadableFile(f"{folder} holds no results", wanted=f"folders with a {RECORD}")
    return entries


def entry_of(record: Path, folder: Path) -> Entry:
    """The entry of one result.

    Args:
        record: of `neuralreg register`.
        folder: its name is relative to this one.
    """
    name = record.parent.relative_to(folder).as_posix()
    entry = Entry(
        case=folder.name if name == "." else name,
        transform=str(record.parent / "fixed_to_moving.nii.gz"),
        inverse=str(record.parent / "moving_to_fixed.nii.gz"),
    )
    try:
        inputs = json.loads(record.read_text(encoding="utf-8-sig"))["inputs"]
        paths = {key: str(locate_input(about, record.parent)) for key, about in inputs.items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        return with_failure(entry, UnreadableFile(f"{record} is no record", got=str(error)))
    return replace(
        entry,
        fixed=paths.get("fixed", ""),
        moving=paths.get("moving", ""),
        fixed_seg=paths.get("fixed_seg", ""),
        moving_seg=paths.get("moving_seg", ""),
        mask=paths.get("fixed_mask", ""),
    )


def resume(
    entries: Sequence[Entry], earlier: Sequence[Entry], hash_of: Callable[[Entry], str]
) -> list[Entry]:
    """The entries, with what an earlier list of them knows.

    An entry is known by the path of its transform, however that was spelled; where the path is
    another one, as in a folder that was renamed or moved, by the content of the transform.

    Args:
        entries: Of now; their paths are absolute, as those of `earlier`.
        earlier: Of the list.
        hash_of: The hash of an entry's transform; asked for only where no path is known.
    """
    by_path = {entry.transform: entry for entry in earlier}
    paths = {entry.transform for entry in entries}
    moved = {
        entry.transform_sha256: entry
        for entry in earlier
        if entry.transform_sha256 and entry.transform not in paths
    }
    resumed = []
    for entry in entries:
        known = by_path.get(entry.transform)
        if known is None and moved and not entry.is_reviewed:
            known = moved.get(hash_of(entry))
        resumed.append(_with_knowledge(entry, known))
    return resumed


def _with_knowledge(entry: Entry, known: Entry | None) -> Entry:
    """An entry with the decision of a known one, and with its review if it has none of its own."""
    if known is None:
        return entry
    if entry.is_reviewed:
        facts = {name: getattr(known, name) for name in (*OF_PERSONS, "transform_sha256")}
        return replace(entry, **facts)
    inputs = {name: getattr(entry, name) or getattr(known, name) for name in INPUTS}
    return replace(known, **inputs)


def recheck(entries: Iterable[Entry], hash_of: Callable[[Entry], str]) -> list[Entry]:
    """The entries, those whose transform is not the one that was reviewed to be reviewed again.

    A decision about another transform is void. What is known of a transform that is gone stays.

    Args:
        entries: Of a list, with what is known about them.
        hash_of: The hash of an entry's transform, "" where it cannot be read.
    """
    return [_recheck(entry, hash_of) for entry in entries]


def _recheck(entry: Entry, hash_of: Callable[[Entry], str]) -> Entry:
    if not entry.transform_sha256 and entry.verdict in ("", "error"):
        return entry
    content = hash_of(entry)
    gone = not content and not Path(entry.transform).exists()  # a drive that is not there now
    if gone or content == entry.transform_sha256:
        return entry
    if content and entry.transform_sha256:
        entry = replace(void_decision(entry), transform_sha256=content)
    return replace(entry, verdict="")
