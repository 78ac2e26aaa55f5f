"""Registration of nodes in a scene, for the panel, scripts and the Python console.

    from NeuralRegistrationLib import register

    done = register(getNode("MRHead"), getNode("Atlas"), segmentations=[getNode("Atlas labels")])
    print(done.result.outcome)

or, in Slicer, without waiting:

    def show(job):
        print(job.state, job.error or job.result.result.outcome)

    job = register(getNode("MRHead"), getNode("Atlas"), wait=False, onDone=show)

Nothing that was in the scene is changed or deleted, but for output nodes that were chosen;
`done.revert()` takes the results away again.
"""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Callable

import slicer
from neuralreg.errors import InvalidOption
from neuralreg.progress import Progress, silent
from neuralreg.registration.options import USUAL, RegistrationOptions
from neuralreg.worker.serialization import at_once

from NeuralRegistrationLib.Register.Request import Request
from NeuralRegistrationLib.Register.ResultNodes import Registered, delivered


def register(
    fixedNode,
    movingNode,
    options: RegistrationOptions | str = USUAL,
    *,
    wait: bool = True,
    onDone: Callable | None = None,
    onProgress: Callable | None = None,
    progress: Progress = silent,
    engine: Callable | None = None,
    **settings,
):
    """Register two volume nodes where they lie in the world, and put the results beside the fixed.

    options: what can be chosen, or only the name of a model. settings: those of
    `Request.Settings`, for what is taken from the scene and left there; everything else changes
    one of the options, as `preset`, `refinement` or `device`.

    wait=True gives a `Registered`, or raises RegistrationError and leaves the scene as it was.
    In Slicer the computing process works meanwhile, and the window stays alive. Where no
    application runs there is no window to keep alive: it is computed in this process, which saves
    starting another one. progress: called with a fraction and a stage; may raise Cancelled.

    wait=False gives a `Jobs.Job` at once, in Slicer only. onProgress, onDone: called with the job.

    engine: what computes in this process instead of `neuralreg.register`.
    """
    request = Request(fixedNode, movingNode, options, settings)
    if engine is not None or (wait and not applicationRuns()):
        return _here(request, progress, engine)
    job = _sent(request, _watching(progress, onProgress), onDone)
    return job.awaited() if wait else job


def applicationRuns() -> bool:
    """Whether there is an event loop, and so a window to keep alive."""
    return "qt" in sys.modules and getattr(slicer, "app", None) is not None


def _here(request: Request, progress: Progress, engine: Callable | None) -> Registered:
    import neuralreg
    from neuralreg.worker.register_job import run

    start = time.monotonic()
    job = at_once(request.job())
    registration, result = run(job, progress, engine or neuralreg.register)
    done = at_once(delivered(request, registration))
    done.result = dataclasses.replace(result, warnings=done.result.warnings)
    done.seconds = time.monotonic() - start
    return done


def _sent(request: Request, onProgress, onDone):
    if not applicationRuns():
        raise InvalidOption(
            "without waiting, a registration needs Slicer's event loop", remedy="Take wait=True."
        )
    from NeuralRegistrationLib.Worker.Queue import queue

    start = time.monotonic()

    def deliver(registration):
        done = yield from delivered(request, registration)
        done.seconds = time.monotonic() - start
        return done

    return queue().submit(
        "register",
        request.job(),
        deliver=deliver,
        check=request.requireInputs,
        scene=request.scene,
        onProgress=onProgress,
        onDone=onDone,
    )


def _watching(progress: Progress, onProgress):
    """One callback for both ways to follow a job."""
    from neuralreg.errors import Cancelled

    def follow(job) -> None:
        if onProgress is not None:
            onProgress(job)
        try:
            progress(job.progress.fraction, job.progress.stage)
        except Cancelled:
            job.cancel()

    return follow
