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
import time
from collections.abc import Callable

from neuralreg.progress import Progress, silent
from neuralreg.registration.options import USUAL, RegistrationOptions
from neuralreg.worker.serialization import at_once

from NeuralRegistrationLib.Register.Request import Request
from NeuralRegistrationLib.Register.ResultNodes import Registered, deliver
from NeuralRegistrationLib.Worker.RunJob import applicationRuns, runJob


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
    """Register two volume nodes where they are in the world, and put the results beside the fixed.

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
        return _registerHere(request, progress, engine)
    start = time.monotonic()

    def deliverTimed(registration):
        done = yield from deliver(request, registration)
        done.seconds = time.monotonic() - start
        return done

    return runJob(
        "register",
        request.job(),
        deliverTimed,
        wait=wait,
        check=request.requireInputs,
        scene=request.scene,
        onProgress=_follower(progress, onProgress),
        onDone=onDone,
    )


def _registerHere(request: Request, progress: Progress, engine: Callable | None) -> Registered:
    """Computed in this process, with the core's own result at the end."""
    import neuralreg
    from neuralreg.worker.register_job import run

    start = time.monotonic()
    job = at_once(request.job())
    registration, result = run(job, progress, engine or neuralreg.register)
    done = at_once(deliver(request, registration))
    done.result = dataclasses.replace(result, warnings=done.result.warnings)
    done.seconds = time.monotonic() - start
    return done


def _follower(progress: Progress, onProgress):
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
