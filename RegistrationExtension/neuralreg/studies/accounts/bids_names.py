"""Results under the names of BIDS derivatives, beside those of `neuralreg register`.

The transforms follow the proposal BEP014: `from-A_to-B_mode-image` resamples an image of A onto B.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from neuralreg import __version__
from neuralreg.errors import InvalidOption, UnwritableOutput
from neuralreg.io.files import suffix_of, write_whole
from neuralreg.studies.execution.row_records import DONE, WORK, RowRecord, StudyFolder
from neuralreg.studies.table.study_rows import StudyRow

_VERSION = "1.9.0"
_ENTITY = re.compile(r"([a-zA-Z]+)-([a-zA-Z0-9]+)")
_OTHERS = ("study.csv", "study.json", "failures.csv", "index.html", "worklist.csv", f"{WORK}/")


def bids_names(row: StudyRow) -> dict[str, str]:
    """The name in the data set, relative to its top, of each file of a row's results.

    Subject, session and other entities are those in the name of the moving image; without any the
    id of the row is the subject.
    """
    moving, fixed = _entities(row.inputs["moving"]), _entities(row.inputs["fixed"])
    subject = moving.get("sub") or _letters(row.id)
    parts = {"sub": subject, **{key: value for key, value in moving.items() if key != "sub"}}
    folder = "/".join(f"{key}-{parts[key]}" for key in ("sub", "ses") if key in parts)
    stem = "_".join(f"{key}-{value}" for key, value in parts.items())
    start, end = _label(row.inputs["moving"], moving), _label(row.inputs["fixed"], fixed)
    if start == end:
        start, end = f"{start}moving", f"{end}fixed"
    space = f"{stem}_space-{end}"
    # Two rows may bring one image onto several others: the target is part of every name.
    names = {
        "fixed_to_moving.nii.gz": f"{stem}_from-{start}_to-{end}_mode-image_xfm.nii.gz",
        "moving_to_fixed.nii.gz": f"{stem}_from-{end}_to-{start}_mode-image_xfm.nii.gz",
        "warped.nii.gz": f"{space}_desc-warped_{_kind(row.inputs['moving'])}.nii.gz",
        "warped_seg.nii.gz": f"{space}_desc-warped_dseg.nii.gz",
        "result.json": f"{stem}_from-{start}_to-{end}_mode-image_xfm.json",
    }
    return {file: f"{folder}/{name}" for file, name in names.items()}


def require_own_names(rows: Sequence[StudyRow]) -> None:
    """Check that no two rows have a name in common.

    Raises:
        InvalidOption: Two have.
    """
    owners: dict[str, str] = {}
    for row in rows:
        name = bids_names(row)["fixed_to_moving.nii.gz"]
        if name in owners:
            raise InvalidOption(
                "two rows have the same names in BIDS",
                got=f"{owners[name]} and {row.id}: {name}",
                wanted="images whose names differ in an entity",
                remedy="Leave --names bids out, or name the images by subject and session.",
            )
        owners[name] = row.id


def write_dataset(study: StudyFolder, rows: Sequence[StudyRow]) -> None:
    """Write the description of the data set, and what in the folder does not belong to it.

    Raises:
        UnwritableOutput: The folder is closed, or the disk full.
    """
    description = {
        "Name": study.path.resolve().name,
        "BIDSVersion": _VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": "neuralreg", "Version": __version__}],
    }
    text = json.dumps(description, indent=2) + "\n"
    ignored = "\n".join([*_OTHERS, *(f"{row.id}/" for row in rows)]) + "\n"
    for name, content in (("dataset_description.json", text), (".bidsignore", ignored)):
        with write_whole(study.path / name) as draft:
            draft.write_text(content, encoding="utf-8")


def name_results(study: StudyFolder, row: StudyRow, record: RowRecord) -> None:
    """Give the results of a row that is done their names, as links where the disk has them.

    Raises:
        UnwritableOutput: The folder is closed, or the disk full.
    """
    if record.state != DONE:
        return
    for file, name in bids_names(row).items():
        source, target = study.results(row.id) / file, study.path / name
        if not source.exists() or (target.exists() and target.samefile(source)):
            continue
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)
            _link(source, target)
        except OSError as error:
            reason = error.strerror or str(error)
            raise UnwritableOutput(f"{target} cannot be written", got=reason) from error


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without links
        with write_whole(target) as draft:
            shutil.copyfile(source, draft)


def _entities(path: Path) -> dict[str, str]:
    """Keys and values in a name such as sub-01_ses-2_T1w.nii.gz."""
    return dict(_ENTITY.findall(_stem(path)))


def _stem(path: Path) -> str:
    suffix = suffix_of(path)
    return path.name[: -len(suffix)] if suffix else path.name


def _kind(path: Path) -> str:
    """What comes last in a name of BIDS, such as T1w."""
    last = _stem(path).rsplit("_", 1)[-1]
    return last if "-" not in last and last.isalnum() and "_" in _stem(path) else "image"


def _label(path: Path, entities: Mapping[str, str]) -> str:
    """A word for an image: its entities but the subject, and its kind."""
    words = [f"{key}{value}" for key, value in entities.items() if key != "sub"]
    return _letters("".join([*words, _kind(path)]) if entities else _stem(path))


def _letters(text: str) -> str:
    return re.sub("[^a-zA-Z0-9]", "", text) or "image"
