"""The panels in tabs; those that are seldom opened first are created on demand."""

from __future__ import annotations

import qt
from slicer.i18n import tr as _

from NeuralRegistrationLib.Register.Panel import RegisterPanel


class Panels:
    """Creates the panels, and opens and closes them with their tabs.

    logic, onMissing: as `RegisterPanel` takes them.
    """

    def __init__(self, logic, onMissing) -> None:
        self.register = RegisterPanel(logic, onMissing, self.openReview, self.openCorrection)
        self.tabs = qt.QTabWidget()
        self.tabs.objectName = "tabs"
        self._pages, self._panels = {}, {}
        self.tabs.addTab(self.register.widget, _("Register"))
        for name, title in (
            ("review", _("Review")),
            ("train", _("Train")),
            ("models", _("Models")),
            ("batch", _("Batch")),
        ):
            page = self._pages[name] = qt.QWidget()
            layout = qt.QVBoxLayout(page)
            layout.setContentsMargins(0, 0, 0, 0)
            self.tabs.addTab(page, title)
        self.tabs.connect("currentChanged(int)", self.activate)

    @property
    def review(self):
        """The Review panel."""
        from NeuralRegistrationLib.Review.Panel import ReviewPanel

        return self._panel("review", lambda: ReviewPanel(onCorrected=self.register.takeCorrection))

    @property
    def models(self):
        """The Models panel."""
        from NeuralRegistrationLib.Models.Panel import ModelsPanel

        return self._panel("models", lambda: ModelsPanel(onChanged=self._modelsChanged))

    @property
    def batch(self):
        """The Batch panel."""
        from NeuralRegistrationLib.Batch.Panel import BatchPanel

        return self._panel("batch", lambda: BatchPanel(onReview=self.openWorklist))

    def _modelsChanged(self) -> None:
        self.register.models.reload()
        if "train" in self._panels:
            self.train.reload()

    @property
    def train(self):
        """The Train panel."""
        from NeuralRegistrationLib.Train.Panel import TrainPanel

        return self._panel("train", lambda: TrainPanel(onUse=self.useModel))

    def _panel(self, name: str, make):
        if name not in self._panels:
            self._panels[name] = make()
            self._pages[name].layout().addWidget(self._panels[name].widget)
        return self._panels[name]

    @property
    def _ofScene(self) -> list:
        """The panels, of those created so far, which follow the scene by themselves."""
        return [self._panels[name] for name in ("review", "train") if name in self._panels]

    def activate(self, index=None) -> None:
        """A tab was chosen, or the module entered."""
        page = self.tabs.currentWidget()
        if page is self._pages["models"]:
            self.models.widget.show()
        if page is self._pages["batch"]:
            self.batch.widget.show()
        for name in ("review", "train"):
            if page is self._pages[name]:
                getattr(self, name).open()
            elif name in self._panels:
                self._panels[name].close()

    def deactivate(self) -> None:
        """The module is left: no panel is visible."""
        for panel in self._ofScene:
            panel.close()

    def openReview(self, transformNode) -> None:
        """Go to the Review panel, for this transform."""
        self.tabs.setCurrentWidget(self._pages["review"])
        self.review.open(transformNode)

    def openCorrection(self, transformNode) -> None:
        """Go to the Review panel, to correct this transform by hand."""
        self.openReview(transformNode)
        self.review.corrections.open()

    def openWorklist(self, path) -> None:
        """Go to the Review panel, with the worklist in a file."""
        self.tabs.setCurrentWidget(self._pages["review"])
        self.review.worklist.openFile(path)

    def useModel(self, name: str) -> None:
        """Go to the Register panel, with a model that is in the list now."""
        self.reload()
        self.register.parameters.model = name
        self.tabs.setCurrentIndex(0)

    def suspend(self) -> None:
        """The scene is being saved: the views show what is saved with it."""
        if "review" in self._panels:
            self.review.viewControls.suspend()

    def resume(self) -> None:
        """The scene was saved."""
        if "review" in self._panels:
            self.review.viewControls.resume()

    def forget(self) -> None:
        """The scene closes."""
        for panel in self._ofScene:
            panel.forget()
        if "batch" in self._panels:
            self.batch.forget()
        self.register.forget()
        self.register.setParameters(None)

    def renew(self) -> None:
        """The scene is another one, or more was read into it."""
        for panel in self._ofScene:
            panel.renew()

    def reload(self) -> None:
        """The packages that read cards are installed now."""
        self.register.models.reload()
        for name in ("train", "models"):
            if name in self._panels:
                self._panels[name].reload()

    def cleanup(self) -> None:
        """Let go of the scene; jobs end."""
        for panel in (self.register, *self._panels.values()):
            panel.cleanup()
