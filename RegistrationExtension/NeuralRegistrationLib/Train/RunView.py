"""What one sees of a training: how far it is, its losses, and a pair of its validation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

import qt
from slicer.i18n import tr as _

from NeuralRegistrationLib.Train import RunFolder
from NeuralRegistrationLib.Train.CurvePicture import picture
from NeuralRegistrationLib.Train.Curves import Curves
from NeuralRegistrationLib.Widgets.StatusBar import StatusBar, duration, progressText

_REFRESH_MS = 250  # a small training takes hundreds of steps a second
_TOTAL = "loss"
_PICTURE_WIDTH = 292  # pixels: what a narrow panel has room for


class RunView:
    """The lower half of the Train panel."""

    def __init__(self, ui) -> None:
        self.ui = ui
        self.status = StatusBar(
            SimpleNamespace(
                statusIcon=ui.trainStatusIcon,
                statusLabel=ui.trainStatusLabel,
                logButton=ui.trainLogButton,
                logText=ui.trainLogText,
            )
        )
        self.curves, self._report, self._epoch, self.folder = Curves(""), None, None, ""
        self._shown = None  # which picture
        self.stopping = False  # whether that is to be said instead of the progress
        self._timer = qt.QTimer()
        self._timer.interval = _REFRESH_MS
        self._timer.connect("timeout()", self.refresh)
        ui.showCurvesButton.connect("clicked()", lambda: self.curves.show())
        ui.showValidationButton.connect("clicked()", lambda: self.curves.show(validation=True))

    def begin(self, name: str, folder: str) -> None:
        """A training is under way; what its folder holds already is where it goes on."""
        self.open(name, folder)
        self.stopping = False
        self.ui.trainProgressBar.maximum = 0  # busy, until there is something to count
        self.ui.trainProgressBar.visible = True
        self._timer.start()

    def open(self, name: str, folder: str) -> None:
        """Show what a run has come to."""
        self.curves, self.folder = Curves(name), folder
        self._report = self._epoch = None
        epochs = RunFolder.curves(folder)
        self.curves.restore(epochs)
        if epochs:
            self._epoch = {
                "epoch": round(epochs[-1]["epoch"]),
                "step": round(epochs[-1]["step"]),
                "losses": _withoutHead(epochs[-1], "train "),
                "validation": _withoutHead(epochs[-1], "valid "),
            }
        self._draw()

    def report(self, report: Mapping) -> None:
        """A line of the training; what is seen follows at the next beat."""
        self.curves.add(report)
        self._report = report
        if report["ended"]:
            self._epoch = report

    def showJob(self, job) -> None:
        """How far a job beside a training is: writing images, trying a model."""
        self.ui.trainProgressBar.maximum = 1000
        self.ui.trainProgressBar.value = round(1000 * job.progress.fraction)
        self.ui.trainProgressBar.visible = True
        self.status.say(progressText(job.progress))

    def end(self) -> None:
        """The training has ended."""
        self.refresh()
        self._timer.stop()
        self.ui.trainProgressBar.visible = False

    def refresh(self) -> None:
        """Show the last report."""
        if self._report is None:
            return
        bar = self.ui.trainProgressBar
        bar.maximum = 1000
        bar.value = round(1000 * self._report["fraction"])
        self.curves.draw()
        self._draw()
        if not self.stopping:
            self.status.say(self._progress())

    def _progress(self) -> str:
        """How far it is, in words."""
        return _("Epoch {epoch}, step {step} · about {time} left").format(
            epoch=self._report["epoch"],
            step=self._report["step"],
            time=duration(self._report["remaining_s"]),
        )

    @property
    def steps(self) -> int:
        """How many steps were made, over all pieces of the run."""
        latest = self._report or self._epoch
        return latest["step"] if latest else 0

    @property
    def summary(self) -> str:
        """What the last epoch came to, in words."""
        if self._epoch is None:
            return ""
        text = _("{epoch} epochs, {step} steps")
        return text.format(epoch=self._epoch["epoch"], step=self._epoch["step"])

    def _draw(self) -> None:
        ui = self.ui
        ui.trainLossesLabel.text = self._numbers() or _("Nothing was trained yet.")
        ui.showCurvesButton.enabled = bool(self.curves.losses.points)
        ui.showValidationButton.enabled = bool(self.curves.figures.points)
        self._drawCurve()
        self._showPicture(RunFolder.picture(self.folder))

    def _numbers(self) -> str:
        """The latest losses and validations by name: a table in HTML."""
        columns = {}
        if self._report is not None and not self._report["ended"]:
            columns[_("now")] = self._report["losses"]
        if self._epoch is not None:
            title = _("epoch {epoch}").format(epoch=self._epoch["epoch"])
            columns[title] = self._epoch["losses"]
            columns[_("validation")] = self._epoch["validation"]
        return _table({title: values for title, values in columns.items() if values})

    def _drawCurve(self) -> None:
        label = self.ui.trainCurveLabel
        train, valid = (
            curve.array([_TOTAL]) for curve in (self.curves.losses, self.curves.validLosses)
        )
        isCurve = len(train) > 1
        label.visible = isCurve
        if isCurve:  # also while no one sees it: `visible` is False then
            label.setPixmap(picture(train, valid))

    def _showPicture(self, path: Path | None) -> None:
        label = self.ui.trainPictureLabel
        label.visible = path is not None
        key = path and (path, path.stat().st_mtime_ns)
        if path is None or key == self._shown:
            return
        drawn = qt.QPixmap(str(path))
        if not drawn.isNull():  # it may just be replaced
            self._shown = key
            label.setPixmap(drawn.scaledToWidth(_PICTURE_WIDTH, qt.Qt.SmoothTransformation))

    def forget(self) -> None:
        """The scene closes, and the charts with it."""
        self._timer.stop()
        self.curves = Curves("")
        self._report = self._epoch = None
        self.folder = ""
        self.ui.trainProgressBar.visible = False
        self._draw()


def _table(columns: Mapping[str, Mapping[str, float]]) -> str:
    """Numbers by name, a row each: HTML; empty without any."""
    if not columns:
        return ""
    names = dict.fromkeys([_TOTAL, *(name for values in columns.values() for name in values)])
    head = "".join(f'<td align="right">{title}</td>' for title in ("", *columns))
    rows = [f"<tr>{head}</tr>"]
    for name in names:
        numbers = (f"{values[name]:.4g}" if name in values else "" for values in columns.values())
        cells = "".join(f'<td align="right"><b>{number}</b></td>' for number in numbers)
        rows.append(f"<tr><td>{_plain(name)}</td>{cells}</tr>")
    return f'<table width="100%" cellpadding="1">{"".join(rows)}</table>'


def _plain(name: str) -> str:
    """The name of a number for people: "image/lncc" is lncc."""
    return name.rpartition("/")[2].replace("_percent", " %").replace("_", " ")


def _withoutHead(line: Mapping[str, float], head: str) -> dict[str, float]:
    return {k.removeprefix(head): v for k, v in line.items() if k.startswith(head)}
