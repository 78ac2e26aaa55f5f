"""The kinds of jobs that a worker knows, and the function of each.

A function takes the job's arguments, as `unpack` gives them, and a progress, and returns what
`pack` takes. It raises RegistrationError, and Cancelled never by itself: a job is cancelled by
ending its process.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neuralreg.errors import InvalidOption
from neuralreg.progress import Progress

if TYPE_CHECKING:
    from neuralreg.registration.options import RegistrationOptions
    from neuralreg.worker.messages import RegisterJob

Function = Callable[[Mapping[str, Any], Progress], object]

KINDS = {
    "register": "neuralreg.worker.jobs:run_registration",
    "register_files": "neuralreg.worker.file_jobs.pair_job:register_files",
    "review": "neuralreg.worker.jobs:run_review",
    "robustness": "neuralreg.worker.jobs:run_robustness",
    "download": "neuralreg.worker.jobs:run_download",
    "verify": "neuralreg.worker.jobs:run_verification",
    "import": "neuralreg.worker.jobs:run_import",
    "own_model": "neuralreg.worker.jobs:run_own_model",
    "dataset": "neuralreg.worker.dataset_job:write_dataset",
    "runs": "neuralreg.worker.jobs:run_list_of_runs",
    "predict": "neuralreg.worker.jobs:run_prediction",
    "brain_mask": "neuralreg.worker.jobs:run_brain_mask",
    "brain_labels": "neuralreg.worker.jobs:run_brain_labels",
    "correction": "neuralreg.worker.scene_jobs.correction_job:correct",
    "label_check": "neuralreg.worker.scene_jobs.label_check_job:check",
    "sequence": "neuralreg.worker.scene_jobs.sequence_job:register_frames",
    "template": "neuralreg.worker.scene_jobs.template_job:build",
    "transform_file": "neuralreg.worker.scene_jobs.transform_file_job:write",
    "report": "neuralreg.worker.jobs:run_report",
    "study_scene": "neuralreg.studies.execution.module_jobs:write_scene",
    "study_plan": "neuralreg.studies.execution.module_jobs:plan",
    "study_run": "neuralreg.studies.execution.module_jobs:run",
    "study_worklist": "neuralreg.studies.execution.module_jobs:write_worklist",
}


def function_of(kind: str) -> Function:
    """The function that does a job of this kind.

    Raises:
        InvalidOption: for an unknown kind.
    """
    if kind not in KINDS:
        raise InvalidOption(
            "there is no such kind of job", got=f"'{kind}'", wanted=", ".join(sorted(KINDS))
        )
    module, name = KINDS[kind].split(":")
    function: Function = getattr(importlib.import_module(module), name)
    return function


def run_registration(arguments: Mapping[str, Any], progress: Progress) -> object:
    """A registration; the arguments are those of `RegisterJob`."""
    from neuralreg.worker.register_job import run

    return run(register_job(arguments), progress)[0]


def register_job(arguments: Mapping[str, Any]) -> RegisterJob:
    """The job of arguments by name; options may be a mapping, with the model beside or in it.

    Raises:
        InvalidOption: for a name or a value that no job has.
    """
    from neuralreg.worker.messages import RegisterJob

    parts = {**arguments, "options": _options(arguments)}
    parts.pop("model", None)
    try:
        return RegisterJob(**parts)
    except TypeError as error:
        raise InvalidOption("these are not the arguments of a job", got=str(error)) from error


def _options(arguments: Mapping[str, Any]) -> RegistrationOptions:
    from neuralreg.registration.options import USUAL, RegistrationOptions

    options = arguments.get("options", USUAL)
    if not isinstance(options, RegistrationOptions):
        options = RegistrationOptions.from_record(options)
    return options.replace(model=arguments["model"]) if "model" in arguments else options


def run_brain_mask(arguments: Mapping[str, Any], progress: Progress) -> object:
    """Where the brain is in a head: the mask (z, y, x), 1 inside, and its grid.

    head: what was handed over, or an image file. model, device: as `brain_mask` takes them.
    """
    from neuralreg.registration.brain.brain_mask import brain_mask
    from neuralreg.worker.shared_images import image_of

    progress(0.0, "reading the image")
    head = image_of(arguments["head"])
    how = {name: arguments[name] for name in ("model", "device") if name in arguments}
    brain = brain_mask(head, **how, progress=progress)
    return {
        "mask": brain.mask.data[0].byte().numpy(),
        "grid": brain.mask.grid,
        "liters": brain.liters,
        "warnings": (*map(str, head.remarks), *brain.warnings),
    }


def run_brain_labels(arguments: Mapping[str, Any], progress: Progress) -> object:
    """The structures of a brain: labels (z, y, x), their grid, and a row for each structure.

    head: what was handed over, or an image file. model, sides, device: as `label_brain` takes them.
    """
    from neuralreg.registration.brain.structures import label_brain
    from neuralreg.worker.shared_images import image_of

    progress(0.0, "reading the image")
    head = image_of(arguments["head"])
    how = {name: arguments[name] for name in ("model", "sides", "device") if name in arguments}
    brain = label_brain(head, **how, progress=progress)
    return {
        "labels": brain.labels.data[0].numpy(),
        "grid": brain.labels.grid,
        "structures": [
            {**row, "color": segment.color}
            for row, segment in zip(brain.table(), brain.segments, strict=True)
        ],
        "warnings": (*map(str, head.remarks), *brain.warnings),
    }


def run_review(arguments: Mapping[str, Any], progress: Progress) -> object:
    """A review; the arguments are those of `ReviewJob`. Needs no torch."""
    from neuralreg.worker.messages import ReviewJob
    from neuralreg.worker.review_job import run

    try:
        job = ReviewJob(**arguments)
    except TypeError as error:
        raise InvalidOption("these are not the arguments of a job", got=str(error)) from error
    return run(job, progress)


def run_report(arguments: Mapping[str, Any], progress: Progress) -> object:
    """The files of a review's report. Needs no torch.

    report, decision: as their records. path, formats, title: as `write_report` takes them.
    pictures: bytes of PNGs as arrays, by name. files: what was reviewed, by role; their hashes go
    into the report. provenance: what else is known, by name.
    """
    from neuralreg.review.report.formats import write_report
    from neuralreg.review.report_model import QualityReport
    from neuralreg.review.workflow.decision import Decision
    from neuralreg.review.workflow.provenance import provenance_of

    progress(0.0, "reading where the images came from")
    files = {role: Path(path) for role, path in arguments["files"].items()}
    provenance = {**provenance_of(files), **arguments["provenance"]}
    progress(0.5, "writing the report")
    decision = arguments["decision"]
    written = write_report(
        QualityReport.from_record(arguments["report"]),
        arguments["path"],
        pictures={name: array.tobytes() for name, array in arguments["pictures"].items()},
        provenance=provenance,
        decision=None if decision is None else Decision(**decision),
        title=arguments["title"],
        formats=arguments["formats"],
    )
    return {"written": [str(path) for path in written]}


def run_robustness(arguments: Mapping[str, Any], progress: Progress) -> object:
    """Where a registration depends on its start: the spread (z, y, x) in mm, with its grid.

    fixed, moving: what was handed over, or image files. starts, seed: see `robustness`.
    model, options: those of a registration.
    """
    from neuralreg.review.workflow.robustness import Perturbation, robustness
    from neuralreg.worker.messages import Voxels
    from neuralreg.worker.shared_images import image_of

    options = _options(arguments)
    progress(0.0, "reading the images")
    result = robustness(
        image_of(arguments["fixed"]),
        image_of(arguments["moving"]),
        options,
        starts=int(arguments.get("starts", 4)),
        perturbation=Perturbation(seed=int(arguments.get("seed", 0))),
        progress=progress,
    )
    return {
        "spread": Voxels(result.spread_mm, result.grid),
        "starts": result.starts,
        "seconds": result.seconds,
    }


def run_download(arguments: Mapping[str, Any], progress: Progress) -> object:
    """A model's weights, fetched and checked, so that it runs offline later."""
    from neuralreg.zoo.registry import model_card
    from neuralreg.zoo.weights import fetch

    accepted = bool(arguments.get("accept_licence", False))
    path = fetch(model_card(arguments["model"]), progress=progress, accept_licence=accepted)
    return {"model": arguments["model"], "path": path and str(path)}


