"""What the application does with slice views: the real logics, and controllers that broadcast.

The layouts are made by the real vtkMRMLLayoutLogic. As qMRMLLayoutViewFactory::onNodeAdded does,
each slice node that names no other parent layout gets a slice logic of its own. A controller
follows its composite node with a slider, whose change is an interaction of the user, and so goes
to all linked views of the group by the real vtkMRMLSliceLinkLogic
(qMRMLSliceControllerWidget.cxx:926, 2060-2071).
"""

from __future__ import annotations

import slicer
import vtk


class _Controller:
    """The slider of the foreground's opacity in a slice view."""

    def __init__(self, logic):
        self._logic, self._composite = logic, logic.GetSliceCompositeNode()
        self._slider = self._composite.GetForegroundOpacity()
        self._tag = self._composite.AddObserver("ModifiedEvent", self._updateFromNode)

    def _updateFromNode(self, caller, event):
        opacity = self._composite.GetForegroundOpacity()
        if opacity != self._slider:
            self._slider = opacity
            flag = slicer.vtkMRMLSliceCompositeNode.ForegroundOpacityFlag
            self._logic.StartSliceCompositeNodeInteraction(flag)
            self._composite.SetForegroundOpacity(opacity)
            self._logic.EndSliceCompositeNodeInteraction()

    def close(self):
        self._composite.RemoveObserver(self._tag)


class SliceViews:
    """The layout manager of a scene. views["Red"] are the slice and the composite node of a view.

    made: how many slice widgets there are.
    """

    def __init__(self, headless):
        self._scene, self._application = headless.scene, headless.application
        self._logics, self._controllers = [], []
        self._link = self._begin(slicer.vtkMRMLSliceLinkLogic())

        @vtk.calldata_type(vtk.VTK_OBJECT)
        def added(scene, event, node):
            if node.IsA("vtkMRMLSliceNode"):
                owner = node.GetParentLayoutNode()
                if owner is None or owner.IsA("vtkMRMLLayoutNode"):
                    self._makeWidget(node)

        self._tag = self._scene.AddObserver(slicer.vtkMRMLScene.NodeAddedEvent, added)
        self._layout = self._begin(slicer.vtkMRMLLayoutLogic())  # makes the first views
        node = self._layout.GetLayoutNode()
        node.SetViewArrangement(node.SlicerLayoutFourUpView)

    def _begin(self, logic):
        logic.SetMRMLApplicationLogic(self._application)
        logic.SetMRMLScene(self._scene)
        return logic

    def _makeWidget(self, node):
        logic = self._begin(slicer.vtkMRMLSliceLogic())
        logic.SetSliceNode(node)
        self._application.GetSliceLogics().AddItem(logic)
        self._logics.append(logic)
        self._controllers.append(_Controller(logic))

    @property
    def made(self):
        return len(self._logics)

    @property
    def layoutNode(self):
        return self._layout.GetLayoutNode()

    def shown(self):
        """The names of the views that the current layout shows."""
        nodes = self._layout.GetViewNodes()
        return {nodes.GetItemAsObject(n).GetLayoutName() for n in range(nodes.GetNumberOfItems())}

    def __getitem__(self, name):
        for logic in self._logics:
            if logic.GetSliceNode() and logic.GetSliceNode().GetLayoutName() == name:
                return logic.GetSliceNode(), logic.GetSliceCompositeNode()
        raise KeyError(name)

    def values(self):
        return [(logic.GetSliceNode(), logic.GetSliceCompositeNode()) for logic in self._logics]

    def close(self):
        self._scene.RemoveObserver(self._tag)
        for controller in self._controllers:
            controller.close()
        self._application.GetSliceLogics().RemoveAllItems()
        for logic in (*self._logics, self._link, self._layout):
            logic.SetMRMLScene(None)
