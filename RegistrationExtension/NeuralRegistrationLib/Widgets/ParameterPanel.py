"""What a panel has that shows and changes the parameters in a node of the scene."""

from __future__ import annotations

import slicer

from NeuralRegistrationLib.Paths import resourcePath


class ParameterPanel:
    """Ties the controls of a panel to a parameter node.

    Connectors of the parameter node keep most controls in step; a panel brings the others up to
    date in `show`, and hands what the user changed in them to `setFromControls`.

    widget: the panel. ui: its controls by name. parameters: those that are shown, or None.
    """

    refreshesInBatches = False  # whether `show` is wanted while a scene is being read

    def __init__(self, uiFile: str) -> None:
        self.widget = slicer.util.loadUI(resourcePath(f"UI/{uiFile}"))
        self.ui = slicer.util.childWidgetVariables(self.widget)
        self.parameters = self._guiTag = self._observerTag = None
        self._refreshing = False

    def show(self, parameters) -> None:
        """Bring what no connector keeps in step up to date."""

    def prepare(self, parameters) -> None:
        """Do what has to be done before the controls are connected to these parameters."""

    def follow(self, parameters) -> None:
        """Show and change these parameters from now on; None to let go of them."""
        if self.parameters is not None:
            self.parameters.disconnectGui(self._guiTag)
            self.parameters.RemoveObserver(self._observerTag)
        self.parameters = parameters
        if parameters is not None:
            self.prepare(parameters)
            self._guiTag = parameters.connectGui(self.ui)
            self._observerTag = parameters.AddObserver("ModifiedEvent", self.refresh)

    def refresh(self, caller=None, event=None) -> None:
        """Show the parameters, unless that is what changed them."""
        if self._refreshing or self.parameters is None:
            return
        if slicer.mrmlScene.IsBatchProcessing() and not self.refreshesInBatches:
            return
        self._refreshing = True
        try:
            self.show(self.parameters)
        finally:
            self._refreshing = False

    def set(self, values: dict) -> None:
        """Write parameters, as one change."""
        if self.parameters is None:
            return
        with slicer.util.NodeModify(self.parameters):
            for name, value in values.items():
                setattr(self.parameters, name, value)

    def setFromControls(self, values: dict) -> None:
        """Write parameters that the user changed in controls without a connector."""
        if not self._refreshing:
            self.set(values)
