"""A small picture of a loss over the steps, for the panel itself."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import qt

_WIDTH, _HEIGHT, _EDGE = 600, 84, 6  # pixels; a label may stretch the width
_PEN = 2  # pixels
_SMOOTH = 25  # parts of a curve over which its steps are averaged: single pairs differ much
_TRAIN, _VALID = "#3a86d4", "#e07b39"  # blue and orange: told apart by all eyes


def picture(train: np.ndarray, valid: np.ndarray):
    """Both curves, rows of (step, loss), as a pixmap: training as a line, validation as points.

    The vertical axis ends at the 98th percentile: first steps may be far above the others.
    """
    train = _smooth(train)
    pixmap = qt.QPixmap(_WIDTH, _HEIGHT)
    pixmap.fill(qt.QColor(0, 0, 0, 0))
    everything = np.concatenate([train, valid])
    low, high = everything.min(0), everything.max(0)
    high[1] = max(np.quantile(everything[:, 1], 0.98), low[1] + 1e-12)
    room = np.array([_WIDTH, _HEIGHT]) - 2 * _EDGE
    painter = qt.QPainter(pixmap)
    painter.setRenderHint(qt.QPainter.Antialiasing)
    for points, color, joined in ((train, _TRAIN, True), (valid, _VALID, False)):
        at = (points - low) / np.maximum(high - low, 1e-12)
        at[:, 1] = 1 - np.clip(at[:, 1], 0, 1)
        _draw(painter, (_EDGE + at * room).round().astype(int).tolist(), color, joined)
    painter.end()
    return pixmap


def _smooth(points: np.ndarray) -> np.ndarray:
    """A running mean that stands at the last of its steps."""
    window = max(1, len(points) // _SMOOTH)
    means = np.convolve(points[:, 1], np.full(window, 1 / window), "valid")
    return np.column_stack([points[window - 1 :, 0], means])


def _draw(painter, positions: list[list[int]], color: str, joined: bool) -> None:
    pen = qt.QPen(qt.QColor(color))
    pen.setWidth(_PEN)
    painter.setPen(pen)
    if joined:
        for (x, y), (nextX, nextY) in pairwise(positions):
            painter.drawLine(x, y, nextX, nextY)
        return
    painter.setBrush(qt.QBrush(qt.QColor(color)))
    for x, y in positions:
        painter.drawEllipse(x - 4, y - 2, 8, 4)
