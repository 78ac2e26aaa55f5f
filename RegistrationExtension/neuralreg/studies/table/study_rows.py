"""The rows of a study: what each asks for, read out of the cells of a table."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from neuralreg import __version__
from neuralreg.errors import InvalidOption
from neuralreg.io.files import path_from
from neuralreg.registration.options import (
    BRAIN_MODELS,
    NAMES,
    RegistrationOptions,
    parse_refinement,
)

ROLES = ("fixed", "moving", "fixed_seg", "moving_seg", "fixed_mask", "moving_mask", "initial",
         "fixed_weight", "moving_weight", "fixed_exclude", "moving_exclude", "sliding",
         "fixed_landmarks", "moving_landmarks")  # fmt: skip
# Points that steer.
STEERS = ("fixed_landmarks", "moving_landmarks")
# Points that measure a result and have no part in it.
MEASURES = ("landmarks_fixed", "landmarks_moving")
# Further files of the moving side, several in a cell: images, and label maps.
BRING = ("bring", "bring_labels")
# Further images, and surfaces, of both sides, as many of each, several in a cell.
CHANNELS = {"fixed_channels": "fixed_channel", "moving_channels": "moving_channel"}
SURFACES = {"fixed_surfaces": "fixed_surface", "moving_surfaces": "moving_surface"}
REQUIRED = ("fixed", "moving")
# How `neuralreg register` spells options that have another name in Python.
_SPELLINGS = {"prealign": "linear", "option": "model_options", "options": "model_options"}
OPTION_COLUMNS = (*NAMES, *_SPELLINGS, "refine", "refine_steps")
COLUMNS = ("id", *ROLES, *MEASURES, *BRING, *CHANNELS, *SURFACES, "initial_format", *OPTION_COLUMNS)
_TRUTH = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_USUAL = {
    option.name: getattr(RegistrationOptions(), option.name)
    for option in fields(RegistrationOptions)
}
_FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f]')
_LONGEST_ID = 120
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)  # of Windows


@dataclass(frozen=True)
class Fault:
    """Something about a table that must be mended.

    Attributes:
        what: is wrong, in words.
        line: of the table, from 1; 0 for the table as a whole.
        column: of the table; "" for a whole row.
        kind: "table" when nothing can be run before it is mended, "file" when it concerns the file
            of one row.
    """

    what: str
    line: int = 0
    column: str = ""
    kind: str = "table"

    def in_words(self) -> str:
        """Row, column, and what is wrong."""
        where = [f"row {self.line}"] * bool(self.line) + [f"column {self.column}"] * bool(
            self.column
        )
        return ": ".join(filter(None, (", ".join(where), self.what)))


@dataclass(frozen=True)
class StudyRow:
    """One registration of a study.

    Attributes:
        id: names the row and the folder of its results.
        inputs: absolute paths by role.
        options: everything else that can be chosen.
        initial_format: the program of the initial transform, where content does not decide.
        line: of the table.
    """

    id: str
    inputs: Mapping[str, Path]
    options: RegistrationOptions = field(default_factory=RegistrationOptions)
    initial_format: str | None = None
    line: int = 0

    @property
    def key(self) -> str:
        """A hash of all that decides on the result but the content of the inputs."""
        facts = [
            self.options.as_record(),
            sorted(self.inputs),
            self.initial_format,
            version_class(),
        ]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    def to_record(self) -> dict[str, Any]:
        """Plain values; `from_record` reads them."""
        return {
            "id": self.id,
            "inputs": {role: str(path) for role, path in self.inputs.items()},
            "options": self.options.as_record(),
            "initial_format": self.initial_format,
            "line": self.line,
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> StudyRow:
        """The row of `to_record`."""
        inputs = {role: Path(path) for role, path in record["inputs"].items()}
        options = RegistrationOptions.from_record(record["options"])
        return cls(record["id"], inputs, options, record["initial_format"], record["line"])


def version_class() -> str:
    """Versions of one class give the same results: the first two numbers."""
    return ".".join(__version__.split(".")[:2])


def row_of(
    cells: Mapping[str, Any], line: int, folder: Path, common: RegistrationOptions
) -> tuple[StudyRow | None, list[Fault]]:
    """The row that cells by column ask for, and what is wrong with them.

    Args:
        cells: text, or values of JSON; "" and None take what is common to all rows.
        line: of the table.
        folder: relative paths start there.
        common: options of the command.
    """
    cells = {name: value for name, value in cells.items() if value not in ("", None)}
    faults = [Fault("is empty", line, name) for name in ("id", *REQUIRED) if name not in cells]
    identifier = str(cells.get("id", ""))
    if identifier and (reason := _objection(identifier)):
        faults.append(Fault(reason, line, "id"))
    inputs = {}
    for role in (*ROLES, *MEASURES):
        if role in cells:
            inputs[role] = _path(cells[role], folder)
    inputs |= _further_files(cells, folder)
    options = common
    for name in OPTION_COLUMNS:
        if name in cells and name != "refine_steps":
            try:
                options = _with_option(options, name, cells[name], cells.get("refine_steps"))
            except InvalidOption as error:
                faults.append(Fault(str(error), line, name))
    if "refine_steps" in cells and "refine" not in cells:
        faults.append(
            Fault("steps of a refinement need one: fill the column refine", line, "refine_steps")
        )
    for role, other in (MEASURES, MEASURES[::-1], STEERS, STEERS[::-1]):
        if role in cells and other not in cells:
            faults.append(Fault("is empty; landmarks are pairs", line, other))
    for fixed, moving in (CHANNELS, SURFACES):
        if len(_names_in(cells, fixed)) != len(_names_in(cells, moving)):
            faults.append(Fault(f"has another number of files than {fixed}", line, moving))
    if faults:
        return None, faults
    form = cells.get("initial_format")
    return StudyRow(identifier, inputs, options, None if form is None else str(form), line), []


def _further_files(cells: Mapping[str, Any], folder: Path) -> dict[str, Path]:
    """The files of columns that may hold several, each in a role of its own."""
    files = {}
    roles = {name: f"{name} " for name in BRING} | {
        n: f"{r}_" for n, r in (CHANNELS | SURFACES).items()
    }
    for name, role in roles.items():
        for number, each in enumerate(_names_in(cells, name), start=1):
            files[f"{role}{number}"] = _path(each, folder)
    return files


def _names_in(cells: Mapping[str, Any], column: str) -> list[str]:
    """The files of a cell that may hold several."""
    cell = cells.get(column, "")
    names = cell if isinstance(cell, list) else str(cell).split(";")
    return [str(name).strip() for name in names if str(name).strip()]


def _path(cell: object, folder: Path) -> Path:
    return path_from(folder, str(Path(str(cell)).expanduser())).absolute()


def _objection(identifier: str) -> str:
    """Why a text is no name of a folder on every system; "" when it is one."""
    if bad := _FORBIDDEN.search(identifier):
        return f"'{identifier}' names a folder and must not hold {bad[0]!r}"
    if identifier[0] in "._ " or identifier[-1] in ". ":
        return f"'{identifier}' names a folder: it begins with no '.' or '_' and ends with no '.'"
    if _DEVICES.fullmatch(identifier) or len(identifier) > _LONGEST_ID:
        return f"'{identifier[:40]}' cannot name a folder on every system"
    return ""


def _with_option(
    options: RegistrationOptions, name: str, cell: Any, steps: Any = None
) -> RegistrationOptions:
    if name == "refine":
        count = None if steps is None else _whole_number(steps)
        return options.replace(refinement=parse_refinement(str(cell), count))
    name = _SPELLINGS.get(name, name)
    record = {**options.as_record(), name: option_value(name, cell)}
    return RegistrationOptions.from_record(record)


def option_value(name: str, cell: Any) -> Any:
    """The value of an option in a cell, by the type of its usual value.

    Raises:
        InvalidOption: it is no such value.
    """
    if not isinstance(cell, str):
        return cell
    usual = _USUAL[name]
    if name == "extract_brain" and cell.strip() in BRAIN_MODELS:
        return cell.strip()
    if isinstance(usual, bool):
        if cell.strip().lower() not in _TRUTH:
            raise InvalidOption(f"{name} is yes or no", got=f"'{cell}'", wanted="yes or no")
        return _TRUTH[cell.strip().lower()]
    if isinstance(usual, Mapping):
        return _numbers(cell)
    if isinstance(usual, tuple):
        return [_number(part) for part in re.split(r"[;\s]+", cell.strip())]
    if isinstance(usual, int | float):
        return _number(cell)
    if cell.lstrip().startswith(("{", "[")):
        return _parse_json(cell)
    if name == "refinement":
        parsed = parse_refinement(cell)
        return RegistrationOptions(refinement=parsed).as_record()["refinement"]
    return cell


def _parse_json(cell: str) -> Any:
    try:
        return json.loads(cell)
    except ValueError as error:
        raise InvalidOption("this is no JSON", got=f"'{cell}'") from error


def _numbers(cell: str) -> Any:
    if cell.lstrip().startswith("{"):
        return _parse_json(cell)
    pairs = [part.partition("=") for part in re.split(r"[;\s]+", cell.strip()) if part]
    return {name: _number(value) for name, _, value in pairs}


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError as error:
        raise InvalidOption("this is no number", got=f"'{cell}'", wanted="name=0.3") from error


def _whole_number(cell: Any) -> int:
    number = _number(str(cell))
    if number != int(number):
        raise InvalidOption("steps are a whole number", got=f"'{cell}'")
    return int(number)


def doubled_rows(rows: Sequence[StudyRow]) -> list[Fault]:
    """Faults of rows that have the name of another, or ask for the same."""
    faults: list[Fault] = []
    names: dict[str, int] = {}
    pairs: dict[tuple[object, ...], StudyRow] = {}
    for row in rows:
        name = row.id.casefold()  # one folder on some systems
        if name in names:
            faults.append(
                Fault(f"'{row.id}' is the id of row {names[name]} as well", row.line, "id")
            )
        names.setdefault(name, row.line)
        asked = (tuple(sorted((role, str(path)) for role, path in row.inputs.items())), row.key)
        if asked in pairs:
            other = pairs[asked]
            what = f"asks for the same as row {other.line} ({other.id})"
            faults.append(Fault(what, row.line, "moving"))
        pairs.setdefault(asked, row)
    return faults
