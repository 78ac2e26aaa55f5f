"""Headers of MetaImage and NRRD files, which are text, and what in them is to be doubted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from neuralreg.errors import InvalidImage
from neuralreg.geometry.remarks import Remark, RemarkKind

_HEADER_BYTES = 1 << 16  # at most; a header is text before the values
META, NRRD = (".mha", ".mhd"), (".nrrd", ".nhdr")
_UNNAMED_SPACES = ("scanner-xyz", "3d-right-handed", "3d-left-handed")


@dataclass(frozen=True)
class TextHeader:
    """The lines of a header.

    Attributes:
        fields: by name; of NRRD in small letters.
        length: bytes of the header, to where values may begin.
        lines: those behind the last field, such as the names of files.
        ends: whether a NRRD header ends before values in the same file.
        carriage: whether its lines end as Windows has them.
    """

    fields: dict[str, str]
    length: int
    lines: tuple[str, ...] = ()
    ends: bool = True
    carriage: bool = False


def read_meta(path: Path) -> TextHeader:
    """The header of a MetaImage file."""
    with path.open("rb") as file:
        head = file.read(_HEADER_BYTES)
    fields: dict[str, str] = {}
    length = 0
    for line in head.splitlines(keepends=True):
        length += len(line)
        key, _, value = _text(line).partition("=")
        fields[key.strip()] = value.strip()
        if key.strip() == "ElementDataFile":
            break
    lines = [line.strip() for line in _text(head[length:]).splitlines()]
    return TextHeader(fields, length, tuple(filter(None, lines)))


def read_nrrd(path: Path) -> TextHeader:
    """The header of a NRRD file."""
    with path.open("rb") as file:
        head = file.read(_HEADER_BYTES)
    text, end, _ = head.replace(b"\r\n", b"\n").partition(b"\n\n")
    pairs = (line.partition(":") for line in _text(text).splitlines())
    fields = {key.strip().lower(): value.strip() for key, _, value in pairs}
    return TextHeader(fields, len(text) + len(end), (), bool(end), b"\r\n" in head)


def _text(part: bytes) -> str:
    """As names of files are written and read: UTF-8, other bytes as they are."""
    return part.decode("utf-8", "surrogateescape")


def placement_remarks(path: Path) -> list[Remark]:
    """What is doubted about where an image is; nothing for other formats.

    Raises:
        InvalidImage: directions or the origin of a NRRD file are not finite, which ITK takes for
            an image that is not placed.
    """
    suffix = path.suffix.lower()
    if suffix in META:
        return list(_meta_remarks(path, read_meta(path).fields))
    return list(_nrrd_remarks(path, read_nrrd(path).fields)) if suffix in NRRD else []


def _meta_remarks(path: Path, fields: dict[str, str]) -> Iterator[Remark]:
    places = ("Offset", "Position", "Origin", "TransformMatrix", "Orientation", "Rotation")
    if not any(name in fields for name in places):
        yield Remark(RemarkKind.NO_PLACEMENT, path)
    spacing = fields.get("ElementSpacing", fields.get("ElementSize", ""))
    if not spacing:
        yield Remark(RemarkKind.NO_SPACING, path)
    if "-" in spacing.lower().replace("e-", ""):
        what = {"what": f"ElementSpacing {spacing}", "by": "size of its voxels"}
        yield Remark(RemarkKind.HEADER_REPAIRED, path, what)
    neutral = (("Slope", "1"), ("Offset", "0"))
    for name, usual in neutral:
        if fields.get(f"ElementToIntensityFunction{name}", usual) != usual:
            yield Remark(RemarkKind.INTENSITY_FUNCTION, path)
            return


def _nrrd_remarks(path: Path, fields: dict[str, str]) -> Iterator[Remark]:
    directions, spacings = fields.get("space directions", ""), fields.get("spacings", "")
    origin = fields.get("space origin", "")
    for name, text in (("space directions", directions), ("space origin", origin)):
        if "nan" in text.lower() or "inf" in text.lower():
            raise InvalidImage(
                "an image has a place",
                where=str(path),
                got=f"{name} {text}",
                remedy="Write the header anew, with finite numbers.",
            )
    if not directions:
        yield Remark(RemarkKind.NO_PLACEMENT, path)
        if not spacings or "nan" in spacings.lower():
            yield Remark(RemarkKind.NO_SPACING, path)
    elif not origin:
        what = {"what": "no space origin", "by": "space directions, from the zero point"}
        yield Remark(RemarkKind.HEADER_REPAIRED, path, what)
    unnamed = fields.get("space", "").lower() in _UNNAMED_SPACES
    if directions and (unnamed or fields.get("space dimension") == "3"):
        yield Remark(RemarkKind.AXES_ASSUMED, path)
