"""A job of the core for panels, scripts and the console: in the computing process, or in this one.

In Slicer the computing process works meanwhile, and the window stays alive. Where no application
runs there is no window to keep alive: the job is done in this process, which saves another one.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import slicer
from neuralreg.errors import InvalidOption
from neuralreg.progress import Progress, silent
from neuralreg.worker.serialization import Steps, arguments_of, at_once


def applicationRuns() -> bool:
    """Whether there is an event loop, and so a window to keep alive."""
    return "qt" in sys.modules and getattr(slicer, "app", None) is not None


def runJob(
    kind: str,
    arguments: Any,
    deliver: Callable[[Any], Steps],
    *,
    wait: bool = True,
    queue: Callable[[], Any] | None = None,
    progress: Progress = silent,
    **call,
):
    """What `deliver` makes of a job's value; with wait=False, in Slicer only, the job at once.

    arguments, deliver, call: as `Queue.submit` takes them. queue: gives the queue to use, that of
    registrations unless given. progress: of a job that is done in this process.
    Raises RegistrationError.
    """
    if not applicationRuns():
        if not wait:
            raise InvalidOption(
                "without waiting, a job needs Slicer's event loop", remedy="Take wait=True."
            )
        from neuralreg.worker.jobs import function_of

        return at_once(deliver(function_of(kind)(arguments_of(at_once(arguments)), progress)))
    if queue is None:
        from NeuralRegistrationLib.Worker.Queue import queue
    job = queue().submit(kind, arguments, deliver=deliver, **call)
    return job.waitForResult() if wait else job
