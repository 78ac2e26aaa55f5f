"""The decision section of the Review panel: what the transform may be used for, and the report."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from html import escape
from pathlib import Path

import qt
from neuralreg.errors import RegistrationError
from slicer.i18n import tr as _

from NeuralRegistrationLib.Exchange.TransformExport import TransformExport
from NeuralRegistrationLib.Register import RegistrationRecord
from NeuralRegistrationLib.Review import FindingTexts, Jobs, ReviewStore
from NeuralRegistrationLib.Widgets import Tables

_NAME = "NeuralRegistration/Reviewer"
_ISO_TIME = re.compile(r"(\d)T(\d\d:\d\d):\d\d\+00:00")


class ReviewDecision:
    """Keeps a decision; it is valid for the transform as it was reviewed and for no other.

    onSay: called with a sentence for the status line. onDecided: called when a decision was made.
    """

    def __init__(self, ui, onSay: Callable[[str], None], onDecided: Callable[[], None]) -> None:
        self.ui, self._onSay, self._onDecided = ui, onSay, onDecided
        self._node = self._report = self.decision = None
        self._void = False
        for level, (verdict, text) in enumerate(_choices()):
            ui.reviewDecisionSelector.addItem(text, f"{verdict}|{level}")
        ui.reviewerEdit.text = qt.QSettings().value(_NAME) or ""
        ui.reviewDecideButton.connect("clicked()", self.decide)
        button = ui.reviewExportButton
        self.export = TransformExport(button, lambda: self._node, onSay, Jobs.queue)
        self.follow(None)

    def follow(self, transformNode):
        """Show the decision about a transform; gives the report that is kept with it."""
        self._node, self._report, self.decision, self._void = transformNode, None, None, False
        if transformNode is not None:
            try:
                self._report, self.decision = ReviewStore.recall(transformNode)
            except RegistrationError as error:
                self._onSay(str(error))
        self.ui.reviewNoteEdit.text = ""
        self.ui.reviewExportButton.enabled = transformNode is not None
        self._show()
        return self._report

    @property
    def report(self):
        """What is known about the transform, or None."""
        return self._report

    @property
    def valid(self):
        """The decision, if there is one that is valid."""
        return None if self._void else self.decision

    def takeReport(self, report) -> None:
        """The transform was reviewed: now it can be decided on, and a decision may be void."""
        from neuralreg.review.workflow.decision import is_void

        self._report = report
        self._void = False
        if self.decision is not None and is_void(self.decision, report.transform_hash):
            self.void()
        ReviewStore.remember(self._node, report, self.decision)
        self._show()

    def void(self) -> None:
        """The transform is another one than was decided on."""
        self._void = True
        if self.decision is not None:
            ReviewStore.void(self._node)
        self._show()

    def _show(self) -> None:
        ui = self.ui
        ui.reviewDecideButton.enabled = self._report is not None and self._node is not None
        about = ui.reviewAboutSelector
        chosen = about.currentText
        about.clear()
        about.addItem(_("The whole transform"), "")
        for overlap in self._report.overlaps if self._report is not None else ():
            about.addItem(overlap.name, overlap.name)
        about.currentIndex = max(0, about.findText(chosen))
        self.update()

    def update(self) -> None:
        """Show what is known about the transform, which may have been corrected."""
        self.ui.reviewDecisionLabel.text = self._words()

    def _words(self) -> str:
        byHand = RegistrationRecord.correctionWords(self._node) if self._node is not None else ""
        hand = f"<i>{escape(byHand[:1].upper() + byHand[1:])}.</i>" if byHand else ""
        return "<br>".join(filter(None, [self._wordsOfDecision(), hand]))

    def _wordsOfDecision(self) -> str:
        if self.decision is None:
            return _("No decision yet.")
        # A time in ISO 8601 is one long word, at which the panel would get wider.
        words = escape(_ISO_TIME.sub(r"\1 \2 UTC", self.decision.in_words()))
        parts = [f"{escape(name)}: {escape(v)}" for name, v in self.decision.segments.items()]
        text = "<br>".join([words, *parts])
        if not self._void:
            return text
        color = FindingTexts.color("fail", Tables.isDark(self.ui.reviewNoteEdit))
        note = escape(_("Void: the transform has changed since."))
        return f'<b style="color:{color}">✕ {note}</b><br><s>{text}</s>'

    def decide(self) -> None:
        """Keep the chosen decision."""
        from neuralreg.review.workflow.decision import ACCEPTED, NEEDS_WORK, Decision

        ui = self.ui
        verdict, _bar, level = ui.reviewDecisionSelector.currentData.partition("|")
        segment = ui.reviewAboutSelector.currentData
        former = None if self._void else self.decision
        facts = {
            "by": ui.reviewerEdit.text,
            "note": ui.reviewNoteEdit.text,
            "transform_hash": self._report.transform_hash,
        }
        segments = dict(former.segments) if former is not None else {}
        if segment:
            segments[segment] = verdict
            decision = former or Decision(verdict=NEEDS_WORK, **facts)
            decision = replace(decision, **facts, segments=segments)
        else:
            level = int(level) if verdict == ACCEPTED else None
            decision = Decision(verdict=verdict, level=level, segments=segments, **facts)
        self._keep(decision)

    def _keep(self, decision) -> None:
        qt.QSettings().setValue(_NAME, decision.by)
        self.decision, self._void = decision, False
        try:
            path = ReviewStore.decide(self._node, self._report, decision)
        except RegistrationError as error:
            self._onSay(str(error))
        else:
            self._onSay(_describeStorage(path))
        self._show()
        self._onDecided()


def _describeStorage(path: Path | None) -> str:
    if path is None:
        return _("Kept in the scene.")
    return _("Kept in the scene and in {file}.").format(file=path.name)


def _choices() -> list[tuple[str, str]]:
    """Verdict and words of each decision, those that accept first, by level."""
    from neuralreg.review.workflow.decision import ACCEPTED, NEEDS_WORK, REJECTED

    return [
        (ACCEPTED, _("Accepted: whole image")),
        (ACCEPTED, _("Accepted: where it matters")),
        (ACCEPTED, _("Accepted: with uncertainty")),
        (ACCEPTED, _("Accepted: for diagnosis only")),
        (NEEDS_WORK, _("Needs work")),
        (REJECTED, _("Rejected")),
    ]
