"""Many transforms to be reviewed: the riskiest first, decisions kept, work resumed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import zip_longest
from pathlib import Path

from neuralreg.errors import Cancelled, RegistrationError, UnreadableFile
from neuralreg.io.files import path_from, write_whole
from neuralreg.io.locks.folder_locks import lock_folder
from neuralreg.io.tables import Row, Table, format_table, read_table
from neuralreg.progress import Progress, silent
from neuralreg.review.report_model import QualityReport
from neuralreg.review.workflow.decision import DECISIONS

INPUTS = (
    "case",
    "transform",
    "fixed",
    "moving",
    "inverse",
    "fixed_seg",
    "moving_seg",
    "landmarks",
    "mask",
    "format",
)
_FILES = INPUTS[1:-1]
OF_PERSONS = ("decision", "by", "note", "time", "others")
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
        format: Program of the transform file, such as "fsl", where its content does not decide.
        verdict: Of the review; "" when not reviewed yet, "error" when it failed.
        risk: Higher is to be reviewed earlier.
        findings: The most serious ones, in words.
        transform_sha256: Of the transform that was reviewed.
        decision: Of a person; see `Decision`.
        by: Who decided.
        note: In the reviewer's words.
        time: Of the decision.
        others: What stands in columns that a person added, by their names.
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
    format: str = ""
    verdict: str = ""
    risk: float = 0.0
    findings: str = ""
    transform_sha256: str = ""
    decision: str = ""
    by: str = ""
    note: str = ""
    time: str = ""
    others: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_decided(self) -> bool:
        """Whether a person made one of the decisions that there are."""
        return self.decision in DECISIONS

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
    """The entry with the results of its review.

    A decision about another transform is void: it becomes a part of the note.
    """
    serious = [line for line in report.lines if line.verdict in _WEIGHTS]
    serious.sort(key=lambda line: -_WEIGHTS[line.verdict])
    stale = entry.transform_sha256 not in ("", report.transform_hash)
    return replace(
        void_decision(entry) if stale else entry,
        verdict=report.verdict,
        risk=risk_of(report),
        findings="; ".join(line.words for line in serious[:3]),
        transform_sha256=report.transform_hash,
    )


def void_decision(entry: Entry) -> Entry:
    """The entry with its decision as a part of the note only."""
    if not entry.decision:
        return entry
    decided = " ".join(filter(None, (entry.decision, entry.by and f"by {entry.by}", entry.time)))
    note = f"void, the transform changed since: {decided}" + f": {entry.note}" * bool(entry.note)
    return replace(entry, decision="", by="", time="", note=note)


def sort_by_risk(entries: Iterable[Entry]) -> list[Entry]:
    """Undecided before decided, the riskiest first, failed reviews at the top."""
    return sorted(entries, key=lambda e: (e.is_decided, e.verdict != "error", -e.risk, e.case))


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
            done[number] = with_failure(entry, error)
        keep(sort_by_risk(done))
    return sort_by_risk(done)


def with_failure(entry: Entry, error: Exception) -> Entry:
    """The entry of what could not be reviewed, with the reason."""
    kind = "" if isinstance(error, RegistrationError) else f"{type(error).__name__}: "
    return replace(entry, verdict="error", risk=0.0, findings=f"{kind}{error}")


def keep_decisions(
    entries: Sequence[Entry], earlier: Sequence[Entry], known: Sequence[Entry] | None = None
) -> list[Entry]:
    """The entries, with what other persons wrote into the list in the meantime.

    Rows that others added stay; so do decided ones whose transform is gone.

    Args:
        entries: About to be written.
        earlier: What the file holds now; only decisions about the same transform count.
        known: What the file held when the entries were read: what differs from that is another
            person's. None: a decision of this list's own comes before one in the file.
    """
    theirs = {entry.transform: entry for entry in earlier}
    before = {entry.transform: entry for entry in known or ()}
    kept = [_with_their_words(e, theirs.get(e.transform), before.get(e.transform)) for e in entries]
    paths = {entry.transform for entry in entries}
    contents = {entry.transform_sha256 for entry in entries if entry.transform_sha256}
    others = [
        entry
        for entry in earlier
        if entry.transform not in paths
        and entry.transform_sha256 not in contents
        and (entry.decision or entry.note or Path(entry.transform).exists())
    ]
    return kept + others


def _with_their_words(mine: Entry, theirs: Entry | None, before: Entry | None) -> Entry:
    """My entry, with the words of another person where those are newer."""
    if theirs is None or theirs.transform_sha256 not in ("", mine.transform_sha256):
        return mine
    words = {name: getattr(theirs, name) for name in OF_PERSONS}
    if before is None:
        return mine if mine.decision else replace(mine, **words)
    changed = any(word != getattr(before, name) for name, word in words.items())
    return replace(mine, **words) if changed else mine


def read_worklist(path: Path) -> list[Entry]:
    """The entries in a table: a column per field, of which only `transform` is required.

    Paths are relative to the folder of the table; entries of one name are numbered. Columns that
    somebody added are kept.

    Args:
        path: As `write_worklist` or a spreadsheet program saves it, see `read_table`; columns in
            any order.

    Raises:
        UnreadableFile: The file is missing, lacks the column, or has a row that is none.
    """
    table = read_table(path)
    header = tuple(_column(cell) for cell in table.rows[0].cells) if table.rows else ()
    if "transform" not in header:
        raise UnreadableFile(f"{path} has no column 'transform'", got=", ".join(sorted(header)))
    rows = table.rows[1:]
    if header[0] == "" and [table.number(row.cells[0]) for row in rows] == [*range(len(rows))]:
        header = ("index", *header[1:])  # as pandas writes it
    entries = [_entry(table, header, row, n) for n, row in enumerate(rows, start=1)]
    return _with_own_names(entries)


def _column(cell: str) -> str:
    """The name of a column; those of an entry in any letter case."""
    names = {one.name for one in fields(Entry)} - {"others"}
    return cell.lower() if cell.lower() in names else cell


def write_worklist(entries: Sequence[Entry], path: Path) -> None:
    """Write the CSV, whole or not at all.

    Files in the folder of the CSV or below are named relative to it, so that the folder can be
    renamed; others by their whole path.

    Raises:
        UnwritableOutput: The folder is closed or missing.
    """
    names = [one.name for one in fields(Entry) if one.name != "others"]
    others = list(dict.fromkeys(name for entry in entries for name in entry.others))
    folder = path.resolve().parent
    rows = [
        _cells(entry, folder) + [entry.others.get(name, "") for name in others] for entry in entries
    ]
    with write_whole(path) as draft:
        draft.write_text(format_table(names + others, rows), encoding="utf-8", newline="")


class WorklistFile:
    """The CSV of a list, which other persons and processes may write too.

    Attributes:
        path: Of the CSV.
        known: What it held when the entries of this list were read.
    """

    def __init__(self, path: Path, known: Sequence[Entry]) -> None:
        self.path, self.known = path, known

    def write(self, entries: Sequence[Entry], newest: Entry | None = None) -> list[Entry]:
        """What was written: the entries, with what others wrote there in the meantime.

        Args:
            entries: Of this list.
            newest: The one that was decided just now, which comes after all that others wrote.
        """
        with lock_folder(self.path.resolve().parent):
            earlier = read_worklist(self.path) if self.path.is_file() else []
            kept = keep_decisions(entries, earlier, self.known)
            if newest is not None:
                kept = [newest if each.case == newest.case else each for each in kept]
            write_worklist(kept, self.path)
        return kept


def _cells(entry: Entry, folder: Path) -> list[str]:
    values = {one.name: getattr(entry, one.name) for one in fields(Entry) if one.name != "others"}
    for name in _FILES:
        if values[name]:
            file = Path(values[name]).absolute()
            inside = file.is_relative_to(folder)
            values[name] = file.relative_to(folder).as_posix() if inside else str(file)
    return [str(value) for value in values.values()]


def _entry(table: Table, header: Sequence[str], row: Row, number: int) -> Entry:
    if any(cell for name, cell in zip_longest(header, row.cells, fillvalue="") if not name):
        raise UnreadableFile(f"{row.in_words(table.path)} has more cells than the header")
    cells = dict(zip_longest(header, row.cells[: len(header)], fillvalue=""))
    own = {one.name for one in fields(Entry)} - {"others"}
    values = {name: value for name, value in cells.items() if name in own}
    for name in _FILES:
        if values.get(name):
            values[name] = str(path_from(table.path.resolve().parent, values[name]).resolve())
    text = values.pop("risk", "")
    risk = table.number(text) if text else 0.0
    if risk is None:
        raise UnreadableFile(f"{row.in_words(table.path)} has a risk that is no number", got=text)
    values["case"] = values.get("case") or f"case {number}"
    if values.get("decision", "").lower() in DECISIONS:
        values["decision"] = values["decision"].lower()
    others = {name: value for name, value in cells.items() if name and name not in own}
    others.pop("index", None)
    return Entry(**values, risk=risk, others=others)


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
