"""Training that is left alone: killed at random and resumed, and data sets as they lie about.

    OMP_WAIT_POLICY=PASSIVE python -m benchmarks.training_runs [kills folders] [--count 100]

"kills" trains a small network, kills the process (SIGKILL) at a random moment, once or twice,
resumes, and compares weights and curves with those of the unbroken run, bit by bit; no file may be
half written. "folders" makes data sets with odd names, links, formats, damage and missing labels,
of which it knows what is right, and compares with what the check counts and the training takes.
"""

from __future__ import annotations

import argparse
import glob
import json
import multiprocessing
import os
import pickle
import random
import signal
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch
from neuralreg.errors import RegistrationError
from neuralreg.io.files import DRAFTS
from neuralreg.training.config.schema import Configuration
from neuralreg.training.data.dataset_check import check_dataset
from neuralreg.training.data.toy_datasets import make_shapes
from neuralreg.training.loop import training_loop
from neuralreg.training.loop.loggers import CsvTable
from neuralreg.training.loop.run import Run
from neuralreg.training.run_files import CHECKPOINTS

from benchmarks import RESULTS
from Testing.support.trainings import training_config

_FORK = multiprocessing.get_context("fork")  # the libraries are loaded once


def config_of_kills(data: Path) -> Configuration:
    """Shuffled, augmented, scheduled and validated, so that every part of the state counts."""
    return training_config(
        data,
        training__epochs=6,
        training__save_period=2,
        training__best="dice",
        training__schedule={"name": "ReduceLROnPlateau", "patience": 0},
        dataset__augmentation=[{"name": "affine", "rotate": 10}, {"name": "noise"}],
    )


def train(data: Path, folder: Path, resume: bool) -> None:
    """A run in this process, with a checkpoint at each step, so that kills fall into writing."""
    training_loop._SAVE_EVERY_S = 0.0
    files = Run(config_of_kills(data), folder)
    try:
        files.train(resume=resume)
    except RegistrationError:
        if not resume:
            raise
        files.train(overwrite=True)  # it was killed before its first checkpoint


def kill_at_random(data: Path, folder: Path, resume: bool, latest_s: float, seed: int) -> bool:
    """Start a run and kill it; whether it was still running."""
    process = _FORK.Process(target=train, args=(data, folder, resume))
    process.start()
    process.join(random.Random(seed).uniform(0, latest_s))
    alive = process.is_alive()
    if alive:
        os.kill(process.pid, signal.SIGKILL)
    process.join()
    return alive


def half_files(folder: Path) -> list[str]:
    """Checkpoints and weights that cannot be read, and drafts that were left."""
    drafts = set(folder.rglob(DRAFTS))
    odd = [path.name for path in drafts]
    for path in folder.rglob("*.pt"):
        if drafts.intersection(path.parents):
            continue  # what a kill interrupts; nobody reads it, and the draft is named
        try:
            torch.load(path, weights_only=True)
        except (RuntimeError, EOFError, OSError, pickle.UnpicklingError) as error:
            odd.append(f"{path.name}: {error}")
    return odd


def same_result(one: Path, other: Path) -> bool:
    """Whether two runs have the same weights, best and last, and the same curves."""
    files = ("trained.pt", f"{CHECKPOINTS}/last.pt", f"{CHECKPOINTS}/best.pt")
    for name in files:
        states = [torch.load(folder / name, weights_only=True) for folder in (one, other)]
        weights = [state.get("network", state) for state in states]
        if not all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0]):
            return False
    return CsvTable(one).lines() == CsvTable(other).lines()


def kills(count: int, top: Path) -> dict[str, Any]:
    data = top / "data"
    make_shapes(data, count=20)
    start = time.monotonic()
    whole = _FORK.Process(target=train, args=(data, top / "whole", False))
    whole.start()
    whole.join()
    took = time.monotonic() - start
    hit = equal = twice = 0
    odd: list[str] = []
    for number in range(count):
        folder = top / f"run{number}"
        hit += kill_at_random(data, folder, False, took, number)
        half = half_files(folder)
        if number % 2:
            twice += kill_at_random(data, folder, True, took, count + number)
            half += half_files(folder)
        odd += [name for name in half if not name.startswith(".writing-")]
        last = _FORK.Process(target=train, args=(data, folder, True))
        last.start()
        last.join()
        odd += half_files(folder)
        equal += last.exitcode == 0 and same_result(top / "whole", folder)
    return {
        "runs": count, "killed": hit, "killed_again": twice, "equal": equal, "half_files": odd,
    }  # fmt: skip


@dataclass
class Expected:
    """What is right about a generated data set.

    Attributes:
        names: of the images that count.
        left_out: files and folders that are no images.
        damaged: images or labels that cannot be read.
        refused: why the whole is refused; empty where it is not.
    """

    names: set[str] = field(default_factory=set)
    left_out: set[str] = field(default_factory=set)
    damaged: set[str] = field(default_factory=set)
    refused: str = ""


_ENDINGS = (".nii", ".nii.gz", ".nrrd", ".mha", ".mhd", ".nhdr", ".hdr", ".NII.GZ", ".Nrrd")
_WORDS = ("case", "visit", "Müller", "a b", "x.y", "img[1]", "脳")


