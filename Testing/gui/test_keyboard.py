"""The panels without a mouse, and with large letters."""

from __future__ import annotations

import pytest
import slicer

SMALL = 8  # pixels: a check box is lower than its neighbors


def shown_panel(a_panel, name):
    """A panel with everything open that it can show, high enough for all of it."""
    panel = getattr(a_panel, f"{name}Panel")
    a_panel.tabs.setCurrentIndex(("register", "review", "train", "models", "batch").index(name))
    if name == "register":
        models = panel.ui.modelSelector
        models.setCurrentIndex(models.findData("conditional_lapirn.oasis_lite"))
        assert panel.models.sliders
    controls = [control for control in vars(panel.ui).values() if control.isWidgetType()]
    for control in controls:
        if type(control).__name__ == "ctkCollapsibleButton":
            control.collapsed = False
    for control in controls:
        control.setVisible(True)
    a_panel.parent.resize(400, 3500)
    a_panel.parent.show()
    for _ in range(5):
        slicer.app.processEvents()
    return panel


def tab_order(top):
    """What Tab reaches in a panel, in order."""
    from PySide6 import QtCore

    order, widget = [], top.nextInFocusChain()
    while widget is not top:
        reached = widget.focusPolicy.value & QtCore.Qt.TabFocus.value
        if top.isAncestorOf(widget) and reached and widget.isVisibleTo(top):
            order.append(widget)
        widget = widget.nextInFocusChain()
    return order


@pytest.mark.parametrize("name", ["register", "review", "train", "models", "batch"])
def test_tab_follows_the_eye(a_panel, a_pair, name):
    """Down the rows, and from left to right in each."""
    from PySide6 import QtCore

    top = shown_panel(a_panel, name).widget
    order = tab_order(top)
    assert len(order) > 10
    places = [widget.mapTo(top, QtCore.QPoint(0, 0)) for widget in order]
    for before, after, one, other in zip(order, order[1:], places, places[1:], strict=False):
        below = other.y() >= one.y() + before.height - SMALL
        right = other.x() > one.x() and other.y() + after.height > one.y() + SMALL
        inside = before.isAncestorOf(after)
        assert below or right or inside, f"{before.objectName} {one}, {after.objectName} {other}"


def test_enter_in_a_field_starts_nothing_where_a_panel_lies_in_a_dialog(a_panel, a_pair):
    from PySide6 import QtCore, QtTest, QtWidgets

    panel = shown_panel(a_panel, "register")
    dialog = QtWidgets.QDialog()
    QtWidgets.QVBoxLayout(dialog).addWidget(a_panel.parent)
    pressed = []
    for button in a_panel.parent.findChildren(QtWidgets.QPushButton):
        button.clicked.connect(lambda on, button=button: pressed.append(button.objectName))
    dialog.show()
    slicer.app.processEvents()
    fields = a_panel.parent.findChildren(QtWidgets.QAbstractSpinBox)
    for field in [*fields, panel.ui.modelSelector, panel.ui.inverseCheckBox]:
        QtTest.QTest.keyClick(field, QtCore.Qt.Key_Return)
    assert fields
    assert (pressed, panel.jobs) == ([], [])
    a_panel.parent.setParent(None)


@pytest.mark.parametrize("factor", [1.0, 1.25])
def test_no_panel_is_wider_than_slicer_s_column_however_large_the_letters(
    the_application, a_panel, a_pair, factor
):
    from Testing.gui.screenshot_parts import set_letters
    from Testing.gui.screenshots import NARROW

    former = the_application.font()
    set_letters(factor)
    try:
        for name in ("register", "review", "train", "models", "batch"):
            shown_panel(a_panel, name)
        assert a_panel.parent.minimumSizeHint().width() <= NARROW
    finally:
        the_application.setFont(former)


def test_what_a_progress_says_names_the_time_that_is_left_where_it_is_known():
    from NeuralRegistrationLib.Widgets.StatusBar import progressText
    from NeuralRegistrationLib.Worker.Queue import JobProgress

    assert progressText(JobProgress(0.2, "writing the report", 65.0)) == (
        "Writing the report · about 65 s left"
    )
    assert progressText(JobProgress(0.0, "reading", None)) == "Reading"
