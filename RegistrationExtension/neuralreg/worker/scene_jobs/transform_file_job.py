"""The job "transform_file": a transform of the scene as a file of any program."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from neuralreg.io.exchange.families import WRITERS, Content
from neuralreg.io.exchange.matrices import to_affine
from neuralreg.io.exchange.sides import Sides
from neuralreg.io.formats.dicom_registration import rename_series
from neuralreg.io.transform_chains import write_content
from neuralreg.io.volume import to_image
from neuralreg.progress import Progress
from neuralreg.worker.messages import Field


def write(arguments: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Write a transform. Needs no torch.

    Args:
        arguments: transform: a `Field`, or rows of a matrix, fixed to moving in LPS mm; path;
            program: a key of `WRITERS`, or "itk"; fixed, moving: the files of the images, or None;
            description, number: of the series of a DICOM object, or none.
        progress: called with a fraction and a message.

    Returns:
        path: of the file; notes: what a reader has to know, in words; use: how the program applies
        it, or "".

    Raises:
        UnwritableOutput, InvalidTransform, InvalidImage: as `write_content`.
    """
    progress(0.0, "writing the transform")
    path, program = Path(arguments["path"]), arguments["program"]
    sides = Sides(*(arguments[side] and Path(arguments[side]) for side in ("fixed", "moving")))
    notes: list[str] = []
    write_content(_content(arguments["transform"]), path, program, sides, notes)
    if program == "dicom":
        words = (str(arguments.get(name, "")) for name in ("description", "number"))
        rename_series(path, *words)
    writer = WRITERS.get(program)
    return {"path": str(path), "notes": notes, "use": writer.use if writer else ""}


def _content(record: Any) -> Content:
    if isinstance(record, Field):
        field: sitk.Image = to_image(np.asarray(record.vectors, np.float32), record.grid)
        return field
    return to_affine(np.array(record, float))