def run_verification(arguments: Mapping[str, Any], progress: Progress) -> object:
    """What is known about a model's file, which is read as a whole for that."""
    from neuralreg.zoo.registry import model_card
    from neuralreg.zoo.weights import verify

    progress(0.0, "checking the file")
    return {"model": arguments["model"], "found": verify(model_card(arguments["model"]))}


def run_import(arguments: Mapping[str, Any], progress: Progress) -> object:
    """A model's weights, copied from a file or folder that the user has."""
    from neuralreg.zoo.registry import model_card
    from neuralreg.zoo.weights import import_weights

    progress(0.0, "reading the file")
    import_weights(Path(arguments["path"]), [model_card(arguments["model"])])
    return {"model": arguments["model"]}


def run_own_model(arguments: Mapping[str, Any], progress: Progress) -> object:
    """A model of the user's own: the card in a file and the files beside it, tried and copied."""
    from neuralreg.zoo.user_models import import_card

    progress(0.0, "trying the model")
    trusted = arguments.get("trusted", ())
    card = import_card(Path(arguments["path"]), versioned=True, trusted=trusted)
    return {"model": card.name, "title": card.title}


def run_list_of_runs(arguments: Mapping[str, Any], progress: Progress) -> object:
    """The trainings below a folder, as records of `RunSummary`; settings as text."""
    from dataclasses import asdict

    from neuralreg.training.results.runs_table import list_runs

    progress(0.0, "reading the runs")
    records = [asdict(summary) for summary in list_runs(Path(arguments["folder"]))]
    for record in records:
        record["settings"] = {key: str(value) for key, value in record["settings"].items()}
    return {"runs": records}


def run_prediction(arguments: Mapping[str, Any], progress: Progress) -> object:
    """The test pairs of a run through its model; those of its validation where it has no others.

    run: its folder. output: the folder for the results. trusted: SHA-256 of code of the run that
    the user agrees to. device: as for training.
    """
    from neuralreg.training.configuration import read_configuration
    from neuralreg.training.loop.run import configuration_of
    from neuralreg.training.results.metrics import summary
    from neuralreg.training.results.predict import PredictOptions, predict
    from neuralreg.training.results.prediction_folder import require_no_predictions

    run, output = Path(arguments["run"]), Path(arguments["output"])
    path = configuration_of(run)
    config = read_configuration([path], run=path, trusted=arguments.get("trusted", ()))
    splits = ("test", "valid", "train")
    split = next(name for name in splits if getattr(config.dataset, name) is not None)
    require_no_predictions(output)
    options = PredictOptions(split, device=arguments.get("device", "auto"))
    rows = predict(config, run, output, options, progress=progress)
    return {"split": split, "rows": len(rows), "means": dict(summary(rows))}
