"""A worker whose registrations are known beforehand and need no time."""

from __future__ import annotations

import time

import numpy as np
import torch
from neuralreg.geometry.field import DisplacementField
from neuralreg.geometry.linear import LinearTransform
from neuralreg.result import Outcome, RegistrationResult
from neuralreg.worker import jobs, server
from neuralreg.worker.records import RegisterJob
from neuralreg.worker.register import run

SHIFT_MM = (3.0, -5.0, 7.0)


def shifted(grid, sign: float) -> DisplacementField:
    """A constant field of at most as many samples as the default engine's get for Slicer."""
    grid = grid.padded(4)
    grid = grid.resized([min(n, 190) for n in grid.size])
    vectors = torch.tensor(SHIFT_MM).view(3, 1, 1, 1).expand(3, *grid.shape)
    return DisplacementField(sign * vectors.contiguous(), grid)


def known(fixed, moving, model, *, progress, seconds=0.0, **options) -> RegistrationResult:
    """A shift. Its provenance tells what was asked for."""
    for step in range(10):
        progress(step / 10, f"stage {step}")
        time.sleep(seconds / 10)
    asked = {name: repr(value) for name, value in options.items() if "mask" not in name}
    for name in ("fixed_mask", "moving_mask"):
        mask = options.get(name)
        asked[name] = None if mask is None else int((mask.data > 0).sum())
    if options.get("initial") is not None:
        asked["initial"] = list(options["initial"].TransformPoint((-10.0, -10.0, 10.0)))
    return RegistrationResult(
        field=shifted(fixed.grid, 1.0),
        inverse_field=shifted(moving.grid, -1.0),
        linear=LinearTransform(np.eye(4)),
        model=model,
        outcome=Outcome("none", *[0.5] * 9),
        warnings=("this was known",),
        timings={"all": 0.0},
        provenance={"asked": asked, "gray": float(moving.data.double().mean())},
    )


def registered(arguments, progress):
    return run(RegisterJob(**arguments), progress, engine=known)[0]


jobs.KINDS["register"] = "__main__:registered"
server.main()
