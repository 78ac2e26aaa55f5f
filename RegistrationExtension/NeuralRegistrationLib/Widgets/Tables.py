"""Filling tables of the panels."""

from __future__ import annotations

from collections.abc import Sequence

import qt


def prepare(table, titles: Sequence[str]) -> None:
    """Set up columns: the first takes the remaining width."""
    table.setColumnCount(len(titles))
    table.setHorizontalHeaderLabels(list(titles))
    table.verticalHeader().hide()
    table.wordWrap = True
    header = table.horizontalHeader()
    header.setDefaultAlignment(qt.Qt.AlignLeft | qt.Qt.AlignVCenter)
    header.setSectionResizeMode(qt.QHeaderView.ResizeToContents)
    header.setSectionResizeMode(0, qt.QHeaderView.Stretch)
    table.verticalHeader().setSectionResizeMode(qt.QHeaderView.ResizeToContents)
    # Texts that wrap need another height when the column gets another width.
    fit = table.resizeRowsToContents
    header.connect("sectionResized(int,int,int)", lambda index, before, now: fit())


def fill(table, rows: Sequence[Sequence[str]]) -> None:
    """Show rows of texts, with no row chosen and without signals."""
    table.blockSignals(True)
    table.clearSelection()
    table.setRowCount(len(rows))
    for row, texts in enumerate(rows):
        for column, text in enumerate(texts):
            item = qt.QTableWidgetItem(text)
            item.setToolTip(text)
            table.setItem(row, column, item)
    table.setCurrentCell(-1, -1)
    table.blockSignals(False)


def paint(table, column: int, colors: Sequence[str | None]) -> None:
    """Color the texts of a column; None leaves a cell as it is."""
    for row, color in enumerate(colors):
        if color:
            table.item(row, column).setForeground(qt.QBrush(qt.QColor(color)))


def isDark(widget) -> bool:
    """Whether text is light on a dark ground there."""
    return widget.palette.color(qt.QPalette.Base).lightness() < 128
