"""What a person decided about a deformation; void as soon as the deformation changes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from neuralreg.errors import InvalidOption, UnreadableFile
from neuralreg.io.files import write_whole

ACCEPTED, REJECTED, NEEDS_WORK = "accepted", "rejected", "needs work"
DECISIONS = (ACCEPTED, REJECTED, NEEDS_WORK)
# Levels of TG-132's table of uncertainty (Brock et al. 2017, doi:10.1002/mp.12256), in this
# program's words: check the report before quoting it.
LEVELS: dict[int, str] = {
    0: "whole scan aligned",
    1: "locally aligned, where it matters here",
    2: "useable with risk of deformation",
    3: "useable for diagnosis only",
    4: "alignment not acceptable",
}


@dataclass(frozen=True)
class Decision:
    """A decision about a transform, or in `segments` about structures of it.

    Attributes:
        verdict: "accepted", "rejected" or "needs work".
        by: Who decided.
        transform_hash: Of the transform that was decided on; see `Deformation.sha256`.
        level: What it was accepted for, one of `LEVELS`; None otherwise.
        note: In the reviewer's words.
        time: ISO 8601, UTC.
        segments: Verdicts by name of the structure.

    Raises:
        InvalidOption: There is no such verdict or level.
    """

    verdict: str
    by: str
    transform_hash: str
    level: int | None = None
    note: str = ""
    time: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    segments: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for verdict in (self.verdict, *self.segments.values()):
            if verdict not in DECISIONS:
                raise InvalidOption(
                    "unknown decision", got=f"'{verdict}'", wanted=", ".join(DECISIONS)
                )
        if self.level is not None and self.level not in LEVELS:
            raise InvalidOption(
                "unknown level", got=str(self.level), wanted=", ".join(map(str, LEVELS))
            )

    def in_words(self) -> str:
        """The decision as a sentence."""
        what = self.verdict
        if self.verdict == ACCEPTED and self.level is not None:
            what += f" (level {self.level}: {LEVELS[self.level]})"
        return f"{what.capitalize()} by {self.by or 'an unnamed reviewer'} on {self.time}" + (
            f": {self.note}" if self.note else "."
        )

    def as_record(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)


def is_void(decision: Decision, transform_hash: str) -> bool:
    """Whether a decision was made about another transform than the one with this hash."""
    return decision.transform_hash != transform_hash


def decision_path(transform: Path) -> Path:
    """The file in which the decision about a transform file is kept: beside it."""
    name = transform.name
    for ending in (".nii.gz", transform.suffix):
        if ending and name.endswith(ending):
            name = name.removesuffix(ending)
            break
    return transform.with_name(f"{name}.decision.json")


def read_decision(path: Path) -> Decision | None:
    """The decision in a file; None when there is no file.

    Raises:
        UnreadableFile: The file holds something else.
    """
    if not path.is_file():
        return None
    try:
        return Decision(**json.loads(path.read_text(encoding="utf-8-sig")))
    except (ValueError, TypeError) as error:
        raise UnreadableFile(f"{path} holds no decision", got=str(error)) from error


def write_decision(decision: Decision, path: Path) -> None:
    """Write a decision, whole or not at all.

    Raises:
        UnwritableOutput: The folder is closed or missing.
    """
    with write_whole(path) as draft:
        draft.write_text(json.dumps(decision.as_record(), indent=1) + "\n", encoding="utf-8")
