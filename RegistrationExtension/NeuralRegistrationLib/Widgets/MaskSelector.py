"""Choosing a mask: a label map, a segmentation, or one segment of it."""

from __future__ import annotations

from slicer.i18n import tr as _


class MaskSelector:
    """A node selector and, for a segmentation, a choice of its segments.

    name: with which the names of the widgets begin. parameterNames: of the node and of its segment.
    onChanged: called with them, the node and the segment's id (empty for all).
    """

    def __init__(self, ui, name: str, parameterNames: tuple[str, str], onChanged) -> None:
        self.parameterNames = parameterNames
        self._node = getattr(ui, f"{name}Selector")
        self._segment = getattr(ui, f"{name}SegmentSelector")
        self._label = getattr(ui, f"{name}SegmentSelectorLabel")
        self._onChanged, self._updating, self._chosen = onChanged, False, None
        self._node.connect("currentNodeChanged(vtkMRMLNode*)", self._nodeChosen)
        self._segment.connect("currentIndexChanged(int)", self._segmentChosen)
        self.show(None, "")

    def show(self, node, segment: str) -> None:
        """Show a mask without telling anybody."""
        self._updating, self._chosen = True, node
        self._node.setCurrentNode(node)
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
        self._updating = False

    def _nodeChosen(self, node) -> None:
        """Slicer also tells of the chosen node when it, or one above it in the list, changes."""
        if not self._updating and node is not self._chosen:
            self._onChanged(self.parameterNames, node, "")

    def _segmentChosen(self, index: int) -> None:
        if not self._updating:
            segment = self._segment.currentData or ""
            self._onChanged(self.parameterNames, self._node.currentNode(), segment)
