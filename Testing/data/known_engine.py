"""A worker whose registrations are known beforehand and need no time."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from neuralreg.errors import UnwritableOutput
from neuralreg.geometry.field import DisplacementField
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.linear import LinearTransform
from neuralreg.registration.options import NAMES
from neuralreg.registration.result import Outcome, RegistrationResult
from neuralreg.review.report_model import Finding, Location, QualityReport, SegmentOverlap
from neuralreg.worker import jobs, server
from neuralreg.worker.messages import Field, Review, ReviewJob, Voxels
from neuralreg.worker.register_job import run
from neuralreg.worker.shared_images import field_of, image_of, voxels_of

SHIFT_MM = (3.0, -5.0, 7.0)


def shifted(grid, sign: float) -> DisplacementField:
    """A constant field of at most as many samples as the default engine's get for Slicer."""
    grid = grid.pad(4)
    grid = grid.resize([min(n, 190) for n in grid.size])
    vectors = torch.tensor(SHIFT_MM).view(3, 1, 1, 1).expand(3, *grid.shape)
    return DisplacementField(sign * vectors.contiguous(), grid)


def known(fixed, moving, options, *, progress, **given) -> RegistrationResult:
    """A shift. Its provenance holds what was asked for; the model "slow" takes its time."""
    model, seconds = options.model, options.model_options.get("seconds", 0.0)
    for step in range(10):
        progress(step / 10, f"stage {step}")
        time.sleep(seconds / 10)
    asked = {name: repr(getattr(options, name)) for name in NAMES}
    for name in ("fixed_mask", "moving_mask"):
        mask = given.get(name)
        asked[name] = None if mask is None else int((mask.data > 0).sum())
    if given.get("initial") is not None:
        asked["initial"] = list(given["initial"].TransformPoint((-10.0, -10.0, 10.0)))
    return RegistrationResult(
        field=shifted(fixed.grid, 1.0),
        inverse_field=shifted(moving.grid, -1.0),
        linear=LinearTransform(np.eye(4)),
        model=model,
        outcome=Outcome("none", *[0.5] * 9),
        warnings=("this was known",),
        timings={"all": 0.0},
        provenance={
            "asked": asked,
            "choice": f"{model} was asked for" if model != "auto" else "auto: it was known",
            "choice reason": "named" if model != "auto" else "none suits",
            "gray": float(moving.data.double().mean()),
        },
    )


def registered(arguments, progress):
    return run(jobs.register_job(arguments), progress, engine=known)[0]


