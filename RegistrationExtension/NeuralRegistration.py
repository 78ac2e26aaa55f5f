"""Neural Registration: the module that Slicer opens. Nothing heavy is imported here."""

import qt
import slicer
from NeuralRegistrationLib.Paths import resourcePath
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin


class NeuralRegistration(ScriptedLoadableModule):
    """What Slicer shows about the module before it is opened."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("Neural Registration")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Registration")]
        self.parent.dependencies = []
        self.parent.contributors = ["The Neural Registration contributors"]
        self.parent.helpText = _(
            "Brings one image onto another, with and without neural networks. Segmentations, "
            "markups and models follow. Research software: not for clinical use."
        )
        self.parent.acknowledgementText = _(
            "The default method follows the work of Heinrich, Siebert, Hansen and colleagues: "
            "coupled convex optimization (doi:10.1007/978-3-319-08554-8_6)."
        )
        self.parent.icon = qt.QIcon(self.resourcePath("Icons/NeuralRegistration.png"))
        slicer.app.connect("startupCompleted()", introduce)

    def resourcePath(self, filename):
        return resourcePath(filename)


def introduce():
    """Layouts that a scene may have been saved with, and images to try."""
    from NeuralRegistrationLib import SampleImages
    from NeuralRegistrationLib.Review.Views import ViewLayouts

    ViewLayouts.introduce()
    SampleImages.introduce()


class NeuralRegistrationWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The panels in tabs, below a card that asks for missing packages."""

    def __init__(self, parent=None):
        VTKObservationMixin.__init__(self)  # first: without a parent the other one sets up
        ScriptedLoadableModuleWidget.__init__(self, parent)

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        from NeuralRegistrationLib.Panels import Panels
        from NeuralRegistrationLib.Widgets.SetupCard import SetupCard

        self.logic = NeuralRegistrationLogic()
        self.setupCard = SetupCard(onReady=self.onPackagesInstalled)
        self.panels = Panels(self.logic, onMissing=self.setupCard.update)
        self.layout.addWidget(self.setupCard.widget)
        self.layout.addWidget(self.panels.tabs)
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self.onSceneCloses)
        self.addObserver(scene, scene.EndCloseEvent, self.onSceneIsNew)
        self.addObserver(scene, scene.EndImportEvent, self.onSceneIsNew)
        self.addObserver(scene, scene.StartSaveEvent, lambda *_: self.panels.suspend())
        self.addObserver(scene, scene.EndSaveEvent, lambda *_: self.panels.resume())
        self.onSceneIsNew()

    registerPanel = property(lambda self: self.panels.register)
    reviewPanel = property(lambda self: self.panels.review)
    trainPanel = property(lambda self: self.panels.train)
    modelsPanel = property(lambda self: self.panels.models)
    batchPanel = property(lambda self: self.panels.batch)
    tabs = property(lambda self: self.panels.tabs)
    resourcePath = NeuralRegistration.resourcePath

    def cleanup(self):
        self.removeObservers()
        self.panels.cleanup()

    def enter(self):
        self.setupCard.update()
        self.showParameters()
        self.panels.activate()

    def exit(self):
        self.panels.deactivate()

    def openReview(self, transformNode):
        """Go to the Review panel, for this transform."""
        self.panels.openReview(transformNode)

    def onSceneCloses(self, caller=None, event=None):
        self.panels.forget()

    def onSceneIsNew(self, caller=None, event=None):
        self.showParameters()
        self.panels.renew()

    def showParameters(self):
        from NeuralRegistrationLib.Register.Parameters import RegisterParameters
        from NeuralRegistrationLib.Scene.ParameterNodes import wrap

        parameters = wrap(RegisterParameters, self.logic.getParameterNode())
        self.registerPanel.setParameters(parameters)

    def onPackagesInstalled(self):
        self.panels.reload()


class NeuralRegistrationLogic(ScriptedLoadableModuleLogic):
    """Registration of nodes, for the panel, scripts and the Python console."""

    def register(self, fixedNode, movingNode, *args, **settings):
        """Register two volume nodes; settings and result: `NeuralRegistrationLib.Register.Logic`.

        The results are new nodes beside the fixed volume; nothing else in the scene changes.
        """
        from NeuralRegistrationLib.Register.Logic import register

        return register(fixedNode, movingNode, *args, **settings)

    def findBrain(self, volumeNode, **settings):
        """A mask of the brain beside a volume of a head; see `Register.BrainMask`."""
        from NeuralRegistrationLib.Register.BrainMask import findBrain

        return findBrain(volumeNode, **settings)

    def review(self, transformNode, **settings):
        """What can be said about a transform; see NeuralRegistrationLib.Review.Jobs."""
        from NeuralRegistrationLib.Review.Jobs import review

        return review(transformNode, **settings)

    def asPython(self, fixedNode, movingNode, *args, **settings):
        """The call of `register` with these settings, as text for the Python console."""
        from NeuralRegistrationLib.Register.AsPython import asPython

        return asPython(fixedNode, movingNode, *args, **settings)


class NeuralRegistrationTest(ScriptedLoadableModuleTest):
    """The main path inside Slicer: a known shift is found in the panel, shown and taken back."""

    def setUp(self):
        slicer.mrmlScene.Clear()

    def runTest(self, **kwargs):
        self.setUp()
        try:  # Reload and Test calls this without unittest
            self.test_aKnownShiftIsFound()
        finally:
            self.doCleanups()

    def test_aKnownShiftIsFound(self):
        import numpy as np
        from NeuralRegistrationLib import Dependencies

        panel = NeuralRegistrationWidget()
        self.addCleanup(panel.parent.close)
        self.addCleanup(panel.cleanup)
        self.delayDisplay("The panel is open")
        if missing := Dependencies.missingPackages():
            return self.delayDisplay(Dependencies.describe(missing))
        fixed, moving = (
            slicer.util.addVolumeFromArray(self.body(shift), None, name)
            for shift, name in ((0, "fixed"), (4, "moving"))
        )
        panel.enter()
        register = panel.registerPanel
        register.apply()
        while register.ui.cancelButton.enabled:
            slicer.app.processEvents()
        assert register.ui.revertButton.enabled, register.ui.statusLabel.text
        warped = slicer.util.getNode("moving on fixed")
        before, after = (
            np.abs(slicer.util.arrayFromVolume(node) - slicer.util.arrayFromVolume(fixed)).mean()
            for node in (moving, warped)
        )
        assert after < 0.3 * before, f"{before} became {after}"
        register.revert()
        assert warped.GetScene() is None, "Revert left the warped volume behind"
        self.delayDisplay("The shift was found and taken back")

    def body(self, shift):
        """A small ellipsoid with a texture, shifted by some voxels."""
        import numpy as np

        k, j, i = np.mgrid[:28, :28, :28] - 13.5
        x = i - shift
        inside = (x / 9) ** 2 + (j / 11) ** 2 + (k / 8) ** 2 < 1
        return inside * (100 + 30 * np.sin(x / 2.5) * np.cos(j / 3) + 20 * np.sin(k / 2 + 1))
