"""Many transforms to be reviewed: the riskiest first, decisions kept, work resumed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import zip_longest
from pathlib import Path

from neuralreg.errors import Cancelled, InvalidOption, RegistrationError, UnreadableFile
from neuralreg.io.files import write_whole
from neuralreg.io.tables import Row, Table, format_table, read_table
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
_FILES = _INPUTS[1:]
_OF_PERSONS = ("decision", "by", "note", "time")
_FAILURES = (
    RegistrationError,
    RuntimeError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    OSError,
    MemoryError,
)
_WEIGHTS = {"fail": 10.0, "attention": 1.0}
_RANKED = 5  # locations that count


@dataclass(frozen=True)
class Entry:
    """A transform of a worklist, and what is known about it so far.

    Files are given as text, by their whole paths; only the transform is required.

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
    keep: Callable[[list[Entry]], object],
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
        except _FAILURES as error:  # one case must not stop the others
            done[number] = _with_failure(entry, error)
        keep(sort_by_risk(done))
    return sort_by_risk(done)


def _with_failure(entry: Entry, error: Exception) -> Entry:
    kind = "" if isinstance(error, RegistrationError) else f"{type(error).__name__}: "
    return replace(entry, verdict="error", risk=0.0, findings=f"{kind}{error}")


def entries_in(folder: Path) -> list[Entry]:
    """An entry for each result of `neuralreg register` below a folder.

    A record that cannot be read, or that another program wrote under this name, is an entry with
    the verdict "error".

    Raises:
        UnreadableFile: There is none.
    """
    from neuralreg.review.workflow.provenance import RECORD  # loads SimpleITK

    folder = folder.resolve()
    entries = [_entry_of(record, folder) for record in sorted(folder.rglob(RECORD))]
    if not entries:
        raise UnreadableFile(f"{folder} holds no results", wanted=f"folders with a {RECORD}")
    return entries


def _entry_of(record: Path, folder: Path) -> Entry:
    import json

    name = record.parent.relative_to(folder).as_posix()
    entry = Entry(
        case=folder.name if name == "." else name,
        transform=str(record.parent / "fixed_to_moving.nii.gz"),
        inverse=str(record.parent / "moving_to_fixed.nii.gz"),
    )
    try:
        inputs = json.loads(record.read_text(encoding="utf-8"))["inputs"]
        paths = {key: str(record.parent / about["path"]) for key, about in inputs.items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        return _with_failure(entry, UnreadableFile(f"{record} is no record", got=str(error)))
    return replace(
        entry,
        fixed=paths.get("fixed", ""),
        moving=paths.get("moving", ""),
        fixed_seg=paths.get("fixed_seg", ""),
        moving_seg=paths.get("moving_seg", ""),
        mask=paths.get("fixed_mask", ""),
    )


def resume(
    entries: Sequence[Entry], earlier: Sequence[Entry], hash_of: Callable[[str], str]
) -> list[Entry]:
    """The entries, with what an earlier list of them knows.

    An entry is known by the path of its transform, however that was spelled; where the path is
    another one, as in a folder that was renamed or moved, by the content of the transform.

    Args:
        entries: Of now; their paths are absolute, as those of `earlier`.
        earlier: Of the list.
        hash_of: The hash of the transform in a file; asked for only where no path is known.
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
            known = moved.get(hash_of(entry.transform))
        resumed.append(_with_knowledge(entry, known))
    return resumed


def _with_knowledge(entry: Entry, known: Entry | None) -> Entry:
    """An entry with the decision of a known one, and with its review if it has none of its own."""
    if known is None:
        return entry
    if entry.is_reviewed:
        facts = {name: getattr(known, name) for name in (*_OF_PERSONS, "transform_sha256")}
        return replace(entry, **facts)
    inputs = {name: getattr(entry, name) or getattr(known, name) for name in _INPUTS}
    return replace(known, **inputs)


def keep_decisions(entries: Sequence[Entry], earlier: Sequence[Entry]) -> list[Entry]:
    """The entries, those without a decision with the one that a person made in the meantime.

    Args:
        entries: About to be written.
        earlier: What the file holds now; only decisions about the same transform count.
    """
    decided = {(e.transform, e.transform_sha256): e for e in earlier if e.decision}
    kept = []
    for entry in entries:
        other = decided.get((entry.transform, entry.transform_sha256))
        if other is not None and not entry.decision:
            facts = {name: getattr(other, name) for name in _OF_PERSONS}
            entry = replace(entry, **facts)
        kept.append(entry)
    return kept


def read_worklist(path: Path) -> list[Entry]:
    """The entries in a table: a column per field, of which only `transform` is required.

    Paths are relative to the folder of the table; entries of one name are numbered.

    Args:
        path: As `write_worklist` or a spreadsheet program saves it, see `read_table`; columns in
            any order.

    Raises:
        UnreadableFile: The file is missing, lacks the column, or has a row that is none.
        InvalidOption: A column is unknown.
    """
    table = read_table(path)
    names = {one.name for one in fields(Entry)}
    header = table.rows[0].cells if table.rows else ()
    if "transform" not in header:
        raise UnreadableFile(f"{path} has no column 'transform'", got=", ".join(sorted(header)))
    if unknown := {name for name in header if name} - names:
        raise InvalidOption(
            "unknown columns",
            where=str(path),
            got=", ".join(sorted(unknown)),
            wanted=", ".join(sorted(names)),
        )
    entries = [_entry(table, row, n) for n, row in enumerate(table.rows[1:], start=1)]
    return _with_own_names(entries)


def write_worklist(entries: Sequence[Entry], path: Path) -> None:
    """Write the CSV, whole or not at all.

    Files in the folder of the CSV or below are named relative to it, so that the folder can be
    renamed; others by their whole path.

    Raises:
        UnwritableOutput: The folder is closed or missing.
    """
    names = [one.name for one in fields(Entry)]
    folder = path.resolve().parent
    rows = [_cells(entry, folder) for entry in entries]
    with write_whole(path) as draft:
        draft.write_text(format_table(names, rows), encoding="utf-8", newline="")


def _cells(entry: Entry, folder: Path) -> list[str]:
    values = asdict(entry)
    for name in _FILES:
        if values[name]:
            file = Path(values[name]).absolute()
            inside = file.is_relative_to(folder)
            values[name] = file.relative_to(folder).as_posix() if inside else str(file)
    return [str(value) for value in values.values()]


def _entry(table: Table, row: Row, number: int) -> Entry:
    header = table.rows[0].cells
    if any(cell for name, cell in zip_longest(header, row.cells, fillvalue="") if not name):
        raise UnreadableFile(f"{row.in_words(table.path)} has more cells than the header")
    cells = dict(zip_longest(header, row.cells[: len(header)], fillvalue=""))
    values = {name: value for name, value in cells.items() if name}
    for name in _FILES:
        if values.get(name):
            values[name] = str((table.path.resolve().parent / values[name]).resolve())
    text = values.pop("risk", "")
    risk = table.number(text) if text else 0.0
    if risk is None:
        raise UnreadableFile(f"{row.in_words(table.path)} has a risk that is no number", got=text)
    values["case"] = values.get("case") or f"case {number}"
    return Entry(**values, risk=risk)


def _with_own_names(entries: list[Entry]) -> list[Entry]:
    """The entries, each with a name that no other has."""
    taken = set[str]()
    named = []
    for entry in entries:
        name, n = entry.case, 1
        while name in taken:
            n += 1
            name = f"{entry.case} ({n})"
        taken.add(name)
        named.append(replace(entry, case=name))
    return named
