"""`neuralreg repair`: put a result right where it is wrong, and leave the rest."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from neuralreg.cli.common_options import AsJson, Overwrite, Quiet
from neuralreg.cli.guide_options import LandmarkFrame, require_beside


def repair(
    context: typer.Context,
    result: Annotated[Path, typer.Argument(help="The folder of a result, or its result.json.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder for the new one.")],
    landmarks: Annotated[
        tuple[Path, Path] | None,
        typer.Option(
            "--landmarks",
            help="Points of the fixed image, and where they belong in the moving one (.mrk.json, "
            ".fcsv, CSV), paired by name.",
        ),
    ] = None,
    landmark_frame: LandmarkFrame = "LPS",
    radius_mm: Annotated[
        float | None,
        typer.Option(
            help="How far the neighborhood moves along; nothing changes beyond twice of it. "
            "2.5 times the largest shift unless given."
        ),
    ] = None,
    lock: Annotated[
        Path | None, typer.Option(help="Mask on the fixed image: this part stays as it is.")
    ] = None,
    take_back: Annotated[
        list[int] | None,
        typer.Option(help="Number of an earlier correction that goes, from 1 on; repeatable."),
    ] = None,
    by: Annotated[str, typer.Option(help="Who corrects; for the record and the review.")] = "",
    overwrite: Overwrite = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Correct a result around some points, in both directions and without folds.

    The new folder gets the files that `register` writes, and a record that keeps all corrections
    and names the uncorrected transforms, so that each can be taken back. The result itself is not
    changed.
    """
    from neuralreg.cli.outputs import folder_for
    from neuralreg.cli.repair_job import RepairJob, run
    from neuralreg.cli.terminal import print_result, show_progress, warn
    from neuralreg.errors import InvalidOption
    from neuralreg.registration.guides.landmark_guide import LandmarkGuide
    from neuralreg.worker.file_jobs.file_job import FILES

    if landmarks is None and not take_back:
        raise InvalidOption(
            "a repair needs landmarks, or a correction to take back",
            wanted="--landmarks FIXED MOVING or --take-back NUMBER",
        )
    require_beside(context, "--landmarks", bool(landmarks), "landmark_frame")
    guide = landmarks and LandmarkGuide.read(*landmarks, frame=landmark_frame)
    job = RepairJob(result, guide, radius_mm, lock, tuple(take_back or ()), by)
    folder = result if result.is_dir() else result.parent
    inputs = [*(folder / name for name in FILES), *(landmarks or ()), lock]
    with folder_for(FILES, output, overwrite, inputs), show_progress(quiet) as progress:
        facts = run(job, output, progress, overwrite=overwrite)
    warn(facts["warnings"])
    print_result(facts, as_json, lambda: _sentence(facts))


def _sentence(facts: dict[str, object]) -> str:
    repair = facts["repair"]
    assert isinstance(repair, dict)
    count = len(repair["corrections"])
    text = f"wrote {facts['output']}: {count} corrections"
    if not count:
        return text
    before, after = max(repair["before_mm"]), max(repair["after_mm"])
    return (
        f"{text}; their points were up to {before:.3g} mm off and are {after:.2g} mm off now; "
        f"nothing moved by more than {repair['largest_change_mm']:.3g} mm"
    )
