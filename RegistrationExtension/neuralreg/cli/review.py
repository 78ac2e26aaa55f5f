"""`neuralreg review`: may this deformation be used?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from neuralreg.cli.options import AsJson, Overwrite, Quiet

if TYPE_CHECKING:
    from neuralreg.review.case import Case
    from neuralreg.review.report_model import Line, QualityReport

Given = Path | None


def review(
    transform: Annotated[Path, typer.Argument(help="A transform file, fixed to moving.")],
    fixed: Annotated[Given, typer.Option(help="The fixed image.")] = None,
    moving: Annotated[Given, typer.Option(help="The moving image.")] = None,
    inverse: Annotated[Given, typer.Option(help="The transform of the other direction.")] = None,
    consistency: Annotated[
        bool,
        typer.Option(
            "--consistency",
            help="Register the other way too, as the record beside the transform says.",
        ),
    ] = False,
    model: Annotated[
        str | None, typer.Option(help="For --consistency, where there is no record.")
    ] = None,
    fixed_seg: Annotated[Given, typer.Option(help="Label map of the fixed image.")] = None,
    moving_seg: Annotated[Given, typer.Option(help="Label map of the moving image.")] = None,
    names: Annotated[
        Given, typer.Option(help='Names of the labels: JSON such as {"1": "Liver"}.')
    ] = None,
    landmarks: Annotated[
        Given, typer.Option(help="Pairs of landmarks (CSV), or those of the fixed image.")
    ] = None,
    moving_landmarks: Annotated[
        Given, typer.Option(help="Their partners in the moving image (.mrk.json or CSV).")
    ] = None,
    mask: Annotated[Given, typer.Option(help="Where it counts, on the fixed image.")] = None,
    profile: Annotated[Given, typer.Option(help="Limits to use instead of TG-132's.")] = None,
    report: Annotated[
        Given, typer.Option(help="Write this .html, and .pdf, .csv and .json beside it.")
    ] = None,
    subject: Annotated[
        str, typer.Option(help="What the report is headed with; no patient is named by itself.")
    ] = "",
    overwrite: Overwrite = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Say where a transform can be trusted and where not.

    Works with whatever is given; without segmentations and landmarks it says what images and field
    alone can tell. Exit codes: 0 nothing needs attention, 1 something does, 2 it could not be
    reviewed.
    """
    from neuralreg.cli.outputs import require_free
    from neuralreg.cli.reverse_registration import own_inverse
    from neuralreg.cli.terminal import answer, shown_progress, warn
    from neuralreg.progress import stage
    from neuralreg.review.assess import case_of
    from neuralreg.review.assess import review as reviewed
    from neuralreg.review.limits import read_profile
    from neuralreg.review.measures.landmarks import read_pairs

    if report is not None:
        require_free(report, overwrite)
    limits = read_profile(profile)
    back: object = inverse
    way: dict[str, str] = {}
    if consistency:
        back, way = _other_way(transform, fixed, moving, inverse, model, quiet)
    case = case_of(
        transform,
        fixed=fixed,
        moving=moving,
        fixed_labels=fixed_seg,
        moving_labels=moving_seg,
        names=label_names(names),
        landmarks=None if landmarks is None else read_pairs(landmarks, moving_landmarks),
        mask=mask,
        inverse=back,
        own_inverse=own_inverse(transform, inverse),
    )
    with shown_progress(quiet) as progress:
        found = reviewed(case, limits, stage(progress, 0.05, 0.8 if report else 1.0))
        if report is not None:
            given = {
                "transform": transform,
                "fixed": fixed,
                "moving": moving,
                "inverse": inverse,
                "fixed segmentation": fixed_seg,
                "moving segmentation": moving_seg,
                "landmarks": landmarks,
                "mask": mask,
                "profile": profile,
            }
            _write(found, case, report, subject, given, way)
    warn(list(found.notes))
    answer(found.as_record(), as_json, lambda: in_words(found))
    if found.verdict != "pass":
        raise typer.Exit(1)


def _other_way(
    transform: Path, fixed: Given, moving: Given, inverse: Given, model: str | None, quiet: bool
) -> tuple[object, dict[str, str]]:
    """The other direction, registered now, and what the report says of it."""
    from neuralreg.cli.reverse_registration import registered_other_way
    from neuralreg.cli.terminal import shown_progress
    from neuralreg.errors import InvalidOption

    if inverse is not None:
        raise InvalidOption("one transform of the other direction is enough", got="two of them")
    with shown_progress(quiet) as progress:
        back, made_by = registered_other_way(transform, fixed, moving, model, progress)
    return back, {"other way registered by": made_by}


def label_names(path: Path | None) -> dict[int, str]:
    """The names of labels in a JSON file. Raises UnreadableFile when it holds something else."""
    import json

    from neuralreg.errors import UnreadableFile

    if path is None:
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {int(label): str(name) for label, name in found.items()}
    except (OSError, ValueError, AttributeError) as error:
        raise UnreadableFile(
            f"{path} holds no names of labels", got=str(error), wanted='{"1": "Liver", ...}'
        ) from error


def _write(
    found: QualityReport,
    case: Case,
    path: Path,
    subject: str,
    given: dict[str, Path | None],
    way: dict[str, str],
) -> None:
    from neuralreg.review.report.formats import write_report
    from neuralreg.review.report.slice_pictures import pictures_of
    from neuralreg.review.workflow.provenance import provenance_of, registration_of

    provenance = {**provenance_of({name: file for name, file in given.items() if file}), **way}
    if given["transform"] and (made := registration_of(given["transform"])):
        provenance["registration"] = made
    write_report(
        found, path, pictures=pictures_of(case, found), provenance=provenance, title=subject
    )


def in_words(report: QualityReport) -> str:
    """The report as lines for a terminal."""
    rows = [f"{line.verdict:<13} {_with_title(line)}" for line in report.lines]
    for place in report.worst[:8]:
        at = ", ".join(f"{value:.1f}" for value in place.point_lps)
        rows.append(f"{'look at':<13} LPS ({at}): {place.words}")
    return "\n".join([*rows, "", f"{report.verdict}, by the limits of {report.profile}"])


def _with_title(line: Line) -> str:
    told = line.words.casefold().startswith(line.title.casefold().partition(",")[0])
    return line.words if told else f"{line.title}: {line.words}"
