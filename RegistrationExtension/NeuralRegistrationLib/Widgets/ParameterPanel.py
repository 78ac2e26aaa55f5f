"""What a panel has that shows and changes the parameters in a node of the scene."""

from __future__ import annotations

import slicer
import vtk

from NeuralRegistrationLib.Paths import resourcePath

_BEFORE_SELECTORS = 1.0  # a priority above that of Slicer's model of the scene, which is -10


class ParameterPanel:
    """Ties the controls of a panel to a parameter node.

    Connectors of the parameter node keep most controls in step; a panel brings the others up to
    date in `show`, and hands what the user changed in them to `setFromControls`.

    widget: the panel. ui: its controls by name. parameters: those that are shown, or None.
    """

    refreshesInBatches = False  # whether `show` is wanted while a scene is being read
    nodeLists: tuple[str, ...] = ()  # parameters whose nodes have a place in a list of their own

    def __init__(self, uiFile: str) -> None:
        self.widget = slicer.util.loadUI(resourcePath(f"UI/{uiFile}"))
        self.ui = slicer.util.childWidgetVariables(self.widget)
        self.parameters = self._guiTag = self._observerTag = None
        self._scene = self._sceneTag = None
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
            self._scene.RemoveObserver(self._sceneTag)
        self.parameters = parameters
        if parameters is not None:
            self.prepare(parameters)
            self._guiTag = parameters.connectGui(self.ui)
            self._observerTag = parameters.AddObserver("ModifiedEvent", self.refresh)
            self._scene = slicer.mrmlScene
            event = slicer.vtkMRMLScene.NodeAboutToBeRemovedEvent
            self._sceneTag = self._scene.AddObserver(event, self._release, _BEFORE_SELECTORS)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _release(self, scene, event, node) -> None:
        """Let go of a node before it is removed: a selector that still shows it would choose its
        neighbor in the list, and that would become the parameter without anybody's wish."""
        if scene.IsBatchProcessing():
            return
        store, kind = self.parameters.parameterNode, type(self.parameters)
        roles = map(store.GetNthNodeReferenceRole, range(store.GetNumberOfNodeReferenceRoles()))
        held = [role for role in roles if store.GetNodeReference(role) is node]
        values = dict.fromkeys(name for name in held if hasattr(kind, name))
        for name in {role.split(".")[0] for role in held} & set(self.nodeLists):
            values[name] = [None if n is node else n for n in getattr(self.parameters, name)]
        if values:  # other lists follow by themselves
            self.set(values)

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
