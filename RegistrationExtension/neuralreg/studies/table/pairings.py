"""Tables that nobody wrote: pairs by the names of files, or of every image with others."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations, pairwise
from pathlib import Path

from neuralreg.errors import InvalidOption, UnreadableFile
from neuralreg.io.files import MAC_FILES, container_of
from neuralreg.studies.table.study_table import CellTable

IMAGES = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd", ".mgz", ".mgh", ".mnc")
_ENTITY = re.compile(r"\{(\w+)\}")
_SHORT = {"subject": "sub", "session": "ses"}  # the keys of BIDS
_LABEL = "[A-Za-z0-9]+"  # what BIDS allows as the value of an entity
_PARTS = ("image", "seg", "mask")  # columns of a table of single images


@dataclass(frozen=True)
class StudyImage:
    """One image of many that are to be paired, and what belongs to it.

    Attributes:
        id: its name.
        files: paths by "image", "seg" and "mask".
        group: images of other groups are no partners, such as another subject's.
        line: of the table that it stands in.
    """

    id: str
    files: Mapping[str, str]
    group: str = ""
    line: int = 0


@dataclass(frozen=True)
class _Match:
    path: Path
    entities: Mapping[str, str] = field(default_factory=dict)


def images_of_table(table: CellTable) -> list[StudyImage]:
    """The images in a table with the columns id, image and, where there are any, seg and mask.

    Raises:
        UnreadableFile: A column is missing or unknown, or a cell is empty.
    """
    required = {"id", "image"}
    unknown = [name for name in table.columns if name and name not in ("id", "group", *_PARTS)]
    if not required <= set(table.columns) or unknown:
        raise UnreadableFile(
            f"{table.path} is no table of images",
            got=", ".join(table.columns),
            wanted="the columns id and image; seg, mask and group where there are any",
        )
    folder = table.path.absolute().parent
    images = []
    for line, cells in table.rows:
        if empty := [name for name in sorted(required) if not cells.get(name)]:
            raise UnreadableFile(f"{table.path}, row {line}, column {empty[0]} is empty")
        files = {name: str(folder / str(cells[name])) for name in _PARTS if cells.get(name)}
        images.append(StudyImage(str(cells["id"]), files, str(cells.get("group") or ""), line))
    return images


def images_in_folder(folder: Path) -> list[StudyImage]:
    """The image files in a folder, in the order in which a person would count them.

    Raises:
        UnreadableFile: There is none.
    """
    names = (path for path in folder.iterdir() if not path.name.startswith(MAC_FILES))
    paths = [path for path in names if path.name.lower().endswith(IMAGES)]
    if not paths:
        raise UnreadableFile(f"{folder} holds no images", wanted=" ".join(IMAGES))
    paths.sort(key=lambda path: _natural(path.name))
    return [
        StudyImage(_stem(path), {"image": str(path.absolute())}, line=number)
        for number, path in enumerate(paths, start=1)
    ]


def images_of_pattern(folder: Path, patterns: Mapping[str, str]) -> list[StudyImage]:
    """The images of a pattern of names, those of one subject in one group.

    Args:
        folder: patterns start there.
        patterns: of "image", and of "seg" and "mask" where there are any.

    Raises:
        UnreadableFile: There is none.
        InvalidOption: A pattern is none.
    """
    images = []
    for number, match in enumerate(_matches(folder, patterns["image"]), start=1):
        files = {"image": str(match.path)}
        for part in ("seg", "mask"):
            if part in patterns:
                files[part] = str(_companion(folder, patterns[part], match.entities))
        name = _name(match.entities) or _stem(match.path)
        images.append(StudyImage(name, files, match.entities.get("subject", ""), number))
    return images


def pair_with(images: Sequence[StudyImage], template: Path, path: Path) -> CellTable:
    """Every image moves onto one template; the template itself is left out."""
    fixed = template.absolute()
    rows = [
        {"id": image.id, "fixed": str(fixed), **_side(image, "moving")}
        for image in images
        if Path(image.files["image"]).absolute() != fixed
    ]
    return _table(path, rows)


def pair_all(images: Sequence[StudyImage], path: Path) -> CellTable:
    """Every two images of a group once, the later one onto the earlier one."""
    return _pair(images, path, lambda group: combinations(group, 2))


def pair_consecutive(images: Sequence[StudyImage], path: Path) -> CellTable:
    """Every image of a group onto the one before it."""
    return _pair(images, path, pairwise)


def _pair(
    images: Sequence[StudyImage],
    path: Path,
    choose: Callable[[Sequence[StudyImage]], Iterable[tuple[StudyImage, StudyImage]]],
) -> CellTable:
    groups: dict[str, list[StudyImage]] = defaultdict(list)
    for image in images:
        groups[image.group].append(image)
    rows = [
        {"id": f"{moving.id}_to_{fixed.id}", **_side(fixed, "fixed"), **_side(moving, "moving")}
        for group in groups.values()
        for fixed, moving in choose(group)
    ]
    return _table(path, rows)


def _side(image: StudyImage, side: str) -> dict[str, str]:
    names = {"image": side, "seg": f"{side}_seg", "mask": f"{side}_mask"}
    return {names[part]: file for part, file in image.files.items()}


def _table(path: Path, rows: Sequence[Mapping[str, str]]) -> CellTable:
    columns = tuple(dict.fromkeys(name for row in rows for name in row))
    if not rows:
        raise UnreadableFile(f"{path} gives no pairs", wanted="two images or more")
    return CellTable(path, columns, tuple(enumerate(rows, start=1)))


def pair_by_patterns(folder: Path, patterns: Mapping[str, str]) -> tuple[CellTable, list[str]]:
    """The pairs of files whose names agree in what both patterns have in braces.

    `sub-{subject}/ses-01/*_T1w.nii.gz` and `sub-{subject}/ses-{session}/*_T1w.nii.gz` pair each
    session of a subject with the first one of the same subject. `*` and `?` stand for anything
    within a name, `**/` for folders. A file is not paired with itself.

    Args:
        folder: patterns start there; a path without braces and stars is one file for all.
        patterns: by role: "fixed", "moving", and others that a row may have.

    Returns:
        The table, and what has no partner, in words.

    Raises:
        UnreadableFile: A pattern matches nothing, or no two files agree.
        InvalidOption: A pattern is none.
    """
    fixed, moving = (_matches(folder, patterns[role]) for role in ("fixed", "moving"))
    rows, lonely = [], []
    for mover in moving:
        partners = [
            each
            for each in fixed
            if _agree(each.entities, mover.entities) and each.path != mover.path
        ]
        if not partners and not any(each.path == mover.path for each in fixed):
            lonely.append(f"{mover.path} has no fixed image whose name agrees: it is left out")
        for partner in partners:
            rows.append(_row(folder, patterns, partner, mover))
    if not rows:
        raise UnreadableFile(
            f"no two files below {folder} agree in what stands in braces",
            got=f"{len(fixed)} fixed and {len(moving)} moving images",
            wanted="the same {names} in both patterns",
        )
    return _table(folder / "pairs", rows), lonely


def _row(
    folder: Path, patterns: Mapping[str, str], fixed: _Match, moving: _Match
) -> dict[str, str]:
    entities = {**fixed.entities, **moving.entities}
    row = {"id": _name(entities) or _stem(moving.path)}
    row |= {"fixed": str(fixed.path), "moving": str(moving.path)}
    for role, pattern in patterns.items():
        if role not in row:
            side = fixed.entities if role.startswith("fixed") else moving.entities
            row[role] = str(_companion(folder, pattern, {**entities, **side}))
    return row


def _agree(first: Mapping[str, str], second: Mapping[str, str]) -> bool:
    return all(second[name] == value for name, value in first.items() if name in second)


def _matches(folder: Path, pattern: str) -> list[_Match]:
    """The files that a pattern names, with the values in its braces."""
    if not folder.is_dir():
        raise UnreadableFile(f"{folder} is no folder", remedy="Check the path.")
    if not _ENTITY.search(pattern) and not set("*?") & set(pattern):
        path = (folder / pattern).absolute()
        if not container_of(path).exists():
            raise UnreadableFile(f"{path} cannot be opened", got="no such file")
        return [_Match(path)]
    if Path(pattern).is_absolute():
        raise InvalidOption("a pattern starts in the folder", got=pattern, wanted="a relative one")
    expression = _expression(pattern)
    matches = []
    for path in folder.glob(_ENTITY.sub("*", pattern)):
        if match := expression.fullmatch(path.relative_to(folder).as_posix()):
            matches.append(_Match(path.absolute(), match.groupdict()))
    if not matches:
        raise UnreadableFile(f"no file below {folder} is named like {pattern}")
    return sorted(matches, key=lambda match: _natural(str(match.path)))


def _expression(pattern: str) -> re.Pattern[str]:
    """A pattern as a regular expression; a name in braces has one value wherever it stands."""
    names: set[str] = set()
    parts = []
    for part in re.split(r"(\{\w+\}|\*\*/|\*|\?)", pattern):
        if entity := _ENTITY.fullmatch(part):
            name = entity[1]
            parts.append(f"(?P={name})" if name in names else f"(?P<{name}>{_LABEL})")
            names.add(name)
        else:
            signs = {"**/": "(?:.*/)?", "*": "[^/]*", "?": "[^/]"}
            parts.append(signs.get(part, re.escape(part)))
    return re.compile("".join(parts))


def _companion(folder: Path, pattern: str, entities: Mapping[str, str]) -> Path:
    """The one file of a pattern that belongs to an image with these entities."""
    unknown = [name for name in _ENTITY.findall(pattern) if name not in entities]
    if unknown:
        raise InvalidOption(
            "a pattern names what the images' patterns do not",
            where=pattern,
            got="{" + unknown[0] + "}",
            wanted=", ".join("{" + name + "}" for name in entities) or "no braces",
        )
    text = _ENTITY.sub(lambda match: entities[match[1]], pattern)
    if not set("*?") & set(text):
        return (folder / text).absolute()
    paths = sorted(folder.glob(text))
    if len(paths) > 1:
        raise InvalidOption(
            "a pattern matches several files for one pair",
            where=text,
            got=", ".join(path.name for path in paths[:3]),
            wanted="one",
        )
    return (paths[0] if paths else folder / text).absolute()


def _name(entities: Mapping[str, str]) -> str:
    """Subject and session first, as BIDS has them."""
    order = sorted(entities, key=lambda name: (name not in _SHORT, name != "subject", name))
    return "_".join(f"{_SHORT.get(name, name)}-{entities[name]}" for name in order)


def _stem(path: Path) -> str:
    name = path.name
    end = next((end for end in sorted(IMAGES, key=len) if name.lower().endswith(end)), path.suffix)
    longest = ".nii.gz" if name.lower().endswith(".nii.gz") else end
    return name[: -len(longest)] if longest else name


def _natural(name: str) -> list[tuple[int, int, str]]:
    """scan2 before scan10."""
    parts = re.split(r"(\d+)", name)
    return [(1, int(part), "") if part.isdigit() else (0, 0, part) for part in parts]
