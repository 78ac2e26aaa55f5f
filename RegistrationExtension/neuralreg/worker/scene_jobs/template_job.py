"""The job "template": the average of volumes of a scene, a round at a time."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from neuralreg.errors import UnwritableOutput
from neuralreg.groups.subjects import read_subjects, select_alike
from neuralreg.groups.template import TemplateOptions, build_template
from neuralreg.groups.template_files import CACHE, write_template
from neuralreg.progress import Progress, stage
from neuralreg.registration.options import RegistrationOptions
from neuralreg.worker.group_record import record_of
from neuralreg.worker.messages import Voxels

TEMPLATE = "template.nii.gz"
INPUTS = "_inputs"  # in the folder: volumes of the scene, as files


def build(arguments: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """A template after so many rounds; a later job goes on with what an earlier one registered.

    Args:
        arguments: folder: of the results, with the images in `_inputs/train/images`; rounds:
            deformable ones, so far; most: after which the files are written; median: whether that
            is taken instead of the mean; options: record of those of each registration.
        progress: called with a fraction and a message.

    Returns:
        image, with its grid; rounds: one line each; similarities: by name; notes; finished: whether
        more rounds would change nothing or are not wanted: the files are in the folder then.

    Raises:
        UnwritableOutput: the folder holds a template already.
        RegistrationError: as `build_template`.
    """
    folder = Path(arguments["folder"])
    if (folder / TEMPLATE).exists():
        raise UnwritableOutput(
            "the folder holds a template already",
            where=str(folder),
            remedy="Choose another folder, or move its files away.",
        )
    options = TemplateOptions(
        rounds=int(arguments["rounds"]),
        combination="median" if arguments["median"] else "mean",
        registration=RegistrationOptions.from_record(arguments["options"]),
    )
    progress(0.0, "reading the images")
    images = sorted((folder / INPUTS / "train" / "images").iterdir())
    subjects, notes = read_subjects(images)
    subjects, middle, left_out = select_alike(subjects)
    notes += left_out
    part = stage(progress, 0.02, 0.95)
    built = build_template(subjects, middle, options, folder / CACHE, part)
    notes += built.notes
    rounds = [asdict(line) for line in built.rounds]
    deformable = sum(line["kind"] == "deformable" for line in rounds)
    finished = options.rounds >= int(arguments["most"]) or deformable < options.rounds
    if finished:
        progress(0.95, "writing the files")
        inputs = [path for one in subjects for path in one.files]
        record = record_of("template", inputs, options.as_record(), folder)
        record |= {"rounds": rounds, "similarities": built.similarities, "warnings": notes}
        write_template(built, subjects, {}, record, folder)
        shutil.rmtree(folder / CACHE, ignore_errors=True)
    return {
        "image": Voxels(built.image.data[0].numpy(), built.image.grid),
        "rounds": rounds,
        "similarities": built.similarities,
        "notes": notes,
        "finished": finished,
    }
