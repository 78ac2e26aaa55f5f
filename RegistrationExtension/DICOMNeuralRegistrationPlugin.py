"""The DICOM module's way to registration objects: loaded as transform nodes, and exported.

The name of this file is the key of the plugin, by which Slicer's export dialog looks it up.
"""

import logging

import slicer
from DICOMLib import DICOMLoadable, DICOMPlugin
from slicer.i18n import tr as _

_STORAGE = {
    "1.2.840.10008.5.1.4.1.1.66.1": "Spatial Registration",
    "1.2.840.10008.5.1.4.1.1.66.3": "Deformable Spatial Registration",
}
_SLICER_RT = "DicomSroImportExportPlugin"  # its plugin for the same objects


class DICOMNeuralRegistrationPluginClass(DICOMPlugin):
    """Registration objects as transform nodes, and back.

    Where SlicerRT is installed, its plugin goes first: this one can be chosen beside it.
    """

    def __init__(self):
        super().__init__()
        self.loadType = "Registration (Neural Registration)"
        self.tags["sopClassUID"] = "0008,0016"  # the base class defines it in some versions only

    def examineForImport(self, fileLists):
        """One loadable for each object in the lists of files."""
        return [
            loadable for files in fileLists for file in files for loadable in self._examine(file)
        ]

    def _examine(self, file):
        kind = _STORAGE.get(slicer.dicomDatabase.fileValue(file, self.tags["sopClassUID"]))
        if kind is None:
            return []
        loadable = DICOMLoadable()
        loadable.files = [file]
        description = slicer.dicomDatabase.fileValue(file, self.tags["seriesDescription"])
        loadable.name = description or kind
        loadable.tooltip = kind
        loadable.selected = _SLICER_RT not in slicer.modules.dicomPlugins
        loadable.confidence = 0.8
        return [loadable]

    def load(self, loadable):
        """A transform node of the object, or False; why not is in the log."""
        from NeuralRegistrationLib.Exchange import TransformFiles

        try:
            node, notes = TransformFiles.loadObject(loadable.files[0], loadable.name)
        except Exception as error:
            if not TransformFiles.isRefusal(error):
                raise
            logging.error("%s", error)
            return False
        for note in notes:
            logging.warning("%s", note)
        self.addSeriesInSubjectHierarchy(loadable, node)
        return True

    def examineForExport(self, subjectHierarchyItemID):
        """One exportable for a transform node between two volumes that came by DICOM."""
        from NeuralRegistrationLib.Exchange import TransformFiles

        tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
        node = tree.GetItemDataNode(subjectHierarchyItemID)
        if node is None or not TransformFiles.isBetweenSeries(node):
            return []
        exportable = slicer.qSlicerDICOMExportable()
        exportable.name = self.loadType
        exportable.tooltip = _(
            "Writes a registration object that refers to both series as they are, with the "
            "patient and the study of the fixed one"
        )
        exportable.subjectHierarchyItemID = subjectHierarchyItemID
        exportable.pluginClass = self.__module__
        exportable.confidence = 0.9 if _SLICER_RT in slicer.modules.dicomPlugins else 1.0
        exportable.setTag("SeriesDescription", node.GetName())
        exportable.setTag("Modality", "REG")
        exportable.setTag("SeriesNumber", "1")
        return [exportable]

    def export(self, exportables):
        """Write the objects; what went wrong, or an empty text."""
        from NeuralRegistrationLib.Exchange import TransformFiles

        tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
        for exportable in exportables:
            item = exportable.subjectHierarchyItemID
            node = tree.GetItemDataNode(item)
            name = f"{exportable.directory}/registration_{item}.dcm"
            words = {"description": exportable.tag("SeriesDescription"),
                     "number": exportable.tag("SeriesNumber")}  # fmt: skip
            try:
                notes = TransformFiles.writeObject(node, name, **words)
            except Exception as error:
                if not TransformFiles.isRefusal(error):
                    raise
                logging.error("%s", error)
                return str(error)
            for note in notes:
                logging.warning("%s", note)
        return ""


class DICOMNeuralRegistrationPlugin:
    """What Slicer opens as a module: it only introduces the plugin to the DICOM module."""

    def __init__(self, parent):
        parent.title = _("DICOM Registration Objects Plugin")
        parent.categories = ["Developer Tools.DICOM Plugins"]
        parent.contributors = ["The Neural Registration contributors"]
        parent.helpText = _(
            "Lets the DICOM module load and export Spatial Registration and Deformable Spatial "
            "Registration objects. There is nothing to see here."
        )
        parent.acknowledgementText = ""
        parent.dependencies = ["DICOM"]
        parent.hidden = True
        if not hasattr(slicer.modules, "dicomPlugins"):  # this may come before the DICOM module
            slicer.modules.dicomPlugins = {}
        slicer.modules.dicomPlugins[self.__module__] = DICOMNeuralRegistrationPluginClass
