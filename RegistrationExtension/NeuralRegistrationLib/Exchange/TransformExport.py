"""A button whose menu writes a transform node for the program that is chosen."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import qt
from slicer.i18n import tr as _

from NeuralRegistrationLib import Dependencies
from NeuralRegistrationLib.Exchange import TransformFiles
from NeuralRegistrationLib.Paths import proposedPath
from NeuralRegistrationLib.Scene import Geometry
from NeuralRegistrationLib.Worker.RunJob import runJob

PROGRAMS = {  # as `neuralreg convert --to` calls it: in words, endings of a matrix, of a field
    "itk": ("ITK, ANTs, 3D Slicer", ".tfm .h5", ".h5 .nii.gz .nrrd .mha"),
    "elastix": ("elastix", ".txt", ".txt"),
    "fsl": ("FSL", ".mat .txt", ".nii.gz .nii"),
    "freesurfer": ("FreeSurfer", ".lta", ""),
    "minc": ("MINC", ".xfm", ""),
    "afni": ("AFNI", ".1D", ".nii.gz .nii"),
    "niftyreg": ("NiftyReg", ".txt .mat", ".nii.gz .nii"),
    "spm": ("SPM", ".nii", ".nii"),
    "mrtrix": ("MRtrix", ".txt", ".mif .nii.gz"),
    "learn2reg": ("Learn2Reg", ".nii.gz .npz", ".nii.gz .npz"),
    "x5": ("X5 (BIDS)", ".x5", ".x5"),
    "dicom": ("DICOM", ".dcm", ".dcm"),
}


class TransformExport:
    """Asks for a file and lets the worker write it.

    button: gets the menu. transformNode: gives the node, or None.
    onSay: called with a sentence for the status line. queue: gives that of the worker.
    """

    def __init__(
        self,
        button,
        transformNode: Callable,
        onSay: Callable[[str], None],
        queue: Callable | None = None,
    ) -> None:
        self._button, self._transformNode = button, transformNode
        self._onSay, self._queue = onSay, queue
        self.menu = qt.QMenu(button)
        for program, (words, *_endings) in PROGRAMS.items():
            action = self.menu.addAction(words)
            action.connect("triggered()", partial(self.export, program))
        button.setMenu(self.menu)

    def export(self, program: str) -> None:
        """Ask for the file, and write the transform for this program."""
        node = self._transformNode()
        if node is None or node.GetScene() is None:
            self._onSay(_("There is no transform to export."))
            return
        words, *endings = PROGRAMS[program]
        bends = Geometry.linearBetween(None, node) is None
        suffixes = endings[bends].split()
        if not suffixes:
            self._onSay(
                _("{program} has no file for a transform that bends.").format(program=words)
            )
            return
        start = proposedPath(f"{node.GetName()}{suffixes[0]}")
        patterns = " ".join(f"*{suffix}" for suffix in suffixes)
        path = qt.QFileDialog.getSaveFileName(
            self._button, _("Transform for {program}").format(program=words), start,
            f"{words} ({patterns})",
        )  # fmt: skip
        if path:
            self.write(node, path, program)

    def write(self, node, path: str, program: str) -> None:
        """Let the worker write a file."""
        if missing := Dependencies.missingPackages():
            self._onSay(Dependencies.describe(missing))
            return
        self._onSay(_("Writing {file} ...").format(file=Path(path).name))
        runJob(
            TransformFiles.KIND,
            TransformFiles.argumentsOf(node, path, program),
            _asItIs,
            wait=False,
            queue=self._queue,
            scene=node.GetScene(),
            onDone=self._finish,
        )

    def _finish(self, job) -> None:
        if job.state != "done":
            self._onSay(_("Cancelled.") if job.state == "cancelled" else str(job.error))
            return
        written = _("Written: {file}.").format(file=Path(job.result["path"]).name)
        notes = (f"{note[:1].upper()}{note[1:]}." for note in job.result["notes"])
        self._onSay(" ".join((written, *notes)))


def _asItIs(value):
    yield
    return value
