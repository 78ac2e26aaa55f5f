"""The job "review": from what was handed over to what is handed back, without torch."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import SimpleITK as sitk

from neuralreg.errors import InvalidOption
from neuralreg.geometry.typing import Array
from neuralreg.io.landmark_files import Pairs
from neuralreg.progress import Progress, silent
from neuralreg.registration.corrections.correction import Correction, in_words
from neuralreg.review.assess import case_of, review, steering_notes
from neuralreg.review.geometry.deformation import Deformation, place_on_grid, round_to_bytes
from neuralreg.review.limits import read_profile
from neuralreg.review.measures.target_registration_error import independent_pairs
from neuralreg.review.report.maps import maps_of
from neuralreg.worker.handed_volumes import canonical_voxels
from neuralreg.worker.messages import (
    Field,
    ImageInput,
    Review,
    ReviewJob,
    TransformPart,
    Voxels,
)


def run(job: ReviewJob, progress: Progress = silent) -> Review:
    """The review that the job asks for.

    Raises:
        RegistrationError: as `neuralreg.assess` does.
    """
    if job.detail not in ("quick", "full"):
        raise InvalidOption("unknown detail", got=f"'{job.detail}'", wanted="quick or full")
    notes: list[str] = []
    case = case_of(
        deformation_of(job.transform),
        fixed=_source(job.fixed, notes),
        moving=_source(job.moving, notes),
        fixed_labels=_source(job.fixed_labels, notes),
        moving_labels=_source(job.moving_labels, notes),
        names={int(label): name for label, name in job.names.items()},
        landmarks=_pairs(job),
        mask=_source(job.mask, notes),
        sliding=_source(job.sliding, notes),
        inverse=None if job.inverse is None else deformation_of(job.inverse),
        own_inverse=job.own_inverse,
        detail="quick" if job.detail == "quick" else "full",
    )
    case.notes[:0] = notes
    has_labels = job.fixed_labels is not None and job.moving_labels is not None
    case.notes.extend(steering_notes(job.steering, has_labels, job.sliding is not None))
    report = review(case, read_profile(job.profile), progress)
    if job.corrections:
        words = in_words([Correction.from_record(each) for each in job.corrections])
        report = replace(report, notes=(*report.notes, words))
    if job.content:
        report = replace(report, transform_hash=_hash_of(job.content))
    by_name = maps_of(case, job.maps)
    maps = {name: Voxels(values, grid) for name, (values, grid) in by_name.items()}
    return Review(report.as_record(), maps)


def _hash_of(parts: tuple[TransformPart, ...]) -> str:
    """A hash of what a transform is made of; of one field or matrix that of the deformation."""
    hashes = [_hash_of_numbers(part.moves) for part in parts]
    if len(parts) == 1 and parts[0].kind in ("field", "matrix") and not parts[0].inverse:
        return hashes[0]
    facts = [(part.kind, part.inverse, one) for part, one in zip(parts, hashes, strict=True)]
    return hashlib.sha256(repr(facts).encode()).hexdigest()


def _hash_of_numbers(moves: Field | tuple[tuple[float, ...], ...] | Array) -> str:
    if isinstance(moves, np.ndarray):
        return hashlib.sha256(round_to_bytes(moves)).hexdigest()
    return deformation_of(moves).sha256


def deformation_of(moves: Field | tuple[tuple[float, ...], ...] | str) -> Deformation:
    """What is handed over as a transform: a field, a matrix in LPS, or a file."""
    if isinstance(moves, str | Field):
        return Deformation.of(moves)
    matrix = np.array(moves, float)
    return Deformation(len(matrix) - 1, matrix=matrix)


def _source(source: ImageInput | None, notes: list[str]) -> str | sitk.Image | None:
    if source is None or isinstance(source, str):
        return source
    source = canonical_voxels(source)
    notes.extend(map(str, source.remarks))
    if source.bend is None:
        return place_on_grid(sitk.GetImageFromArray(_plain(source)), source.grid)
    from neuralreg.io.itk import image_to_itk  # a bent image is resampled, with torch
    from neuralreg.worker.shared_images import image_of

    return image_to_itk(image_of(source))


def _plain(voxels: Voxels) -> Array:
    data = np.ascontiguousarray(voxels.data, voxels.data.dtype.newbyteorder("="))
    if voxels.only is not None:
        data = np.isin(data, voxels.only)
    return data.astype(np.uint8) if data.dtype == bool else data


def _pairs(job: ReviewJob) -> Pairs | None:
    if not job.fixed_points and not job.moving_points:
        return None
    if len(job.fixed_points) != len(job.moving_points):
        raise InvalidOption(
            "landmarks come in pairs",
            got=f"{len(job.fixed_points)} fixed and {len(job.moving_points)} moving ones",
        )
    names = job.point_names or tuple(str(n + 1) for n in range(len(job.fixed_points)))
    pairs = Pairs(names, job.fixed_points, job.moving_points)
    provenance = {"landmarks": {"fixed": job.steering_points}, "corrections": job.corrections}
    return independent_pairs(pairs, provenance)
