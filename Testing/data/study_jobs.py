"""A worker whose rows take no registration: what a row does is the beginning of its id."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

from neuralreg.errors import InvalidImage, OutOfMemory
from neuralreg.io.files import sha256_of, write_whole
from neuralreg.worker import jobs, server

SECONDS = float(os.environ.get("ROW_SECONDS", "0.02"))


def register_files(arguments, progress):
    progress(0.0, "beginning")
    folder = Path(arguments["folder"])
    what = folder.name.split("-")[0]
    first = note(folder, "begins") == 1
    if what == "refused":
        raise InvalidImage("this is refused", where=folder.name, got="that", wanted="this")
    if what in ("dies", "diesonce"):
        (folder / ".writing-vm-1-x").mkdir(parents=True, exist_ok=True)  # a draft
    if what == "dies" or (what == "diesonce" and first):
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "hungry" and first:
        raise OutOfMemory("there is too little memory for this job")
    progress(0.5, "waiting")
    time.sleep(600 if what == "hangs" else SECONDS)
    folder.mkdir(exist_ok=True)
    outcome = {"similarity": "none", "similarity_final": 0.5}
    inputs = {role: {"sha256": sha256_of(Path(path))} for role, path in arguments["inputs"].items()}
    facts = {"model": "none", "warnings": [], "outcome": outcome, "inputs": inputs, "dice": {}}
    with write_whole(folder / "result.json") as draft:
        draft.write_text(json.dumps(facts))
    note(folder, "ends")
    full = "warped.nii.gz could not be made (it cannot be written to: got No space left on device)"
    failures = [full] if what == "fullonce" and first else []
    return {
        "failures": failures,
        "seconds": SECONDS,
        "memory_mb": 1.0,
        "verdict": "",
        "risk": None,
        "numbers": {},
    }


def note(folder, word):
    """Count how often a row began or ended; all processes write to one file."""
    log = folder.parent.with_name("log.txt")
    with log.open("a") as file:
        file.write(f"{folder.name} {word} {os.getpid()} {time.time()}\n")
    return log.read_text().count(f"{folder.name} {word} ")


def die_at_start(marks):
    """End the first two processes before they take a job."""
    number = len(list(marks.iterdir()))
    if number < 2:
        (marks / str(number)).touch()
        os.kill(os.getpid(), signal.SIGKILL)


if "DIES_AT_START" in os.environ:
    die_at_start(Path(os.environ["DIES_AT_START"]))
jobs.KINDS["register_files"] = "__main__:register_files"
server.main()
