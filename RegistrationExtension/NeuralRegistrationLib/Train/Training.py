"""One training at a time: images are written and checked, a network learns, is stopped, goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import slicer
from neuralreg.errors import Cancelled, RegistrationError
from neuralreg.worker.serialization import Steps
from slicer.i18n import tr as _

from NeuralRegistrationLib.Train import RunFolder
from NeuralRegistrationLib.Train.Process import TrainProcess
from NeuralRegistrationLib.Train.RunView import RunView

_AT_ONCE = "ended at once"
_IDLE_S = 30.0  # a worker for images and models is seldom needed twice


class Training:
    """What is under way, and what is said about it.

    onChecked: takes what a check of the data came to. onChanged: called when something
    begins or ends.
    """

    def __init__(
        self, view: RunView, onChecked: Callable[[dict], None], onChanged: Callable[[], None]
    ) -> None:
        self._view, self._tellChecked, self._changed = view, onChecked, onChanged
        self.process, self.job, self._queue = None, None, None
        self.stopping, self._problems, self._checks = False, 0, False
        self._remarks: tuple[str, ...] = ()

    @property
    def busy(self) -> bool:
        """Whether images are written, data checked, a network trained, or a model tried."""
        return self.process is not None or self.job is not None

    def begin(
        self, name: str, folder: str, arguments: list[str], images: Steps | None = None
    ) -> None:
        """Start a process. images: the job that writes its images first.

        arguments: of `neuralreg train`. Raises WorkerFailed without a Python.
        """
        if images is None:
            self._launch(name, folder, arguments)
            return
        self._view.status.say(_("Writing the images …"))
        self.submit(
            "dataset",
            images,
            lambda result: self._launch(name, folder, arguments, result["remarks"]),
            scene=slicer.mrmlScene,
        )

    def submit(self, kind: str, arguments: Any, onResult: Callable[[Any], None], scene=None):
        """Let a worker do a job. onResult: called with what it gave; it may raise."""
        from NeuralRegistrationLib.Worker.Queue import Queue

        def onEnd(job) -> None:
            self.job = None
            self._view.end()
            try:
                if job.state == "done":
                    onResult(job.result)
                elif job.state == "cancelled":
                    self._view.status.say(_nothing())
                else:
                    self._view.status.sayError(job.error, job.log)
            except RegistrationError as error:
                self._view.status.sayError(error)
            self._changed()

        self._queue = self._queue or Queue(idleSeconds=_IDLE_S)
        self.job = self._queue.submit(
            kind, arguments, scene=scene, onDone=onEnd, onProgress=self._view.showJob
        )
        self._changed()

    def _launch(
        self, name: str, folder: str, arguments: list[str], remarks: Sequence[str] = ()
    ) -> None:
        """Start a process. remarks: on the images that were written for it."""
        process = TrainProcess(self._onMessage, self._onEnd)
        process.start(arguments)
        self.process, self.stopping, self._problems = process, False, 0
        self._remarks = tuple(remarks)
        self._checks = arguments[-1] == "--check"
        self._view.begin(name, folder)
        self._view.status.say(_("Starting: reading the images …"))
        self._changed()

    def stop(self) -> None:
        """End the step and save; a second time, end at once."""
        if self.job is not None:
            self.job.cancel()
        elif self.stopping:
            self.process.end()
            self._onEnd(Cancelled(_AT_ONCE))
        elif self.process is not None:
            self.stopping = self._view.stopping = True
            self.process.askToStop()
            self._view.status.say(_("Stopping after this step …"))
            self._changed()

    def _onMessage(self, message: dict) -> None:
        if "problems" in message:
            self._problems = len(message["problems"])
            self._tellChecked({**message, "remarks": [*self._remarks, *message["remarks"]]})
        elif "step" in message:
            self._view.report(message)

    def _onEnd(self, error: RegistrationError | None) -> None:
        process, self.process = self.process, None
        self._view.end()
        status = self._view.status
        if self._problems:
            text = _("Problems with the data, see above: {count}.").format(count=self._problems)
            status.sayFailure(text, _("Correct or remove these files."))
        elif error is None and self._checks:
            status.say(_("The data can be trained on."))
        elif error is None:
            status.say(_("Done: {summary}.").format(summary=self._view.summary))
        elif isinstance(error, Cancelled):
            status.say(_stopText(self._view.folder, error.what == _AT_ONCE))
        else:
            status.sayError(error, process.log.text)
        self.stopping = False
        self._changed()

    def leave(self) -> None:
        """Nobody listens any more: a training saves and ends by itself."""
        if self.process is not None:
            self.process.retire()
            self.process = None

    def close(self) -> None:
        """End all that is under way; a training may save if that is quick."""
        if self.process is not None:
            self.process.endSoon()
            self.process = None
        if self._queue is not None:
            self._queue.close()


def _nothing() -> str:
    return _("Stopped. Nothing was trained.")


def _stopText(folder: str, atOnce: bool) -> str:
    """What a run that was ended leaves, in words."""
    if not RunFolder.canContinue(folder):
        return _nothing()
    if atOnce:
        return _("Ended at once. Continue resumes from the last checkpoint.")
    return _("Stopped and saved. Continue resumes.")
