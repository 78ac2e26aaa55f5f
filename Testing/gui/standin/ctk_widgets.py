"""The module `ctk`: the few widgets of the Common Toolkit that the panels use."""

from __future__ import annotations

from types import ModuleType

from PySide6 import QtCore, QtGui, QtWidgets

from .manners import WidgetProperty

_HEADER = 24  # pixels
_HIGHEST = (1 << 24) - 1  # QWIDGETSIZE_MAX


class ctkCollapsibleButton(QtWidgets.QAbstractButton):
    """A header that shows and hides what lies below it; checked is open."""

    SIGNALS = {"contentsCollapsed(bool)": "contentsCollapsed"}
    contentsCollapsed = QtCore.Signal(bool)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._hidden, self._forcing = set(), False
        self.setCheckable(True)
        self.setChecked(True)
        self.setContentsMargins(0, _HEADER, 0, 0)
        self.setSizePolicy(QtWidgets.QSizePolicy.Minimum, QtWidgets.QSizePolicy.Preferred)
        self.toggled.connect(self._show)

    def _show(self, opened):
        self.setMaximumHeight(_HIGHEST if opened else self.sizeHint().height())
        self._forcing = True
        for child in self.children():
            if child.isWidgetType():
                child.setVisible(opened and child not in self._hidden)
        self._forcing = False
        self.updateGeometry()
        self.contentsCollapsed.emit(not opened)

    def childEvent(self, event):
        if event.added() and event.child().isWidgetType():
            event.child().installEventFilter(self)

    def eventFilter(self, child, event):
        """What is hidden or shown by others while closed is so when opened."""
        kinds = (QtCore.QEvent.HideToParent, QtCore.QEvent.ShowToParent)
        if event.type() not in kinds or self._forcing:
            return False
        self._hidden.discard(child)
        if event.type() == QtCore.QEvent.HideToParent:
            self._hidden.add(child)
        elif not self.isChecked():
            self._forcing = True
            child.setVisible(False)
            self._forcing = False
        return False

    def _isCollapsed(self):
        return not self.isChecked()

    def setCollapsed(self, collapsed):
        self.setChecked(not collapsed)

    collapsed = WidgetProperty(bool, _isCollapsed, setCollapsed)

    def minimumSizeHint(self):
        inside = self.layout().totalMinimumSize() if self.layout() else QtCore.QSize(0, _HEADER)
        return inside if self.isChecked() else QtCore.QSize(0, _HEADER)

    def sizeHint(self):
        inside = self.layout().totalSizeHint() if self.layout() else QtCore.QSize(0, _HEADER)
        return inside if self.isChecked() else QtCore.QSize(inside.width(), _HEADER)

    def hitButton(self, point):
        return point.y() < _HEADER

    def paintEvent(self, event):
        painter = QtWidgets.QStylePainter(self)
        header = QtWidgets.QStyleOptionButton()
        header.initFrom(self)
        header.rect = QtCore.QRect(0, 0, self.width, _HEADER)
        painter.drawControl(QtWidgets.QStyle.CE_PushButtonBevel, header)
        arrow = QtWidgets.QStyleOption()
        arrow.initFrom(self)
        arrow.rect = QtCore.QRect(6, (_HEADER - 10) // 2, 10, 10)
        style = QtWidgets.QStyle
        kind = style.PE_IndicatorArrowDown if self.isChecked() else style.PE_IndicatorArrowRight
        painter.drawPrimitive(kind, arrow)
        role = QtGui.QPalette.ButtonText
        place = header.rect.adjusted(22, 0, 0, 0)
        flags = int(QtCore.Qt.AlignVCenter | QtCore.Qt.AlignLeft)
        painter.drawItemText(place, flags, self.palette, self.enabled, self.text, role)


class ctkSliderWidget(QtWidgets.QWidget):
    """A slider and a spin box that show one number."""

    SIGNALS = {"valueChanged(double)": "valueChanged"}
    valueChanged = QtCore.Signal(float)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._slider = QtWidgets.QSlider(QtCore.Qt.Horizontal, self)
        self._box = QtWidgets.QDoubleSpinBox(self)
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._slider, 1)
        row.addWidget(self._box)
        self._slider.valueChanged.connect(self._slid)
        self._box.valueChanged.connect(self._typed)
        self._box.setRange(0, 99)
        self._rule()

    def _rule(self):
        steps = (self._box.maximum - self._box.minimum) / self._box.singleStep
        self._slider.blockSignals(True)
        self._slider.setRange(0, max(1, round(steps)))
        self._slider.blockSignals(False)
        self._follow()

    def _follow(self):
        self._slider.blockSignals(True)
        self._slider.setValue(round((self._box.value - self._box.minimum) / self._box.singleStep))
        self._slider.blockSignals(False)

    def _slid(self, place):
        self._box.setValue(self._box.minimum + place * self._box.singleStep)

    def _typed(self, value):
        self._follow()
        self.valueChanged.emit(value)

    def _changed(name):
        """A number of the spin box that decides how the slider is divided."""

        def write(self, value):
            setattr(self._box, name, value)
            self._rule()

        return WidgetProperty(float, lambda self: getattr(self._box, name), write)

    minimum, maximum, singleStep = map(_changed, ("minimum", "maximum", "singleStep"))
    del _changed
    value = WidgetProperty(
        float, lambda self: self._box.value, lambda self, value: self._box.setValue(value)
    )
    decimals = WidgetProperty(
        int, lambda self: self._box.decimals, lambda self, n: self._box.setDecimals(n)
    )
    suffix = WidgetProperty(
        str, lambda self: self._box.suffix, lambda self, text: self._box.setSuffix(text)
    )
    spinBoxVisible = WidgetProperty(
        bool,
        lambda self: not self._box.isHidden(),
        lambda self, shown: self._box.setVisible(shown),
    )

    def setValue(self, value):
        self.value = value


WIDGETS = (ctkCollapsibleButton, ctkSliderWidget)


def ctk_module() -> ModuleType:
    """The module with these widgets."""
    made = ModuleType("ctk")
    for kind in WIDGETS:
        setattr(made, kind.__name__, kind)
    return made
