"""Pictures of slices, drawn off the screen by Slicer's own displayable managers.

What a slice view of the application shows (blended volumes, outlines of segmentations, markups,
models, the grid of a transform) becomes a PNG; with or without the application.
"""

from __future__ import annotations

import slicer
import vtk
from neuralreg.worker.serialization import Steps, at_once
from vtk.util.numpy_support import vtk_to_numpy

_VIEW = "NeuralRegistrationPictures"
PLANES = ("Axial", "Coronal", "Sagittal")
_MANAGERS = (
    "vtkMRMLModelSliceDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager2D",
    "vtkMRMLMarkupsDisplayableManager",
    "vtkMRMLTransformsDisplayableManager2D",
)


class SlicePictures:
    """A slice view without a window.

    application: the application logic of the scene. size: pixels. Call `close` when done: until
    then a slice node and its composite node are in the scene.
    """

    def __init__(self, scene, application, size: tuple[int, int] = (480, 480)) -> None:
        self.size = size
        self._renderer, self._window = vtk.vtkRenderer(), vtk.vtkRenderWindow()
        self._window.OffScreenRenderingOn()
        self._window.SetSize(*size)
        self._window.SetMultiSamples(8)
        self._window.AddRenderer(self._renderer)
        self._interactor = vtk.vtkRenderWindowInteractor()  # the managers ask for one
        self._interactor.SetRenderWindow(self._window)
        self._logic = slicer.vtkMRMLSliceLogic()
        self._logic.SetMRMLApplicationLogic(application)
        self._logic.SetMRMLScene(scene)
        self._owner, self._node = self._addNodes(scene)
        self._logic.SetSliceNode(self._node)
        self._managers = self._startManagers(application)
        self._logic.ResizeSliceNode(*size)
        self._layers = vtk.vtkImageMapper()  # the volumes come blended, as one RGBA image
        self._layers.SetColorWindow(255)
        self._layers.SetColorLevel(127.5)
        picture = vtk.vtkActor2D()
        picture.SetMapper(self._layers)
        picture.GetProperty().SetDisplayLocationToBackground()
        self._renderer.AddViewProp(picture)

    def _addNodes(self, scene):
        """An owner and the slice node; a slice node without an owner gets a widget of its own from
        the application's layout manager, whose other nodes would stay."""
        owner = scene.AddNode(_hidden(scene, "vtkMRMLScriptedModuleNode"))
        node = _hidden(scene, "vtkMRMLSliceNode")
        node.SetName(_VIEW)
        node.SetLayoutName(_VIEW)
        node.SetSingletonTag(_VIEW)
        node.SetAndObserveParentLayoutNodeID(owner.GetID())
        return owner, scene.AddNode(node)

    def _startManagers(self, application):
        factory = slicer.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance()
        factory.SetMRMLApplicationLogic(application)
        for manager in _MANAGERS:
            if not factory.IsDisplayableManagerRegistered(manager):
                factory.RegisterDisplayableManager(manager)
        managers = slicer.vtkMRMLDisplayableManagerGroup()
        managers.Initialize(factory, self._renderer)
        managers.SetMRMLDisplayableNode(self._node)
        return managers

    def show(self, background, foreground=None, *, opacity: float = 0.5, add: bool = False) -> None:
        """Choose the volumes; what else is visible in slice views is drawn over them.

        add: sum the colors of both instead of letting one shine through the other.
        """
        layers = self._logic.GetSliceCompositeNode()
        layers.SetBackgroundVolumeID(background.GetID() if background else None)
        layers.SetForegroundVolumeID(foreground.GetID() if foreground else None)
        layers.SetForegroundOpacity(1.0 if add else opacity)
        layers.SetCompositing(layers.Add if add else layers.Alpha)

    def look(self, plane: str, volume, pointRas, *, zoom: float = 1.0) -> None:
        """Cut through a point of the world along one of `PLANES`, with all of `volume` in view."""
        with slicer.util.NodeModify(self._node):  # whoever draws hears of it once
            self._node.SetOrientation(plane)
            self._logic.FitSliceToVolume(volume, *self.size)
            x, y, z = self._node.GetFieldOfView()
            self._node.SetFieldOfView(x / zoom, y / zoom, z)
            self._node.JumpSliceByCentering(*pointRas)

    def begin(self) -> None:
        """Draw nothing once: a window makes itself ready when it is drawn first."""
        self._window.Render()

    def png(self) -> bytes:
        """The picture as it is now."""
        return at_once(self.pngInSteps())

    def pngInSteps(self) -> Steps:
        """The same, in short steps: the slices are cut, then drawn, then packed."""
        self._logic.UpdatePipeline()
        self._layers.SetInputConnection(self._logic.GetImageDataConnection())
        for layer in (self._logic.GetBackgroundLayer(), self._logic.GetForegroundLayer()):
            if layer is not None and layer.GetVolumeNode() is not None:
                _alone(layer.GetReslice()).Update()
                yield
                _alone(layer.GetImageDataConnection().GetProducer()).Update()
                yield
        _alone(self._logic.GetImageDataConnection().GetProducer()).Update()
        yield
        self._render()
        yield
        grab = vtk.vtkWindowToImageFilter()
        grab.SetInput(self._window)
        grab.ReadFrontBufferOff()
        grab.ShouldRerenderOff()  # it was drawn just now
        grab.Update()
        yield
        writer = vtk.vtkPNGWriter()
        writer.SetInputConnection(grab.GetOutputPort())
        writer.WriteToMemoryOn()
        writer.Write()
        return vtk_to_numpy(writer.GetResult()).tobytes()

    def _render(self) -> None:
        """Draw, without the crosshair that the application may show in its views."""
        crosshair = self._node.GetScene().GetFirstNodeByClass("vtkMRMLCrosshairNode")
        mode = crosshair.GetCrosshairMode() if crosshair is not None else None
        if mode:
            crosshair.SetCrosshairMode(crosshair.NoCrosshair)
        self._window.Render()
        if mode:
            crosshair.SetCrosshairMode(mode)

    def close(self) -> None:
        """Take the view's nodes out of the scene and free the window."""
        logic, scene = self._logic, self._node.GetScene()
        model = logic.GetSliceModelNode()  # of the slice in 3D views
        nodes = [logic.GetSliceCompositeNode(), logic.GetSliceModelTransformNode(), model]
        nodes += [model.GetDisplayNode()] if model is not None else []
        self._managers.SetMRMLDisplayableNode(None)
        logic.SetMRMLScene(None)
        for node in (*nodes, self._node, self._owner):
            if node is not None and node.GetScene() is not None:
                scene.RemoveNode(node)
        self._window.Finalize()


def _hidden(scene, kind: str):
    node = scene.CreateNodeByClass(kind)
    node.UnRegister(None)
    node.SetHideFromEditors(True)
    node.SetSaveWithScene(False)
    return node


def _alone(algorithm):
    """One thread is enough for a small picture, and waits for no others on a busy machine."""
    if isinstance(algorithm, vtk.vtkThreadedImageAlgorithm):
        algorithm.SetEnableSMP(False)
        algorithm.SetNumberOfThreads(1)
    return algorithm
