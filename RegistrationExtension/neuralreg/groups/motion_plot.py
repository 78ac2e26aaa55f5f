"""Translations, rotations and framewise displacement of a sequence as one SVG picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from neuralreg.groups.motion import Pose

_WIDTH, _PANEL, _GAP, _LEFT, _RIGHT, _TOP = 720, 130, 34, 64, 70, 26
_COLORS = ("#0072b2", "#d55e00", "#009e73")  # told apart by color-blind people; Okabe & Ito


def plot_motion(poses: Sequence[Pose | None]) -> str:
    """Three panels over the frames; a frame without a pose is a gap.

    Args:
        poses: of the frames, None for those that could not be registered.
    """
    known = [pose for pose in poses if pose is not None]
    d = len(known[0].translations) if known else 3
    turns = len(known[0].rotations) if known else 3
    nothing = Pose((np.nan,) * d, (np.nan,) * turns, np.nan)
    rows = [pose or nothing for pose in poses]
    panels = [
        ("translation, mm", np.array([row.translations for row in rows]), "xyz"[:d]),
        ("rotation, degrees", np.array([row.rotations for row in rows]), "xyz"[-turns:]),
        ("from frame to frame, mm", np.array([[row.displacement_mm] for row in rows]), ""),
    ]
    height = _TOP + len(panels) * (_PANEL + _GAP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
        f'width="{_WIDTH}" height="{height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{_WIDTH}" height="{height}" fill="white"/>',
    ]
    for number, (title, values, names) in enumerate(panels):
        parts += _panel(title, values, names, _TOP + number * (_PANEL + _GAP))
    return "\n".join([*parts, "</svg>\n"])


def _panel(title: str, values: np.ndarray, names: str, top: int) -> list[str]:
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    room = max(0.05 * (high - low), 0.01)
    low, high = min(low, 0.0) - room, max(high, 0.0) + room
    last = max(len(values) - 1, 1)

    def x(frame: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * frame / last

    def y(value: float) -> float:
        return top + _PANEL * (1 - (value - low) / (high - low))

    parts = [f'<text x="{_LEFT}" y="{top - 7}" font-weight="bold">{title}</text>']
    for tick in sorted({low + room, 0.0, high - room}):
        parts += [
            f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y(tick):.1f}" y2="{y(tick):.1f}" '
            'stroke="#ddd"/>',
            f'<text x="{_LEFT - 6}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:.3g}</text>',
        ]
    for n, column in enumerate(values.T):
        color = _COLORS[n]
        for run in np.split(np.arange(len(column)), np.flatnonzero(~np.isfinite(column))):
            points = [f"{x(k):.1f},{y(column[k]):.1f}" for k in run if np.isfinite(column[k])]
            if points:
                parts.append(
                    f'<polyline points="{" ".join(points)}" fill="none" stroke="{color}" '
                    'stroke-width="1.5"/>'
                )
        if names:
            parts.append(
                f'<text x="{_WIDTH - _RIGHT + 8}" y="{top + 14 + 16 * n}" fill="{color}">'
                f"{names[n]}</text>"
            )
    for frame in (0, last):
        parts.append(
            f'<text x="{x(frame):.1f}" y="{top + _PANEL + 14}" text-anchor="middle">{frame}</text>'
        )
    return parts
