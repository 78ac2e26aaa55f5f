"""Choosing a node of several kinds: a label map, a segmentation or one segment of it, a model."""

from __future__ import annotations

from slicer.i18n import tr as _


class MaskSelector:
    """A node selector and, for a segmentation, a choice of its segments where there is one.

    name: with which the names of the widgets begin. parameterNames: of the node and, where segments
    can be chosen, of the segment. onChanged: called with them, the node and the segment's id (empty
    for all).
    """

    def __init__(self, ui, name: str, parameterNames: tuple[str, ...], onChanged) -> None:
        self.parameterNames = parameterNames
        self._node = getattr(ui, f"{name}Selector")
        self._segment = getattr(ui, f"{name}SegmentSelector", None)
        self._label = getattr(ui, f"{name}SegmentSelectorLabel", None)
        self._onChanged, self._updating, self._chosen = onChanged, False, None
        self._node.connect("currentNodeChanged(vtkMRMLNode*)", self._nodeChosen)
        if self._segment is not None:
            self._segment.connect("currentIndexChanged(int)", self._segmentChosen)
        self.show(None, "")

    def show(self, node, segment: str = "") -> None:
        """Show a node and its segment without telling anybody."""
        self._updating, self._chosen = True, node
        self._node.setCurrentNode(node)
        if self._segment is not None:
            self._listSegments(node, segment)
        self._updating = False

    def _listSegments(self, node, segment: str) -> None:
        self._segment.clear()
        isSegmentation = node is not None and node.IsA("vtkMRMLSegmentationNode")
        if isSegmentation:
            self._segment.addItem(_("All segments"), "")
            segmentation = node.GetSegmentation()
            for index in range(segmentation.GetNumberOfSegments()):
                name = segmentation.GetNthSegment(index).GetName()
                self._segment.addItem(name, segmentation.GetNthSegmentID(index))
            if self._segment.findData(segment) < 0:  # never all of them instead
                self._segment.addItem(_("(removed segment)"), segment)
            self._segment.currentIndex = self._segment.findData(segment)
        self._segment.visible = self._label.visible = isSegmentation

    def _nodeChosen(self, node) -> None:
        """Slicer also tells of the chosen node when it, or one above it in the list, changes."""
        if not self._updating and node is not self._chosen:
            self._onChanged(self.parameterNames, node, "")

    def _segmentChosen(self, index: int) -> None:
        if not self._updating:
            segment = self._segment.currentData or ""
            self._onChanged(self.parameterNames, self._node.currentNode(), segment)
