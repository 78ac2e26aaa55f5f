"""`neuralreg review`: may this deformation be used?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from neuralreg.cli.common_options import AsJson, Format, Overwrite, Quiet, one_format

if TYPE_CHECKING:
    from neuralreg.review.case import Case
    from neuralreg.review.geometry.deformation import TransformLike
    from neuralreg.review.report_model import Finding, QualityReport

File = Path | None


def review(
    transform: Annotated[
        Path,
        typer.Argument(
            help="A transform file, fixed to moving, or a folder with results of `neuralreg "
            "register`, whose images are those of its record."
        ),
    ],
    source: Format = None,
    fixed: Annotated[File, typer.Option(help="The fixed image.")] = None,
    moving: Annotated[File, typer.Option(help="The moving image.")] = None,
    inverse: Annotated[File, typer.Option(help="The transform of the other direction.")] = None,
    consistency: Annotated[
        bool,
        typer.Option(
            "--consistency",
            help="Register the other way too, as in the record beside the transform.",
        ),
    ] = False,
    model: Annotated[
        str | None, typer.Option(help="For --consistency, where there is no record.")
    ] = None,
    fixed_seg: Annotated[File, typer.Option(help="Label map of the fixed image.")] = None,
    moving_seg: Annotated[File, typer.Option(help="Label map of the moving image.")] = None,
    names: Annotated[
        File, typer.Option(help='Names of the labels: JSON such as {"1": "Liver"}.')
    ] = None,
    landmarks: Annotated[
        File, typer.Option(help="Pairs of landmarks (a table), or those of the fixed image.")
    ] = None,
    moving_landmarks: Annotated[
        File, typer.Option(help="Their partners in the moving image (.mrk.json, .fcsv, CSV).")
    ] = None,
    label_check: Annotated[
        bool,
        typer.Option(
            "--label-check",
            help="Have a network label both brains (T1), and show how their structures agree.",
        ),
    ] = False,
    mask: Annotated[File, typer.Option(help="Region that counts, on the fixed image.")] = None,
    sliding: Annotated[
        File, typer.Option(help="Mask, on the fixed image, of what may slide along the rest.")
    ] = None,
    profile: Annotated[File, typer.Option(help="Limits to use instead of TG-132's.")] = None,
    report: Annotated[
        File, typer.Option(help="Write this .html, and .pdf, .csv and .json beside it.")
    ] = None,
    subject: Annotated[
        str, typer.Option(help="Title of the report; a patient is named only by it.")
    ] = "",
    overwrite: Overwrite = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Show where a transform can be trusted and where not.

    Works with whatever is given; without segmentations and landmarks it shows what images and field
    alone can tell. Exit codes: 0 nothing needs attention, 1 something does, 2 it could not be
    reviewed.
    """
    from neuralreg.cli.network_labels import check_labels
    from neuralreg.cli.terminal import print_result, show_progress, warn
    from neuralreg.io.files import require_free
    from neuralreg.progress import stage
    from neuralreg.review.assess import review as run_review
    from neuralreg.review.findings.label_check import add_finding, drives_by_network
    from neuralreg.review.limits import read_profile
    from neuralreg.review.report.formats import FORMATS
    from neuralreg.review.workflow.provenance import registration_of

    files = ReviewFiles(
        transform=transform,
        source=one_format(source),
        fixed=fixed,
        moving=moving,
        inverse=inverse,
        fixed_seg=fixed_seg,
        moving_seg=moving_seg,
        names=names,
        landmarks=landmarks,
        moving_landmarks=moving_landmarks,
        mask=mask,
        sliding=sliding,
        profile=profile,
    )
    files = _with_recorded(files, consistency)
    if report is not None:
        inputs = [*files.by_role().values(), files.moving_landmarks, files.names]
        require_free(report, overwrite, inputs)
        for ending in FORMATS:  # a report is several files
            require_free(report.with_suffix(ending), True, inputs)
    limits = read_profile(profile)
    case, facts = _case(files, consistency, model, quiet)
    doubts: list[str] = []  # about the labels
    with show_progress(quiet) as progress:
        part = stage(progress, 0.05, 0.8 if report else 1.0)
        if label_check:
            labeling = stage(part, 0.0, 0.7)
            drove = drives_by_network(registration_of(files.transform))
            finding = check_labels(
                files.fixed, files.moving, case.deformation, doubts, drove, labeling
            )
            result = add_finding(run_review(case, limits, stage(part, 0.7, 1.0)), finding)
        else:
            result = run_review(case, limits, part)
        if report is not None:
            _write(result, case, report, subject, {**_provenance(files), **facts})
    warn([*result.notes, *doubts])
    print_result(result.as_record(), as_json, lambda: in_words(result))
    if result.verdict != "pass":
        raise typer.Exit(1)


