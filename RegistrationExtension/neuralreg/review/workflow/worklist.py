"""Many transforms to be reviewed: the riskiest first, decisions kept, work resumed."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from neuralreg.errors import Cancelled, InvalidOption, RegistrationError, UnreadableFile
from neuralreg.io.files import write_whole
from neuralreg.progress import Progress, silent
from neuralreg.review.report_model import QualityReport

_INPUTS = (
    "case",
    "transform",
    "fixed",
    "moving",
    "inverse",
    "fixed_seg",
    "moving_seg",
    "landmarks",
    "mask",
)
_WEIGHTS = {"fail": 10.0, "attention": 1.0}
_RANKED = 5  # locations that count


@dataclass(frozen=True)
class Entry:
    """A transform of a worklist, and what is known about it so far.

    Files are given as text; only the transform is required.

    Attributes:
        case: Names the entry.
        transform: File of the transform, fixed to moving.
        fixed: File of the fixed image.
        moving: File of the moving image.
        inverse: File of the transform of the other direction.
        fixed_seg: File of the fixed label map.
        moving_seg: File of the moving label map.
        landmarks: File of pairs of landmarks.
        mask: File of the mask on the fixed side.
        verdict: Of the review; "" when not reviewed yet, "error" when it failed.
        risk: Higher is to be reviewed earlier.
        findings: The most serious ones, in words.
        transform_sha256: Of the transform that was reviewed.
        decision: Of a person; see `Decision`.
        by: Who decided.
        note: In the reviewer's words.
        time: Of the decision.
    """

    case: str
    transform: str
    fixed: str = ""
    moving: str = ""
    inverse: str = ""
    fixed_seg: str = ""
    moving_seg: str = ""
    landmarks: str = ""
    mask: str = ""
    verdict: str = ""
    risk: float = 0.0
    findings: str = ""
    transform_sha256: str = ""
    decision: str = ""
    by: str = ""
    note: str = ""
    time: str = ""

    @property
    def is_reviewed(self) -> bool:
        """Whether a review has been tried."""
        return bool(self.verdict)


Reviewer = Callable[[Entry], QualityReport]


def risk_of(report: QualityReport) -> float:
    """One number to sort by: missed limits first, then suspicions, then how bad the worst is."""
    lines = sum(_WEIGHTS.get(line.verdict, 0.0) for line in report.lines)
    severities = [min(location.severity, 10.0) for location in report.worst[:_RANKED]]
    return round(lines + sum(severities) / (10 * _RANKED), 4)


def record_review(entry: Entry, report: QualityReport) -> Entry:
    """The entry with the results of its review; a decision about another transform is dropped."""
    serious = [line for line in report.lines if line.verdict in _WEIGHTS]
    serious.sort(key=lambda line: -_WEIGHTS[line.verdict])
    stale = entry.transform_sha256 not in ("", report.transform_hash)
    return replace(
        replace(entry, decision="", by="", note="", time="") if stale else entry,
        verdict=report.verdict,
        risk=risk_of(report),
        findings="; ".join(line.words for line in serious[:3]),
        transform_sha256=report.transform_hash,
    )


def sort_by_risk(entries: Iterable[Entry]) -> list[Entry]:
    """Undecided before decided, the riskiest first, failed reviews at the top."""
    return sorted(entries, key=lambda e: (bool(e.decision), e.verdict != "error", -e.risk, e.case))


def work_through(
    entries: Sequence[Entry],
    review: Reviewer,
    keep: Callable[[list[Entry]], None],
    progress: Progress = silent,
) -> list[Entry]:
    """Review what has not been reviewed yet.

    Stopping in between loses one review at most. What cannot be reviewed becomes an entry with the
    verdict "error" and the reason.

    Args:
        entries: The worklist.
        review: Reviews one entry.
        keep: Takes the list, sorted by risk, after each review.
        progress: Called with a fraction and a stage.
    """
    done = list(entries)
    for number, entry in enumerate(entries):
        progress(number / max(len(entries), 1), f"reviewing {entry.case}")
        if entry.is_reviewed:
            continue
        try:
            done[number] = record_review(entry, review(entry))
        except Cancelled:
            raise
        except RegistrationError as error:
            done[number] = replace(entry, verdict="error", risk=0.0, findings=str(error))
        keep(sort_by_risk(done))
    return sort_by_risk(done)


def entries_in(folder: Path) -> list[Entry]:
    """An entry for each result of `neuralreg register` below a folder.

    Raises:
        UnreadableFile: There is none, or a record is broken.
    """
    import json

    from neuralreg.review.workflow.provenance import RECORD  # loads SimpleITK

    entries = []
    for record in sorted(folder.rglob(RECORD)):
        try:
            inputs = json.loads(record.read_text(encoding="utf-8"))["inputs"]
            paths = {name: str(about["path"]) for name, about in inputs.items()}
        except (ValueError, LookupError, TypeError) as error:
            raise UnreadableFile(f"{record} is no record", got=str(error)) from error
        name = record.parent.relative_to(folder).as_posix()
        entries.append(
            Entry(
                case=folder.name if name == "." else name,
                transform=str(record.parent / "fixed_to_moving.nii.gz"),
                inverse=str(record.parent / "moving_to_fixed.nii.gz"),
                fixed=paths.get("fixed", ""),
                moving=paths.get("moving", ""),
                fixed_seg=paths.get("fixed_seg", ""),
                moving_seg=paths.get("moving_seg", ""),
                mask=paths.get("fixed_mask", ""),
            )
        )
    if not entries:
        raise UnreadableFile(f"{folder} holds no results", wanted=f"folders with a {RECORD}")
    return entries


def read_worklist(path: Path) -> list[Entry]:
    """The entries in a CSV: a column per field, of which only `transform` is required.

    Paths are relative to the folder of the CSV.

    Raises:
        UnreadableFile: The file is missing or lacks the column.
        InvalidOption: A column is unknown.
    """
    try:
        rows = list(csv.DictReader(path.read_text(encoding="utf-8-sig").splitlines()))
    except OSError as error:
        raise UnreadableFile(f"{path} cannot be opened", got=error.strerror or "") from error
    names = {one.name for one in fields(Entry)}
    columns = set(rows[0]) if rows else set()
    if "transform" not in columns:
        raise UnreadableFile(f"{path} has no column 'transform'", got=", ".join(sorted(columns)))
    if columns - names:
        raise InvalidOption(
            "unknown columns",
            where=str(path),
            got=", ".join(sorted(columns - names)),
            wanted=", ".join(sorted(names)),
        )
    return [_entry(row, number, path.parent) for number, row in enumerate(rows, start=1)]


def write_worklist(entries: Sequence[Entry], path: Path) -> None:
    """Write the CSV, whole or not at all.

    Raises:
        UnwritableOutput: The folder is closed or missing.
    """
    with write_whole(path) as draft, draft.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [one.name for one in fields(Entry)])
        writer.writeheader()
        writer.writerows(asdict(entry) for entry in entries)


def _entry(row: dict[str, str], number: int, folder: Path) -> Entry:
    values = {name: value or "" for name, value in row.items()}
    for name in _INPUTS[1:]:
        if values.get(name):
            values[name] = str((folder / values[name]).resolve())
    risk = float(values.pop("risk", "") or 0.0)
    values["case"] = values.get("case") or f"case {number}"
    return Entry(**values, risk=risk)