def brain_found(arguments, progress):
    """The middle of the image; the answer tells nothing of what is in it."""
    head = image_of(voxels_of(arguments["head"]))
    progress(0.5, "looking")
    mask = np.zeros(head.grid.shape, np.uint8)
    mask[tuple(slice(n // 4, 3 * n // 4) for n in mask.shape)] = 1
    note = f"look at it, made by {arguments['model']}"
    return {"mask": mask, "grid": head.grid, "liters": 1.25, "warnings": (note,)}


def brain_labeled(arguments, progress):
    """Two structures side by side, in the middle of the image."""
    head = image_of(voxels_of(arguments["head"]))
    progress(0.5, "layer 1")
    labels = np.zeros(head.grid.shape, np.uint8)
    depth, height, width = labels.shape
    middle = labels[depth // 4 : depth // 2, height // 4 : height // 2]
    middle[..., : width // 2], middle[..., width // 2 :] = 107, 207
    rows = [
        {"label": 107, "name": "Left-Thalamus", "volume_ml": 7.0, "color": (0, 118, 14)},
        {"label": 207, "name": "Right-Thalamus", "volume_ml": 7.5, "color": (0, 118, 14)},
        {"label": 13, "name": "Brain-Stem", "volume_ml": 0, "color": (119, 159, 176)},
    ]
    warnings = ("look at the labels",)
    return {"labels": labels, "grid": head.grid, "structures": rows, "warnings": warnings}


def line(name, verdict, value, group, **more) -> Finding:
    """A line of a report."""
    return Finding(
        name=name,
        title=name.capitalize(),
        value=value,
        unit=more.pop("unit", "mm"),
        where="the body",
        count=1234,
        counted="voxels",
        verdict=verdict,
        source="known beforehand",
        words=f"{name} is {value}",
        group=group,
        **more,
    )


def reviewed(arguments, progress):
    """A report whose places and numbers tell what was handed over."""
    job = ReviewJob(**arguments)
    progress(0.5, "measuring")
    time.sleep(0.05)
    way = field_of(job.transform) if isinstance(job.transform, Field) else job.transform
    told = repr(way.vectors.mean((1, 2, 3)).tolist()) if isinstance(job.transform, Field) else way
    labels = {} if job.fixed_labels is None else dict(job.names)
    segments = tuple(
        SegmentOverlap(int(n), name, "measured", None, None) for n, name in labels.items()
    )
    lines = (
        line("folding", "fail", 1.5, "jacobian", unit="%", limit=0.0),
        line("similarity", "shown", 0.8, "agreement", before=0.2, unit=""),
        line("landmarks", "not measured", None, "landmarks"),
        line("consistency", "pass", 0.4, "consistency", limit=3.0),
    )
    worst = (
        Location("folding", (10.0, 12.0, 8.0), -0.2, "", "the body", "Folded here", 2.0),
        Location("residual", (14.0, 8.0, 6.0), 4.0, "mm", "", "Edges are apart", 1.1),
    )
    report = QualityReport(
        "fail",
        job.detail,
        lines[:2] if job.detail == "quick" else lines,
        segments,
        None,
        (),
        worst,
        (f"way {told}", f"points {list(job.fixed_points)} {list(job.moving_points)}"),
        (),
        str(told),
        "known",
        "0",
        {},
    )
    maps = {}
    for number, name in enumerate(job.maps):
        values = np.full(job.fixed.grid.shape, number, np.float32)
        maps[name] = Voxels(values, job.fixed.grid)
    for name, of, onto in (("warped", "moving", "fixed"), ("carried_back", "fixed", "moving")):
        if name in maps:
            data = np.asarray(getattr(job, of).data, np.float32)
            maps[name] = Voxels(data, getattr(job, onto).grid)
    return Review(report.as_record(), maps)


def spread(arguments, progress):
    """The same everywhere: how many starts there were."""
    progress(0.5, "starting again")
    grid = arguments["fixed"].grid
    return {"spread": Voxels(np.full(grid.shape, arguments["starts"], np.float32), grid)}


def labels_checked(arguments, progress):
    """One more row, in which one structure is worse."""
    progress(0.5, "layer 1")
    report = QualityReport.from_record(arguments["report"])
    words = f"Thalamus is worse in {arguments['moving_name']}"
    row = replace(line("label_check", "attention", 0.6, "agreement", unit=""), words=words)
    report = replace(report, lines=(*report.lines, row))
    return {"report": report.as_record(), "structures": [("Thalamus", 0.8, 0.6)]}


def build_known_average(arguments, progress):
    """An average whose gray value is the number of the round; the third one settles."""
    folder = Path(arguments["folder"])
    if (folder / "template.nii.gz").exists():
        raise UnwritableOutput("the folder holds a template already", where=str(folder))
    progress(0.5, "deformable: mouse")
    time.sleep(0.05)
    number = arguments["rounds"]
    names = sorted(path.name for path in (folder / "_inputs" / "train" / "images").iterdir())
    grid = Grid((4, 5, 6), (1, 1, 1), (0, 0, 0), tuple(np.eye(3).ravel()))
    finished = number in (arguments["most"], 3)
    if finished:
        (folder / "template.nii.gz").write_bytes(b"an image")
    return {
        "image": Voxels(np.full(grid.shape, number, np.float32), grid),
        "rounds": [{"number": number, "shape_change_mm": 1.5, "sharpness": 0.1}],
        "similarities": {},
        "notes": [" and ".join(names)],
        "finished": finished,
    }


def fetch_known_network(arguments, progress):
    """No network: what was asked for."""
    return {"model": arguments["model"], "path": None}


jobs.KINDS.update(
    label_check="__main__:labels_checked",
    download="__main__:fetch_known_network",
    template="__main__:build_known_average",
    register="__main__:registered",
    brain_mask="__main__:brain_found",
    brain_labels="__main__:brain_labeled",
    review="__main__:reviewed",
    robustness="__main__:spread",
)
server.main()
