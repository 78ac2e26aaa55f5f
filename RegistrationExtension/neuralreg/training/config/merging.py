"""Plain values of several configurations as one: the last one wins."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

from neuralreg.errors import InvalidOption

Values = dict[str, Any]

_MANY = ("model.backbone", "loss.image", "loss.label", "loss.deformation", "dataset.augmentation")
_NAMED = (*_MANY, "training.optimizer", "training.schedule", *(f"{key}.*" for key in _MANY))


def merge(one: Mapping[str, Any], other: Mapping[str, Any], at: str = "") -> Values:
    """One configuration with the values of another over it.

    Lists are replaced as a whole, and so is a part (a backbone, a loss, an optimizer) by one of
    another name, whose options are others. Values without a name are added to the part that is
    there; a number after a list, as in `loss.image.0.weight`, is the position of an entry.

    Args:
        one: of the files before.
        other: of the next one.
        at: dotted key of both, for messages.

    Raises:
        InvalidOption: options for one of several entries, without its position.
    """
    merged = dict(one)
    for key, value in other.items():
        path = f"{at}.{key}" if at else str(key)
        merged[key] = _merge_values(merged[key], value, path) if key in merged else value
    return merged


def merge_plain(one: Mapping[str, Any], other: Mapping[str, Any]) -> Values:
    """The same as DeepReg does it: sections are merged, everything else is replaced."""
    merged = dict(one)
    for key, value in other.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = merge_plain(merged[key], value) if both else value
    return merged


def _merge_values(one: Any, other: Any, path: str) -> Any:
    if not isinstance(other, Mapping):
        return other
    if path in _MANY and (isinstance(one, list) or _positions(other)):
        return _merge_entries(one if isinstance(one, list) else [one], other, path)
    if isinstance(one, str) and _is_named(path) and "name" not in other:
        one = {"name": one}
    if not isinstance(one, Mapping):
        return other
    if _is_named(path) and "name" in other and other["name"] != one.get("name"):
        return other
    return merge(one, other, path)


def _merge_entries(entries: list[Any], other: Mapping[str, Any], path: str) -> Any:
    """A list of parts with other values for some of them."""
    positions = _positions(other)
    if not positions:
        if "name" in other:
            return other
        if len(entries) != 1:
            raise InvalidOption(
                "options without a name could be for each of several entries",
                where=path,
                got=", ".join(other),
                wanted=f"{path}.0 to {path}.{len(entries) - 1}, or all entries with their names",
            )
        return [_merge_values(entries[0], other, f"{path}.0")]
    merged = list(entries)
    for position, value in positions.items():
        if position >= len(merged):
            raise InvalidOption(
                "there is no such entry",
                where=f"{path}.{position}",
                wanted=f"0 to {len(merged) - 1}",
            )
        merged[position] = _merge_values(merged[position], value, f"{path}.{position}")
    return merged


def _positions(values: Mapping[Any, Any]) -> dict[int, Any]:
    """Values by their positions in a list; empty where a key is no number."""
    if not values or not all(str(key).isdigit() for key in values):
        return {}
    return {int(key): value for key, value in values.items()}


def _is_named(path: str) -> bool:
    return any(fnmatchcase(path, pattern) for pattern in _NAMED)
