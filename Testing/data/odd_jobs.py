"""A worker with kinds of jobs that misbehave on purpose: run it instead of neuralreg.worker."""

from __future__ import annotations

import os
import subprocess
import sys
import time

from neuralreg.errors import InvalidImage
from neuralreg.worker import jobs, server


def family(arguments, progress):
    """Starts children with children, and waits."""
    code = "import subprocess, sys, time; print(1, flush=True)\n"
    inner = [sys.executable, "-c", code + "time.sleep(600)"]
    outer = f"{code}subprocess.Popen({inner!r}); time.sleep(600)"
    subprocess.Popen([sys.executable, "-c", outer])
    subprocess.Popen([sys.executable, "-c", outer], start_new_session=True)
    progress(0.5, "waiting")
    time.sleep(600)


def count(arguments, progress):
    """How many jobs this process has done before."""
    count.done += 1
    return {"before": count.done - 1, "pid": os.getpid()}


count.done = 0


def refuse(arguments, progress):
    raise InvalidImage("this is refused", where="here", got="that", remedy="Do something else.")


def stumble(arguments, progress):
    raise ZeroDivisionError("nobody thought of it")


def chatter(arguments, progress):
    """Prints as libraries do, from Python and from C."""
    sys.stdout.write("python says hello\n")
    os.write(1, b"the C library says hello\n")
    subprocess.run(["echo", "a child says hello"], check=True)
    return {"fine": True}


def garbage(arguments, progress):
    """Breaks into the stream of messages, as a launcher that talks would."""
    progress(0.1, "working")
    streams[0].write(b"segmentation fault or so\n")
    streams[0].flush()
    time.sleep(600)


def hog(arguments, progress):
    """Takes more memory than there is."""
    import numpy as np

    return {"sum": float(np.ones((1 << 40) // 8).sum())}


def freeze(arguments, progress):
    """Gives no sign of life any more."""
    import signal

    os.kill(os.getpid(), signal.SIGSTOP)


def stages(arguments, progress):
    for step in range(10):
        progress(step / 10, f"stage {step}")
        time.sleep(arguments.get("seconds", 0.0))
    return arguments


for function in (family, count, refuse, stumble, chatter, garbage, hog, freeze, stages):
    jobs.KINDS[function.__name__] = f"__main__:{function.__name__}"
own_output = server._own_output


def kept_output():
    streams.append(own_output())
    return streams[0]


streams = []
server._own_output = kept_output
server.main()