@dataclass(frozen=True)
class ReviewFiles:
    """The files of the command; see its options."""

    transform: Path
    source: str | None
    fixed: File
    moving: File
    inverse: File
    fixed_seg: File
    moving_seg: File
    names: File
    landmarks: File
    moving_landmarks: File
    mask: File
    sliding: File
    profile: File

    def by_role(self) -> dict[str, Path]:
        """Those that a report records, by what they are to the reader."""
        roles = {
            "transform": self.transform,
            "fixed": self.fixed,
            "moving": self.moving,
            "inverse": self.inverse,
            "fixed segmentation": self.fixed_seg,
            "moving segmentation": self.moving_seg,
            "landmarks": self.landmarks,
            "mask": self.mask,
            "mask of what may slide": self.sliding,
            "profile": self.profile,
        }
        return {role: path for role, path in roles.items() if path is not None}


def _with_recorded(files: ReviewFiles, again: bool) -> ReviewFiles:
    """The files of a folder of results in place of the folder; what was given counts more.

    Args:
        files: as they were given.
        again: whether the other direction is registered again.

    Raises:
        UnreadableFile: the record in the folder is damaged.
    """
    from neuralreg.errors import UnreadableFile
    from neuralreg.review.workflow.provenance import RECORD
    from neuralreg.review.workflow.worklist_start import entry_of

    folder = files.transform
    if not (folder / RECORD).is_file():
        return files
    entry = entry_of(folder / RECORD, folder)
    if entry.is_reviewed:  # it could not be
        raise UnreadableFile(entry.findings)
    roles = ["fixed", "moving", "fixed_seg", "moving_seg", "mask", *([] if again else ["inverse"])]
    recorded: dict[str, Any] = {
        role: Path(path)
        for role in roles
        if getattr(files, role) is None and (path := getattr(entry, role))
    }
    return replace(files, transform=Path(entry.transform), **recorded)


def _case(
    files: ReviewFiles, consistency: bool, model: str | None, quiet: bool
) -> tuple[Case, dict[str, str]]:
    """What is to be reviewed, and what the report records of a registration made for it."""
    from neuralreg.cli.reverse_registration import is_own_inverse
    from neuralreg.io.landmark_files import read_pairs
    from neuralreg.review.assess import case_of

    inverse: TransformLike | None = files.inverse
    facts: dict[str, str] = {}
    if consistency:
        inverse, facts = _reverse(files, model, quiet)
    pairs = None if files.landmarks is None else read_pairs(files.landmarks, files.moving_landmarks)
    case = case_of(
        files.transform,
        fixed=files.fixed,
        moving=files.moving,
        fixed_labels=files.fixed_seg,
        moving_labels=files.moving_seg,
        names=label_names(files.names),
        landmarks=pairs,
        mask=files.mask,
        sliding=files.sliding,
        inverse=inverse,
        own_inverse=is_own_inverse(files.transform, files.inverse),
        source=files.source,
    )
    return case, facts


def _reverse(
    files: ReviewFiles, model: str | None, quiet: bool
) -> tuple[TransformLike, dict[str, str]]:
    """The other direction, registered now, and what the report records of it."""
    from neuralreg.cli.reverse_registration import register_reverse
    from neuralreg.cli.terminal import show_progress
    from neuralreg.errors import InvalidOption

    if files.inverse is not None:
        raise InvalidOption("one transform of the other direction is enough", got="two of them")
    with show_progress(quiet) as progress:
        inverse, made_by = register_reverse(
            files.transform, files.fixed, files.moving, model, progress
        )
    return inverse, {"other way registered by": made_by}


def label_names(path: Path | None) -> dict[int, str]:
    """The names of labels in a JSON file.

    Raises:
        UnreadableFile: The file holds something else.
    """
    import json

    from neuralreg.errors import UnreadableFile

    if path is None:
        return {}
    try:
        names = json.loads(path.read_text(encoding="utf-8-sig"))
        return {int(label): str(name) for label, name in names.items()}
    except (OSError, ValueError, AttributeError) as error:
        raise UnreadableFile(
            f"{path} holds no names of labels", got=str(error), wanted='{"1": "Liver", ...}'
        ) from error


def _provenance(files: ReviewFiles) -> dict[str, object]:
    from neuralreg.review.workflow.provenance import provenance_of, registration_of

    provenance: dict[str, object] = provenance_of(files.by_role())
    registration = registration_of(files.transform)
    if registration:
        provenance["registration"] = registration
    return provenance


def _write(
    report: QualityReport, case: Case, path: Path, subject: str, provenance: dict[str, object]
) -> None:
    from neuralreg.review.report.formats import write_report
    from neuralreg.review.report.slice_pictures import pictures_of

    pictures = pictures_of(case, report)
    write_report(report, path, pictures=pictures, provenance=provenance, title=subject)


def in_words(report: QualityReport) -> str:
    """The report as lines for a terminal."""
    rows = [f"{finding.verdict:<13} {_sentence(finding)}" for finding in report.lines]
    for location in report.worst[:8]:
        at = ", ".join(f"{value:.1f}" for value in location.point_lps)
        rows.append(f"{'look at':<13} LPS ({at}): {location.words}")
    return "\n".join([*rows, "", f"{report.verdict}, by the limits of {report.profile}"])


def _sentence(finding: Finding) -> str:
    """The words; of what was not measured they do not name it."""
    if finding.verdict == "not measured":
        return f"{finding.title}: {finding.words}"
    return finding.words
