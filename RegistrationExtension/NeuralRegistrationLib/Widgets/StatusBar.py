"""Messages of a panel: before a job, during it, and after it."""

from __future__ import annotations

import qt
from slicer.i18n import tr as _

_LEVELS = {
    "good": "SP_DialogApplyButton",
    "note": "SP_MessageBoxWarning",
    "bad": "SP_MessageBoxCritical",
}
_ICON = 16  # pixels


class StatusBar:
    """The line below the images, the progress bar, the line below it, and the log."""

    def __init__(self, ui) -> None:
        self.ui = ui
        ui.logButton.connect("toggled(bool)", ui.logText.setVisible)

    def precheck(self, findings, instead: str = "") -> None:
        """Show sentences on the pair, or a sentence instead of them."""
        worst = findings[0].level if findings else ""
        _setIcon(self.ui.precheckIcon, _LEVELS.get(worst, ""))
        self.ui.precheckLabel.text = "\n".join(f.text for f in findings) or instead

    def say(self, text: str) -> None:
        """Show a message without an icon."""
        self._show(text, "")

    def progress(self, job) -> None:
        """Show how far a job is."""
        self.ui.progressBar.value = round(1000 * job.progress.fraction)
        self._show(progressText(job.progress), "")

    def sayDone(self, seconds: float) -> None:
        """Show that a registration is done."""
        text = _("Done in {time}. Revert undoes everything.")
        self._show(text.format(time=duration(seconds)), "")

    def sayBrain(self, brain) -> None:
        """Show that a brain mask was made, and how to check it."""
        text = _("“{name}” is the mask now ({liters} l). Check its outline.")
        message = text.format(name=brain.node.GetName(), liters=f"{brain.liters:.2f}")
        self._sayWithNotes(message, brain.warnings)

    def sayLabels(self, labeled) -> None:
        """Show that the structures of a brain were labeled, and how to check them."""
        text = _("“{name}” holds {count} structures. Look at them before you use them.")
        message = text.format(name=labeled.node.GetName(), count=len(labeled.volumes))
        self._sayWithNotes(message, labeled.warnings)

    def _sayWithNotes(self, message: str, warnings) -> None:
        notes = [note[:1].upper() + note[1:] + "." for note in warnings]
        self._show("\n".join([message, *notes]), "SP_MessageBoxWarning" if notes else "")

    def sayError(self, error, log: str = "") -> None:
        """Show what went wrong and the remedy."""
        facts = [f"{error.what} ({error.where})" if error.where else error.what]
        facts += [_("Got: {got}").format(got=error.got)] if error.got else []
        facts += [_("Expected: {wanted}").format(wanted=error.wanted)] if error.wanted else []
        self.sayFailure("\n".join(facts), error.remedy, log)

    def sayFailure(self, what: str, remedy: str = "", log: str = "") -> None:
        """Show what went wrong, with the log behind a button."""
        text = what[:1].upper() + what[1:]
        self._show("\n".join(filter(None, (text, remedy))), "SP_MessageBoxWarning", log)

    def _show(self, text: str, icon: str, log: str = "") -> None:
        ui = self.ui
        _setIcon(ui.statusIcon, icon)
        ui.statusLabel.text = text
        ui.logText.plainText = log
        ui.logButton.visible = bool(log)
        if not log:
            ui.logButton.checked = False


def _setIcon(label, name: str) -> None:
    """Put one of the style's own icons into a label, which suits light and dark."""
    label.visible = bool(name)
    if name:
        icon = label.style().standardIcon(getattr(qt.QStyle, name))
        label.setPixmap(icon.pixmap(_ICON, _ICON))


def progressText(progress) -> str:
    """The stage of a job and the time that it still takes, as far as that is known."""
    stage, left = progress.stage, progress.remainingSeconds
    rest = "" if left is None else _("about {time} left").format(time=duration(left))
    return " · ".join(filter(None, (stage[:1].upper() + stage[1:], rest)))


def duration(seconds: float) -> str:
    """A time in words."""
    if seconds < 90:
        return _("{seconds} s").format(seconds=max(1, round(seconds)))
    return _("{minutes} min").format(minutes=round(seconds / 60))
