"""The rows of a study, from whatever stands for its table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from neuralreg.errors import InvalidOption, UnreadableFile
from neuralreg.registration.options import RegistrationOptions
from neuralreg.studies.table import pairings
from neuralreg.studies.table.pairings import StudyImage
from neuralreg.studies.table.study_rows import BRING, Fault, StudyRow
from neuralreg.studies.table.study_table import CellTable, read_cells, rows_of


@dataclass(frozen=True)
class StudySource:
    """What stands for the table of a study.

    Attributes:
        table: a table, or a folder of images.
        bids: a folder whose files are paired by their names.
        fixed, moving: patterns of names; without `bids` the file of all rows.
        given: files for rows without their own, and the format of the initial transform.
        all_to: a template for all images.
        all_pairs, consecutive: how single images are paired.
    """

    table: Path | None = None
    bids: Path | None = None
    fixed: str | None = None
    moving: str | None = None
    given: Mapping[str, str] = field(default_factory=dict)
    all_to: Path | None = None
    all_pairs: bool = False
    consecutive: bool = False

    def in_words(self) -> str:
        """Where the rows come from."""
        if self.bids is None:
            return str(self.table and self.table.absolute())
        return f"{self.bids.absolute()}: {self.fixed or self.all_to}, {self.moving}"

    @property
    def pairs_images(self) -> bool:
        """Whether single images are paired."""
        return self.all_to is not None or self.all_pairs or self.consecutive


def rows_and_faults(
    source: StudySource, options: RegistrationOptions
) -> tuple[list[StudyRow], list[Fault], list[str]]:
    """The rows, what is wrong with the table, and what else a person should know.

    Args:
        source: what was given.
        options: common to all rows.

    Raises:
        InvalidOption: Arguments contradict each other.
        UnreadableFile: The table or the files cannot be read.
    """
    _require_one(source)
    table, notes = _table(source)
    common = {"initial_format": source.given.get("initial_format", "")}
    if source.bids is None:  # else they are patterns, whose files are in the table already
        sides = {"fixed": source.fixed, "moving": source.moving}
        files = {**source.given, **{role: text for role, text in sides.items() if text}}
        files.pop("initial_format", None)
        common |= {role: _absolute(role, text) for role, text in files.items()}
    given = {name: text for name, text in common.items() if text}
    rows, faults = rows_of(table, options, given)
    return rows, faults, notes


def _absolute(role: str, text: str) -> str:
    """The path of a file, or the paths of several where a role may have them."""
    parts = text.split(";") if role in BRING else [text]
    return ";".join(str(Path(part.strip()).absolute()) for part in parts if part.strip())


def _require_one(source: StudySource) -> None:
    ways = [source.all_to is not None, source.all_pairs, source.consecutive]
    if sum(ways) > 1:
        raise InvalidOption(
            "images are paired in one way", wanted="--all-to, --all-pairs or --consecutive"
        )
    if (source.table is None) == (source.bids is None):
        raise InvalidOption("a study has a table, or --bids", wanted="one of both")
    patterns = ("--moving",) if source.pairs_images else ("--fixed", "--moving")
    values = {"--fixed": source.fixed, "--moving": source.moving}
    if source.bids is not None and (empty := [name for name in patterns if not values[name]]):
        raise InvalidOption(
            "--bids pairs files by their names",
            wanted=" and ".join(empty),
            remedy="Such as --moving 'sub-{subject}/anat/*_T1w.nii.gz'.",
        )


def _table(source: StudySource) -> tuple[CellTable, list[str]]:
    given = {name: text for name, text in source.given.items() if name != "initial_format"}
    if not source.pairs_images:
        if source.bids is not None:
            patterns = {"fixed": source.fixed or "", "moving": source.moving or "", **given}
            return pairings.pair_by_patterns(source.bids, patterns)
        assert source.table is not None
        if source.table.is_dir():
            raise UnreadableFile(
                f"{source.table} is a folder",
                wanted="a table",
                remedy="Say how its images are paired: --all-to, --all-pairs or --consecutive.",
            )
        return read_cells(source.table), []
    where = source.bids or source.table
    assert where is not None
    images = _images(source)
    path = (where if where.is_dir() else where.parent) / "pairs"
    if source.all_to is not None:
        return pairings.pair_with(images, source.all_to, path), []
    pair = pairings.pair_all if source.all_pairs else pairings.pair_consecutive
    return pair(images, path), []


def _images(source: StudySource) -> list[StudyImage]:
    if source.bids is not None:
        patterns = {"image": source.moving or ""}
        names = {"seg": "moving_seg", "mask": "moving_mask"}
        patterns |= {
            part: source.given[role] for part, role in names.items() if role in source.given
        }
        return pairings.images_of_pattern(source.bids, patterns)
    assert source.table is not None
    if source.table.is_dir():
        return pairings.images_in_folder(source.table)
    return pairings.images_of_table(read_cells(source.table))
