"""Pairs of landmarks that steer a registration, as one of its options; needs no NumPy."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from neuralreg.errors import InvalidOption

if TYPE_CHECKING:
    from neuralreg.io.landmark_files import Pairs

Point = tuple[float, ...]
Frame = Literal["LPS", "RAS"]
_SAME_MM = 1e-3  # points closer than this are one point
_MOST_NAMED = 8  # in a sentence


@dataclass(frozen=True)
class LandmarkGuide:
    """Points in the fixed image, their partners in the moving one, and how much they count.

    Attributes:
        fixed, moving: LPS mm, x y z (x y in the plane), one partner for each point.
        names: of the pairs; 1, 2, 3, ... unless given.
        weight: of the landmarks beside the images, 1 unless given; 0 uses them for the start only.
        tolerance_mm: how exactly the pairs are placed: what is closer than this is not pulled
            further at the cost of the images, and what stays farther apart is reported.
        notes: what was assumed while reading the points, in words.

    Raises:
        InvalidOption: for points without a partner, coordinates that are no finite numbers,
            one point with two partners, a negative weight or a tolerance that is not positive.
    """

    fixed: tuple[Point, ...]
    moving: tuple[Point, ...]
    names: tuple[str, ...] = ()
    weight: float = 1.0
    tolerance_mm: float = 2.0
    notes: tuple[str, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        for side in ("fixed", "moving"):
            object.__setattr__(self, side, _points(getattr(self, side), side))
        names = tuple(map(str, self.names)) or tuple(str(n + 1) for n in range(len(self.fixed)))
        object.__setattr__(self, "names", names)
        object.__setattr__(self, "notes", tuple(self.notes))
        if not self.fixed or not len(self.fixed) == len(self.moving) == len(names):
            raise InvalidOption(
                "each landmark of the fixed image has a partner in the moving one, and a name",
                got=f"{len(self.fixed)} fixed points, {len(self.moving)} moving points, "
                f"{len(names)} names",
                wanted="as many of each, at least one",
            )
        _require_number("weight", self.weight, ">= 0; 0 for the start only", zero=True)
        _require_number("tolerance", self.tolerance_mm, "> 0 mm", zero=False)
        self._require_one_partner_each()

    @classmethod
    def of(cls, pairs: Pairs, *, frame: str = "LPS", **settings: float) -> LandmarkGuide:
        """The guide that pairs of landmarks are.

        Args:
            pairs: as `neuralreg.io.landmark_files` reads them.
            frame: of their coordinates; "RAS" where a table was written in that frame.
            settings: weight and tolerance_mm.

        Raises:
            InvalidOption: as the class, and for another frame.
        """
        if frame not in get_args(Frame):
            raise InvalidOption("unknown frame of landmarks", got=f"'{frame}'", wanted="LPS or RAS")
        fixed, moving = (
            side if frame == "LPS" else tuple(map(mirror_point, side))
            for side in (pairs.fixed, pairs.moving)
        )
        notes = list(pairs.notes)
        if doubled := sorted({n for n in pairs.names if pairs.names.count(n) > 1}):
            notes.append(
                f"names of landmarks occur more than once: {list_names(doubled)}; they were "
                "paired by their order"
            )
        return cls(fixed, moving, pairs.names, notes=tuple(notes), **settings)

    @classmethod
    def read(
        cls, fixed: str | Path, moving: str | Path, *, frame: str = "LPS", **settings: float
    ) -> LandmarkGuide:
        """The guide in two files of landmarks, paired by their names, else by their order.

        Args:
            fixed, moving: `.mrk.json`, `.fcsv`, or tables with name, x, y, z.
            frame: of tables; the files of 3D Slicer say it themselves.
            settings: weight and tolerance_mm.

        Raises:
            UnreadableFile: a file is missing or holds something else.
            InvalidOption: as the class, for landmarks without a partner, and for a frame of files
                that say theirs.
        """
        from neuralreg.io.landmark_files import read_pairs

        stated = [str(p) for p in (fixed, moving) if str(p).endswith((".json", ".fcsv"))]
        if frame != "LPS" and stated:
            raise InvalidOption(
                "files of 3D Slicer say themselves in which frame their points are",
                where=", ".join(stated),
                got=f"the frame {frame}",
                remedy="Leave the frame out.",
            )
        pairs = read_pairs(fixed, moving)
        try:
            return cls.of(pairs, frame=frame, **settings)
        except InvalidOption as error:
            raise error.at(f"{fixed}, {moving}") from error

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> LandmarkGuide:
        """The guide that a record holds.

        Raises:
            InvalidOption: for a name or a value that no guide has.
        """
        known = [each.name for each in fields(cls)]
        for name in record:
            if name not in known:
                raise InvalidOption(
                    "there is no such setting of landmarks",
                    got=f"'{name}'",
                    wanted=", ".join(known),
                )
        if not {"fixed", "moving"} <= set(record):
            raise InvalidOption("landmarks have fixed and moving points", got=", ".join(record))
        return cls(**record)

    def exchange_sides(self) -> LandmarkGuide:
        """The guide of the registration of the fixed onto the moving image."""
        return replace(self, fixed=self.moving, moving=self.fixed)

    def as_record(self) -> dict[str, Any]:
        """Plain values by name, ready for JSON."""
        return asdict(self)

    def _require_one_partner_each(self) -> None:
        for role, side, other in (
            ("fixed", self.fixed, self.moving),
            ("moving", self.moving, self.fixed),
        ):
            for one, two in _coinciding(side):
                if math.dist(other[one], other[two]) > self.tolerance_mm:
                    raise InvalidOption(
                        f"two landmarks are at one point of the {role} image, their partners are "
                        "not",
                        got=f"{self.names[one]} and {self.names[two]}, whose partners are "
                        f"{math.dist(other[one], other[two]):.3g} mm apart",
                        remedy="Correct or remove one of them.",
                    )


def mirror_point(point: Point) -> Point:
    """The point as the other frame has it, RAS for LPS: x and y negated."""
    return (-point[0], -point[1], *point[2:])


def count_of(number: int, thing: str) -> str:
    """A number of things for a sentence: "1 pair", "2 pairs"."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def list_names(names: Sequence[str]) -> str:
    """Names for a sentence, a long list cut short."""
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _coinciding(points: Sequence[Point]) -> list[tuple[int, int]]:
    """Indices of points that are at one place, each with the first one there."""
    first: dict[tuple[int, ...], int] = {}
    pairs = []
    for n, point in enumerate(points):
        key = tuple(round(value / _SAME_MM) for value in point)
        if key in first:
            pairs.append((first[key], n))
        first.setdefault(key, n)
    return pairs


def _require_number(name: str, value: object, wanted: str, *, zero: bool) -> None:
    if not (
        isinstance(value, int | float)
        and math.isfinite(value)
        and (value > 0 or (zero and value == 0))
    ):
        raise InvalidOption(f"the {name} of landmarks is a number", got=f"{value}", wanted=wanted)


def _points(points: Sequence[Sequence[float]], side: str) -> tuple[Point, ...]:
    try:
        plain = tuple(tuple(map(float, point)) for point in points)
    except (TypeError, ValueError) as error:
        raise InvalidOption(
            f"the {side} landmarks are points of two or three numbers", got=repr(points)[:80]
        ) from error
    sizes = {len(point) for point in plain}
    if len(sizes) > 1 or not sizes <= {2, 3} or not all(math.isfinite(v) for p in plain for v in p):
        raise InvalidOption(
            f"the {side} landmarks are points of two or three finite numbers",
            got=", ".join(str(point) for point in plain)[:80],
            wanted="x y z in LPS mm",
        )
    return plain
