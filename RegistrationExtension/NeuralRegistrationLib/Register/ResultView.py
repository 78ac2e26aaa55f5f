"""What the Register panel shows of the last registration: numbers, fading, warping, the grid."""

from __future__ import annotations

from html import escape

from neuralreg.registration.model_choice import ChoiceReason
from slicer.i18n import tr as _

from NeuralRegistrationLib.Models import ModelList
from NeuralRegistrationLib.Register import RegistrationRecord
from NeuralRegistrationLib.Register.AutoModel import reasonText
from NeuralRegistrationLib.Scene import SliceViews


class ResultView:
    """The section that opens after a run and closes when there is nothing to show any more."""

    def __init__(self, ui) -> None:
        self.ui = ui
        self._formerLayers = []
        self._fixed = self._moving = self._result = self._preview = None
        ui.fadeSlider.connect("valueChanged(double)", lambda value: self._fade())
        ui.warpSlider.connect("valueChanged(double)", self._warp)
        ui.gridCheckBox.connect("toggled(bool)", self._grid)

    def show(self, fixed, moving, result) -> None:
        """Show a result that is new in the scene, faded half way over the fixed volume."""
        self.clear()
        self._formerLayers.append(SliceViews.layers())
        self._fixed, self._moving, self._result = fixed, moving, result
        self.ui.summaryLabel.text = summary(result)
        self.update()
        self.ui.outcomeSection.visible = True
        self.ui.outcomeSection.collapsed = False
        self.ui.fadeSlider.value = 50
        self._fade()

    def update(self) -> None:
        """Show what there is to know about the result; it may have been corrected since."""
        if not self._isThere():
            return
        self._endPreview()
        self.ui.warpSlider.value = 100
        self.ui.warningsLabel.text = text = warnings(self._result)
        self.ui.warningsLabel.visible = bool(text)
        self._fade()

    def clear(self) -> None:
        """Show nothing; the results themselves stay where they are."""
        self._endPreview()
        self._fixed = self._moving = self._result = None
        self.ui.outcomeSection.visible = False
        self.ui.gridCheckBox.checked = False
        self.ui.warpSlider.value = 100

    def revert(self) -> None:
        """Show nothing, and in the slice views what they showed before the last result."""
        self.clear()
        SliceViews.restore(self._formerLayers.pop())

    def forget(self) -> None:
        """Show nothing; the scene with all that was shown is gone."""
        self.clear()
        self._formerLayers.clear()

    def _isThere(self) -> bool:
        """Whether the nodes that are shown are still in the scene."""
        nodes = (self._fixed, self._moving, self._result and self._result.transformNode)
        return all(node is not None and node.GetScene() is not None for node in nodes)

    def _upper(self):
        if self._preview is not None:
            return self._preview.volume
        volume = self._result.warpedVolumeNode
        return volume if volume is not None and volume.GetScene() is not None else None

    def _fade(self) -> None:
        if self._isThere() and self._upper() is not None:
            SliceViews.show(self._fixed, self._upper(), self.ui.fadeSlider.value / 100)

    def _warp(self, percent: float) -> None:
        if not self._isThere():
            return
        if percent >= 100:
            self._endPreview()
        elif self._preview is None:
            self._startPreview()
        if self._preview is not None:
            self._preview.warp(percent / 100)
        self._fade()

    def _startPreview(self) -> None:
        preview = SliceViews.WarpPreview(self._moving, self._result.transformNode)
        if preview.gradual:
            self._preview = preview
        else:
            preview.remove()

    def _endPreview(self) -> None:
        if self._preview is not None:
            self._preview.remove()
            self._preview = None

    def _grid(self, isVisible: bool) -> None:
        if self._isThere():
            SliceViews.showGrid(self._result.transformNode, isVisible)


def summary(result) -> str:
    """The outcome in plain numbers, as HTML."""
    outcome = result.result.outcome
    both = _("{mean} mm (at most {largest})")
    error = both.format(
        mean=f"{outcome.inverse_error_mean_mm:.2f}", largest=f"{outcome.inverse_error_max_mm:.2f}"
    )
    deformation = both.format(
        mean=f"{outcome.displacement_mean_mm:.1f}", largest=f"{outcome.displacement_max_mm:.1f}"
    )
    similarities = f"{outcome.similarity_initial:.2f} → <b>{outcome.similarity_final:.2f}</b>"
    rows = (
        (_("Model"), _model(result.result)),
        (_("Similarity"), similarities),
        (_("Folding"), f"{outcome.folding_percent:.3f} %"),
        (_("Forward-backward"), error),
        (_("Bending"), deformation),
        (_("Time"), _("{seconds} s").format(seconds=f"{result.seconds:.0f}")),
    )
    cells = "".join(f"<tr><td>{name}&nbsp;&nbsp;</td><td>{value}</td></tr>" for name, value in rows)
    return f"<table>{cells}</table>"


def _model(facts) -> str:
    """The model that was taken; where it was chosen automatically, why."""
    title = next(
        (card.title for card in ModelList.cards() if card.name == facts.model), facts.model
    )
    reason = ChoiceReason(facts.provenance.get("choice reason", ChoiceReason.NAMED))
    text = reasonText(reason)
    return f"{escape(title)}<br><i>{escape(text)}</i>" if text else title


def warnings(result) -> str:
    """What there is to know about a result, a paragraph each."""
    byHand = RegistrationRecord.correctionWords(result.transformNode)
    known = filter(None, (*result.result.warnings, byHand))
    sentences = (text[:1].upper() + text[1:] for text in known)
    return "\n".join(f"⚠ {text}." for text in sentences)