def save(values: np.ndarray, path: Path) -> None:
    """Write an image; endings in capitals are given afterwards."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lower = path.with_name(path.name.replace(".NII.GZ", ".nii.gz").replace(".Nrrd", ".nrrd"))
    sitk.WriteImage(sitk.GetImageFromArray(values), str(lower))
    if lower != path:
        lower.rename(path)


def make_folder(top: Path, chance: random.Random) -> Expected:
    """A data set of small planes in which several things are odd."""
    right = Expected()
    numbers = np.random.default_rng(chance.randrange(1 << 31))
    folders = [top / "images", top / "images" / "group 1"]
    if chance.random() < 0.5:
        outside = top / "elsewhere"
        outside.mkdir(parents=True)
        folders[0].mkdir(parents=True, exist_ok=True)
        (top / "images" / "linked").symlink_to(outside, target_is_directory=True)
        folders.append(top / "images" / "linked")
    for number in range(chance.randint(2, 7)):
        folder = chance.choice(folders)
        name = f"{chance.choice(_WORDS)}{number}"
        path = folder / f"{name}{chance.choice(_ENDINGS)}"
        save(numbers.random((10, 12)).astype(np.float32), path)
        stem = (folder / name).relative_to(top / "images").as_posix()
        save(numbers.integers(0, 3, (10, 12)).astype(np.uint8), top / "labels" / f"{stem}.nii.gz")
        right.names.add(stem)
        if chance.random() < 0.1:
            damage(path)
            right.damaged.add(stem)
    add_odd_files(top, chance, right)
    return right


def damage(path: Path) -> None:
    """Cut a file of values short, or remove it where a header names it."""
    stem = path.name.removesuffix(path.suffix).removesuffix(".nii")
    largest = max(path.parent.glob(f"{glob.escape(stem)}.*"), key=lambda file: file.stat().st_size)
    content = largest.read_bytes()
    largest.write_bytes(content[: len(content) // 2])


def add_odd_files(top: Path, chance: random.Random, right: Expected) -> None:
    """Files that are no images, and what makes a set unusable."""
    images = top / "images"
    for name in ("._case0.nii.gz", ".DS_Store", "notes.txt", "view.png", "scan.dcm"):
        if chance.random() < 0.3:
            (images / name).write_bytes(b"odd")
            right.left_out.add(name)
    if chance.random() < 0.2:
        save(np.zeros((4, 4), np.float32), images / ".trash" / "old.nii.gz")
        right.left_out.add(".trash")
    if chance.random() < 0.2:
        (images / "loop").symlink_to(images, target_is_directory=True)
        right.left_out.add("loop")
    name = sorted(right.names)[0]
    what = chance.random()
    if what < 0.15:
        (top / "labels" / f"{name}.nii.gz").unlink()
        right.refused = "only one of both"
    elif what < 0.25:
        save(np.ones((10, 12), np.float32), images / "double.mha")
        save(np.ones((10, 12), np.float32), images / "double.nii")
        right.refused = "two images have one name"


def compare(top: Path, right: Expected) -> list[str]:
    """How the check and the training differ from what is right."""
    dataset = {"dir": str(top), "labeled": True}
    config = training_config(
        top, dataset__train=dataset, dataset__valid=None, dataset__test=None, training__max_steps=1
    )
    report = check_dataset(config)
    text = report.in_words()
    differences = []
    if right.refused:
        if right.refused not in text:
            differences.append(f"the check does not say: {right.refused}")
    else:
        if report.images["train"] != len(right.names):
            differences.append(f"counted {report.images['train']}, there are {len(right.names)}")
        left_out = {Path(one.path).name for one in report.left_out}
        if left_out != right.left_out:
            differences.append(f"left out {left_out}, right are {right.left_out}")
        named = {stem for stem in right.names if any(f"/{stem}." in w for w, _ in report.problems)}
        if named != right.damaged:
            differences.append(f"problems with {named}, damaged are {right.damaged}")
    try:
        Run(config, top / "run").train()
        trained = True
    except RegistrationError:
        trained = False
    if trained != (not right.refused and not right.damaged):
        differences.append(f"trained: {trained}")
    return differences


def folders(count: int, top: Path) -> dict[str, Any]:
    differences = {}
    refused = damaged = 0
    for number in range(count):
        folder = top / f"set{number}"
        right = make_folder(folder, random.Random(number))
        refused, damaged = refused + bool(right.refused), damaged + bool(right.damaged)
        if different := compare(folder, right):
            differences[number] = different
    agree = count - len(differences)
    return {
        "sets": count, "agree": agree, "to_be_refused": refused, "damaged": damaged,
        "differences": differences,
    }  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("which", nargs="*", default=["kills", "folders"])
    parser.add_argument("--count", type=int)
    options = parser.parse_args()
    torch.set_num_threads(1)
    results: dict[str, Any] = {}
    for name, measure, count in (("kills", kills, 100), ("folders", folders, 200)):
        if name in options.which:
            with tempfile.TemporaryDirectory() as top:
                results[name] = measure(options.count or count, Path(top))
            print(name, results[name], flush=True)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "training_runs.json").write_text(json.dumps(results, indent=1), encoding="utf-8")
    good = all(
        part.get("equal", part.get("agree")) == part.get("runs", part.get("sets"))
        for part in results.values()
    )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
