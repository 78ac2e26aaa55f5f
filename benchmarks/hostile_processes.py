"""Hostile runs of whole registrations: odd pairs, full disks, and processes that are ended.

The truth is the shift that a pair was made with; SimpleITK resamples with the field that was
written, and reads every file that is left.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from benchmarks.hostile_tools import (
    NUMBERS,
    REFUSED,
    REMARKED,
    RIGHT,
    WRONG,
    Array,
    Judgement,
    Outcome,
    body,
    call,
    fault_of,
    itk_image,
)

IMAGES = (".nii.gz", ".nrrd", ".mha", ".hdr")
TRANSFORMS = ("fixed_to_moving.nii.gz", "moving_to_fixed.nii.gz")
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL)
WITHIN = 1.0  # voxels, in the middle of the body


def _pair(rng: np.random.Generator, folder: Path, size: int = 32) -> tuple[Path, Path, Array]:
    """Two images in the plane, the moving one shifted, and the shift in mm."""
    number = [n for n in NUMBERS if n not in (np.int8, np.uint8)][rng.integers(8)]
    spacing = np.round(rng.uniform(0.5, 2, 2), 2)
    shift = np.round(rng.uniform(-3, 3, 2), 1)
    paths = []
    for name, step in (("fixed", (0, 0)), ("moving", shift)):
        image = itk_image(body((size, size), step).astype(number), spacing, (5, -7), np.eye(2))
        suffix = str(rng.choice([".nrrd", ".mha"]))
        paths.append(folder / f"{name}{suffix}")
        sitk.WriteImage(image, str(paths[-1]))
    return paths[0], paths[1], shift * spacing


def register_run(rng: np.random.Generator, folder: Path) -> Judgement:
    """The shift of a pair comes out, and the files of the result agree with one another."""
    fixed, moving, shift = _pair(rng, folder)
    out = folder / "out"
    prealign = str(rng.choice(["none", "auto"]))
    outcome = call("register", fixed, moving, "-o", out, "-q", "--prealign", prealign)
    if (fault := fault_of(outcome, fixed)) is not None:
        return Judgement(WRONG, fault.words)
    record = json.loads((out / "result.json").read_text(), parse_constant=lambda word: 1 / 0)
    if set(record["files"]) != {path.name for path in out.iterdir()}:
        return Judgement(WRONG, "the record names other files")
    field = sitk.ReadImage(str(out / TRANSFORMS[0]), sitk.sitkVectorFloat64)
    transform = sitk.DisplacementFieldTransform(field)
    images = [sitk.ReadImage(str(path)) for path in (fixed, moving)]
    middle = [[16, 16], [12, 15], [19, 17], [15, 20]]
    points = [images[0].TransformIndexToPhysicalPoint(index) for index in middle]
    moved = [np.subtract(transform.TransformPoint(point), point) for point in points]
    off = max(np.abs((step - shift) / images[0].GetSpacing()).max() for step in moved)
    warped = sitk.GetArrayFromImage(sitk.ReadImage(str(out / "warped.nii.gz"))).astype(float)
    theirs = sitk.GetArrayFromImage(sitk.Resample(images[1], images[0], transform)).astype(float)
    gap = np.abs(warped - theirs)[6:-6, 6:-6].max()
    if gap > 2:
        return Judgement(WRONG, f"warped.nii.gz is up to {gap:.3g} off its own field")
    if off > WITHIN and not record["warnings"]:
        return Judgement(WRONG, f"{off:.2f} voxels off without a word")
    return Judgement(REMARKED if off > WITHIN else RIGHT, f"{off:.2f} voxels off")


def odd_pair_run(rng: np.random.Generator, folder: Path) -> Judgement:
    """Constant, empty, tiny, infinite images, dimensions that differ: refused, or all finite."""
    fixed, moving, _ = _pair(rng, folder, 16)
    values = sitk.GetArrayFromImage(sitk.ReadImage(str(moving))).astype(np.float32)
    kind = str(rng.choice(["constant", "nan", "half nan", "inf", "binary", "tiny", "3D", "one",
                           "missing", "empty file", "far away", "text"]))  # fmt: skip
    changed = {
        "constant": np.full_like(values, 3),
        "nan": np.full_like(values, np.nan),
        "half nan": np.where(np.arange(16) < 8, np.nan, values),
        "inf": np.where(values > 90, np.inf, values),
        "binary": (values > 40).astype(np.float32),
        "tiny": values[:2, :3],
        "3D": np.stack([values] * 5),
        "one": values[:1],
    }.get(kind, values)
    image = sitk.GetImageFromArray(np.ascontiguousarray(changed))
    if kind == "far away":
        image.SetOrigin((1e6, 1e6))
    moving = folder / "odd.nrrd"
    sitk.WriteImage(image, str(moving))
    if kind == "missing":
        moving.unlink()
    elif kind in ("empty file", "text"):
        moving.write_text("" if kind == "empty file" else "no image")
    out = folder / "out"
    outcome = call("register", fixed, moving, "-o", out, "-q", "--prealign", "none")
    if outcome.crash:
        return Judgement(WRONG, f"{kind}: {outcome.crash[-300:]}")
    if outcome.code:
        if out.exists() and not (out / "result.json").exists():
            return Judgement(WRONG, f"{kind}: refused, and left {list(out.iterdir())}")
        return Judgement(REFUSED, f"{kind}: {outcome.err[:200]}")
    json.loads((out / "result.json").read_text(), parse_constant=lambda word: 1 / 0)
    field = sitk.GetArrayFromImage(sitk.ReadImage(str(out / TRANSFORMS[0])))
    if not np.isfinite(field).all():
        return Judgement(WRONG, f"{kind}: the field is not finite")
    return Judgement(REMARKED if "warning" in outcome.err else RIGHT, kind)


def full_disk_run(rng: np.random.Generator, folder: Path) -> Judgement:
    """Files get no larger than a number of bytes: an error, and nothing that is cut short."""
    noise = rng.normal(size=(20, 20, 20)).astype(np.float32)
    image, field = folder / "image.nrrd", folder / "field.nrrd"
    sitk.WriteImage(sitk.GetImageFromArray(noise), str(image))
    vectors = 0.2 * rng.normal(size=(20, 20, 20, 3)).astype(np.float32)
    sitk.WriteImage(sitk.GetImageFromArray(vectors, isVector=True), str(field))
    suffix = str(rng.choice([".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd"]))
    out = folder / f"out{suffix}"
    command: list[object] = ["warp", image, field, "-r", image, "-o", out]
    if rng.random() < 0.4:
        out = folder / f"out{rng.choice(['.tfm', '.h5', '.mat', '.txt', '.nii.gz'])}"
        command = ["invert", field, "-o", out]
    outcome = _call_limited(int(rng.integers(0, 25_000)), *command)
    if outcome.crash:
        return Judgement(WRONG, outcome.crash[-300:])
    left = [path.name for path in folder.iterdir() if path not in (image, field)]
    if outcome.code == 4:
        return Judgement(WRONG, f"left {left}") if left else Judgement(REFUSED, outcome.err[:200])
    return Judgement(WRONG, f"exit {outcome.code} with {left}")


def _call_limited(size: int, *command: object) -> Outcome:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        return call(*command)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def ended_run(rng: np.random.Generator, folder: Path) -> Judgement:
    """A process that is ended at any time leaves whole files, and no other process."""
    fixed, moving, _ = _pair(rng, folder, 48)
    out = folder / "out"
    command = [sys.executable, "-m", "neuralreg", "register", str(fixed), str(moving),
               "-o", str(out)]  # fmt: skip
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    number = SIGNALS[rng.integers(len(SIGNALS))]
    time.sleep(float(rng.uniform(0.2, 12)))
    process.send_signal(number)
    _, words = process.communicate(timeout=60)
    try:
        os.killpg(process.pid, 0)
        return Judgement(WRONG, f"{number.name}: a process is left")
    except ProcessLookupError:
        pass  # as it should be
    if "Traceback" in words:
        return Judgement(WRONG, f"{number.name}: {words[-300:]}")
    for path in out.rglob("*") if out.exists() else ():
        if fault := _whole(path, killed=number == signal.SIGKILL):
            return Judgement(WRONG, f"{number.name}: {fault}")
    if out.exists() and (out / "result.json").exists():
        named = json.loads((out / "result.json").read_text())["files"]
        if any(not (out / name).exists() for name in named):
            return Judgement(WRONG, f"{number.name}: the record names what is not there")
    return Judgement(RIGHT, f"{number.name} after exit {process.returncode}")


def _whole(path: Path, *, killed: bool) -> str:
    """What is wrong with a file that is left; a process that was killed cannot clear its drafts."""
    if any(part.startswith(".writing-") for part in path.parts):
        return "" if killed else f"{path.name} is left"
    if path.suffix == ".json":
        json.loads(path.read_text())
    elif path.is_file():
        try:
            sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
        except RuntimeError:
            return f"{path.name} is half written"
    return ""


KINDS = {
    "registrations": (register_run, 30),
    "odd pairs": (odd_pair_run, 20),
    "full disks": (full_disk_run, 30),
    "ended processes": (ended_run, 20),
}
