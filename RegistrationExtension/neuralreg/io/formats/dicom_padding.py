"""Padding of DICOM images: the numbers that stand for voxels outside of what the scanner sees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neuralreg.geometry.remarks import Remark, RemarkKind
from neuralreg.io.formats.dicom_header import frame_groups, frame_scales, number_of
from neuralreg.io.volume import Array

_ELEMENTS = ("PixelPadding", "FloatPixelPadding", "DoubleFloatPixelPadding")
TAGS = [
    *(f"{name}{end}" for name in _ELEMENTS for end in ("Value", "RangeLimit")),
    "PixelRepresentation", "BitsStored",
]  # fmt: skip
_16_BITS = 1 << 16


@dataclass(frozen=True)
class Padding:
    """A range of numbers that are no values.

    Attributes:
        low, high: the first and the last of them.
        step: between neighboring numbers of the image; 0 where there are any between.
    """

    low: float
    high: float
    step: float = 1.0

    def rescaled(self, slope: float, intercept: float) -> Padding:
        """The same after rescaling."""
        ends = sorted((self.low * slope + intercept, self.high * slope + intercept))
        return Padding(ends[0], ends[1], self.step * abs(slope))

    def covers(self, values: Array) -> Array:
        """Where the values are padding; what rounding does to rescaled ones is allowed for."""
        if self.low == self.high and self.step in (0, 1):
            return np.asarray(values == self.low)
        margin = self.step / 2
        return np.asarray((values >= self.low - margin) & (values <= self.high + margin))


def paddings_of(header: Any, frames: int = 1) -> list[Padding | None]:
    """What is padding in each frame after rescaling; None where nothing is.

    A frame's functional groups come before the shared ones, and these before the file itself.

    Args:
        header: of a file, with the elements in `TAGS` and those of its scales.
        frames: how many it has.
    """
    return [
        None if stored is None else stored.rescaled(*scale)
        for stored, scale in zip(
            _stored_paddings(header, frames), frame_scales(header, frames), strict=True
        )
    ]


def _stored_paddings(header: Any, frames: int) -> list[Padding | None]:
    outer = _padding_in(header, header)
    paddings = []
    for own, shared in frame_groups(header, frames):
        inner = (
            _padding_in(sequence.value[0], header)
            for group in (own, shared)
            for sequence in group
            if sequence.VR == "SQ" and sequence.value
        )
        paddings.append(next((padding for padding in inner if padding is not None), outer))
    return paddings


def _padding_in(elements: Any, header: Any) -> Padding | None:
    """The padding that some elements name, in stored numbers."""
    for name in _ELEMENTS:
        if f"{name}Value" not in elements:
            continue
        first = number_of(elements, f"{name}Value", float("nan"))
        last = number_of(elements, f"{name}RangeLimit", first)
        if name == "PixelPadding":
            first, last = _as_stored(first, header), _as_stored(last, header)
        if np.isfinite([first, last]).all():
            return Padding(min(first, last), max(first, last), float(name == "PixelPadding"))
    return None


def _as_stored(number: float, header: Any) -> float:
    """A number in the sign of the pixels: many scanners write -2000 as 63536, few the other way."""
    bits = int(number_of(header, "BitsStored", 16))
    if number_of(header, "PixelRepresentation", 0) != 1:
        return number + _16_BITS if number < 0 else number
    if number >= _16_BITS // 2:
        return number - _16_BITS
    return number - (1 << bits) if number >= 1 << (bits - 1) else number


def fill_padding(
    where: Path | str, values: Array, paddings: Sequence[Padding | None]
) -> tuple[Array, list[Remark]]:
    """Values with their padding at the lowest of the others, and a remark where there was some.

    Args:
        where: how the remark calls the image.
        values: after rescaling, (z, y, x); not changed.
        paddings: of each slice.
    """
    kinds = {padding for padding in paddings if padding is not None}
    if not kinds:
        return values, []
    if len(set(paddings)) == 1:
        padded = next(iter(kinds)).covers(values)
    else:
        padded = np.stack(
            [
                np.zeros(part.shape, bool) if padding is None else padding.covers(part)
                for part, padding in zip(values, paddings, strict=True)
            ]
        )
    count = int(np.count_nonzero(padded))
    if not count or count == values.size:
        return values, []
    filled = values.copy()
    filled[padded] = np.fmin.reduce(values[~padded])
    return filled, [_remark(where, count, kinds)]


def _remark(where: Path | str, count: int, kinds: set[Padding]) -> Remark:
    low, high = min(kind.low for kind in kinds), max(kind.high for kind in kinds)
    if low == high:
        return Remark(RemarkKind.PADDED, where, {"count": count, "value": low})
    return Remark(RemarkKind.PADDED_RANGE, where, {"count": count, "low": low, "high": high})
