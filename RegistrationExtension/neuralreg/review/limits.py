"""The limits that a review is held against: a small file that a clinic may edit.

Only the five quantities of AAPM TG-132 have a tolerance and can pass or fail; everything else is
shown.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from neuralreg.errors import InvalidOption, UnreadableFile
from neuralreg.resources import resource_folders
from neuralreg.review.report_model import Verdict

# Which statistics each quantity has, and whether its bound is the most or the least allowed.
QUANTITIES: dict[str, tuple[tuple[str, ...], Literal["most", "least"]]] = {
    "tre": (("mean", "median", "p95", "maximum"), "most"),
    "surface_distance": (("mean",), "most"),
    "dice": (("value",), "least"),
    "folding": (("percent",), "most"),
    "compression": (("p1", "minimum"), "least"),
    "expansion": (("p99", "maximum"), "most"),
    "consistency": (("mean", "p99", "maximum"), "most"),
}
_IN_MM = ("tre", "surface_distance", "consistency")
_DEFAULT = "tg132.json"


@dataclass(frozen=True)
class Limit:
    """One bound, and what it means to miss it.

    Attributes:
        quantity: One of `QUANTITIES`.
        statistic: One of the quantity's statistics.
        bound: None stands for the largest voxel dimension, within the profile's range.
        otherwise: The verdict on a value that misses the bound.
        source: Where the bound comes from.
    """

    quantity: str
    statistic: str
    bound: float | None
    otherwise: Verdict
    source: str

    def is_missed(self, value: float, bound: float) -> bool:
        """Whether a value is beyond the bound."""
        most = QUANTITIES[self.quantity][1] == "most"
        return not (value <= bound if most else value >= bound)


@dataclass(frozen=True)
class Profile:
    """A set of limits.

    Attributes:
        name: What reports call it.
        source: Where it comes from.
        voxel_mm: The least and most that the bound "voxel" may stand for.
        limits: All bounds.
    """

    name: str
    source: str
    voxel_mm: tuple[float, float]
    limits: tuple[Limit, ...]

    def of(self, quantity: str, statistic: str | None = None) -> list[Limit]:
        """The limits of a quantity, the ones that fail first."""
        limits = [
            limit
            for limit in self.limits
            if limit.quantity == quantity and statistic in (None, limit.statistic)
        ]
        return sorted(limits, key=lambda limit: limit.otherwise != "fail")

    def bound(self, limit: Limit, voxel_mm: float) -> float:
        """The number that a limit stands for. voxel_mm: the largest voxel dimension."""
        if limit.bound is not None:
            return limit.bound
        low, high = self.voxel_mm
        return min(max(voxel_mm, low), high)


def read_profile(path: str | Path | None = None) -> Profile:
    """The limits in a file; those of TG-132 unless given.

    Raises:
        UnreadableFile: The file is missing or no JSON.
        InvalidOption: A limit in it is not valid; the message names it.
    """
    path = Path(path) if path else default_profile()
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UnreadableFile(f"{path} cannot be opened", got=error.strerror or "") from error
    except ValueError as error:
        raise UnreadableFile(f"{path} is no profile", got=str(error), wanted="JSON") from error
    return _profile(content, str(path))


def default_profile() -> Path:
    """The path of the profile of TG-132: in the package, the extension, or a checkout.

    Raises:
        UnreadableFile: The installation lacks it.
    """
    paths = [folder / _DEFAULT for folder in resource_folders("Review")]
    for path in paths:
        if path.is_file():
            return path
    raise UnreadableFile(
        "the profile of limits is missing", where=str(paths[0]), remedy="Install again."
    )


def _profile(content: Any, where: str) -> Profile:
    try:
        low, high = (float(content["voxel_mm"][end]) for end in ("least", "most"))
        limits = tuple(_limit(one, where) for one in content["limits"])
        return Profile(str(content["name"]), str(content["source"]), (low, high), limits)
    except (LookupError, TypeError, ValueError) as error:
        raise InvalidOption(
            "a profile has a name, a source, voxel_mm and limits",
            where=where,
            got=f"{type(error).__name__}: {error}",
            remedy="Compare it with Resources/Review/tg132.json.",
        ) from error


def _limit(one: Mapping[str, Any], where: str) -> Limit:
    quantity, statistic = one["quantity"], one["statistic"]
    if quantity not in QUANTITIES or statistic not in QUANTITIES[quantity][0]:
        wanted = "; ".join(f"{name}: {', '.join(has[0])}" for name, has in QUANTITIES.items())
        raise InvalidOption(
            "only quantities of TG-132 have limits",
            where=where,
            got=f"{quantity} {statistic}",
            wanted=wanted,
        )
    if one["otherwise"] not in ("fail", "attention"):
        raise InvalidOption(
            "a missed limit means fail or attention", where=where, got=f"{one['otherwise']}"
        )
    voxel = one["bound"] == "voxel"
    if voxel and quantity not in _IN_MM:
        raise InvalidOption("only lengths are held against the voxel", where=where, got=quantity)
    bound = None if voxel else float(one["bound"])
    return Limit(quantity, statistic, bound, one["otherwise"], str(one["source"]))
