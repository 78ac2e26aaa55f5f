"""Transform files that are foreign, ambiguous or wrong: is any of them misread without a word?

`python -m benchmarks.exchange [--count 200] [--seed 0]` makes files of every family from a known
map, spoils most of them in a way that happens (the inverse given for the forward transform, axes
flipped or swapped, RAS for LPS, files in the wrong order, a lost mark, another program's vectors,
the images exchanged), and runs `neuralreg convert` with both images. Each run ends in one of four
ways: right, a question (an error that says what is not known), a warning, or silently wrong.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
import SimpleITK as sitk

from benchmarks import RESULTS
from Testing.support import foreign_transforms as foreign
from Testing.support.command_line import neuralreg

RIGHT_MM = 0.1  # at every point: what a file in single precision and a turn of sampling may lose
MATRICES = {"fsl": "t.mat", "afni": "t.1D", "niftyreg": "t.txt", "mrtrix": "t.txt",
            "lta-ras": "t.lta", "lta-voxels": "t.lta", "register.dat": "t.dat"}  # fmt: skip
WARPS = {"fsl-relative": "w.nii.gz", "fsl-absolute": "w.nii.gz", "afni": "w.nii",
         "niftyreg-deformation": "w.nii", "niftyreg-displacement": "w.nii", "spm": "y_w.nii",
         "mrtrix-deformation": "w.nii", "mrtrix-displacement": "w.nii",
         "voxelmorph": "w.nii.gz", "voxelmorph-npz": "w.npz", "learn2reg": "w.nii.gz",
         "learn2reg-npz": "w.npz"}  # fmt: skip
FROM = {"mrtrix-deformation": "mrtrix", "mrtrix-displacement": "mrtrix", "voxelmorph-npz":
        "voxelmorph", "learn2reg-npz": "learn2reg", "niftyreg-deformation": "niftyreg",
        "niftyreg-displacement": "niftyreg", "lta-ras": "freesurfer", "lta-voxels": "freesurfer",
        "register.dat": "freesurfer"}  # fmt: skip
MARKED = ("fsl-relative", "fsl-absolute", "niftyreg-deformation", "niftyreg-displacement", "spm")
AXES = list(foreign.AXES)
OUTCOMES = ("right", "question", "warning", "silently wrong")


@dataclass(frozen=True)
class Scene:
    """Two images of one body, the map between them, and the points that count."""

    fixed: foreign.Side
    moving: foreign.Side
    matrix: np.ndarray
    bends: bool

    def map(self, points: np.ndarray) -> np.ndarray:
        x, y, z = np.moveaxis(points, -1, 0)
        wave = np.stack(
            [1.5 * np.sin(0.11 * y + 0.3), np.cos(0.13 * z) - 0.4, 0.8 * np.sin(0.09 * x)], -1
        )
        return foreign.apply(self.matrix, points + wave * self.bends)

    def back(self, points: np.ndarray) -> np.ndarray:
        """The inverse of the map, by fixed points."""
        straight = foreign.apply(np.linalg.inv(self.matrix), points)
        at = straight
        for _ in range(20):
            moved = foreign.apply(np.linalg.inv(self.matrix), self.map(at)) - at
            at = straight - moved
        return at


def body(points: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """A textured body without any symmetry, about 24 mm across."""
    x, y, z = np.moveaxis(points, -1, 0)
    inside = 1 / (
        1 + np.exp(np.clip(8 * ((x / 10) ** 2 + (y / 13) ** 2 + (z / 11) ** 2 - 1), -50, 50))
    )
    value = 1 + 0.3 * np.sin(0.6 * x + 0.2) * np.cos(0.5 * y + 0.4 * z)
    for _ in range(6):
        center, width = generator.uniform(-8, 8, 3), generator.uniform(1.5, 4)
        blob = np.exp(-(((points - center) / width) ** 2).sum(-1))
        value = value + generator.choice([-0.7, 1.0]) * blob
    return 1000 * inside * value


def make_scene(folder: Path, generator: np.random.Generator) -> Scene:
    """Images of one size in two orientations, and a map of 4 to 15 degrees and 2 to 5 mm."""
    size, axes = (34, 33, 32), generator.choice(AXES, 2)
    fixed = foreign.make_side(folder / "fixed.nii.gz", str(axes[0]), size, (1.0, 1.1, 1.0))
    moving = foreign.make_side(folder / "moving.nii.gz", str(axes[1]), size, (1.1, 1.0, 1.1))
    matrix = np.eye(4)
    turn = generator.uniform(4, 15, 3) * generator.choice([-1, 1], 3)
    stretch = np.diag(generator.uniform(0.93, 1.07, 3))
    matrix[:3, :3] = foreign.Rotation.from_euler("xyz", turn, degrees=True).as_matrix() @ stretch
    matrix[:3, 3] = generator.uniform(2, 5, 3) * generator.choice([-1, 1], 3)
    scene = Scene(fixed, moving, matrix, bool(generator.integers(2)))
    seed = int(generator.integers(1 << 30))
    for side, points in ((fixed, fixed.points()), (moving, scene.back(moving.points()))):
        values = body(points, np.random.default_rng(seed))
        image = nibabel.Nifti1Image(values.astype(np.float32), side.affine)
        image.set_qform(side.affine, 1)
        nibabel.save(image, side.path)
    return scene


Mistake = Callable[[Scene, np.random.Generator], Callable[[np.ndarray], np.ndarray]]


def _in_frame(frame: np.ndarray) -> Mistake:
    """The numbers written as if points were in another frame."""
    return lambda scene, _: (
        lambda points: foreign.apply(np.linalg.inv(frame), scene.map(foreign.apply(frame, points)))
    )


def _swap(axes: list[int]) -> np.ndarray:
    frame = np.eye(4)
    frame[:3, :3] = np.eye(3)[axes]
    return frame


MISTAKES: dict[str, Mistake] = {
    "as it should be": lambda scene, _: scene.map,
    "inverse for forward": lambda scene, _: scene.back,
    "RAS for LPS": _in_frame(foreign.FLIP),
    "x flipped": _in_frame(np.diag([-1.0, 1, 1, 1])),
    "z flipped": _in_frame(np.diag([1.0, 1, -1, 1])),
    "x and y swapped": _in_frame(_swap([1, 0, 2])),
    "axes turned round": _in_frame(_swap([2, 0, 1])),
}
WAYS = (*MISTAKES, "mark lost", "images exchanged", "wrong order", "another program's")


@dataclass(frozen=True)
class Case:
    """One run: what was done, and how it ended."""

    way: str
    form: str
    outcome: str
    words: str


def run_case(folder: Path, way: str, generator: np.random.Generator) -> Case:
    """Make one pair and one file, and convert it with both images."""
    scene = make_scene(folder, generator)
    forms = WARPS if scene.bends or way in ("mark lost", "another program's") else MATRICES
    form = str(generator.choice(list(forms) if way != "mark lost" else MARKED))
    path = folder / forms[form]
    mapping = MISTAKES.get(way, MISTAKES["as it should be"])(scene, generator)
    _write(scene, form, mapping, path, warp=forms is WARPS)
    sides = [scene.fixed.path, scene.moving.path]
    inputs: list[object] = [path]
    source = FROM.get(form, form)
    if way == "mark lost":
        _strip(path)
    if way in ("mark lost", "images exchanged") or generator.random() < 0.4:
        source = ""  # as a user would try first
    if way == "images exchanged":
        sides = sides[::-1]
    if way == "another program's":
        others = set(FROM.values()) | {"fsl", "afni", "spm", "itk"}
        source = str(generator.choice(sorted(others - {source, source.split("-")[0]})))
    if way == "wrong order":
        inputs = _split(scene, folder)
        source = ""
    out = folder / "out.h5"
    arguments = ["convert", *inputs, "-o", out, "--fixed", sides[0], "--moving", sides[1], "--json"]
    done = neuralreg(*arguments, *(["--from", source] if source else []))
    return Case(way, form, *_judge(scene, done, out, exchanged=way == "images exchanged"))


def _write(scene: Scene, form: str, mapping: foreign.Map, path: Path, *, warp: bool) -> None:
    if warp:
        foreign.write_warp(form, scene.fixed, scene.moving, mapping, path)
        return
    corners = np.vstack([np.zeros(3), np.eye(3)])
    moved = mapping(corners)
    matrix = np.eye(4)
    matrix[:3, 3] = moved[0]
    matrix[:3, :3] = (moved[1:] - moved[0]).T
    foreign.write_matrix(form, scene.fixed, scene.moving, matrix, path)


def _strip(path: Path) -> None:
    """The header without its intent, as tools that copy images leave it."""
    image = nibabel.load(path)
    plain = nibabel.Nifti1Image(image.get_fdata(dtype=np.float32).copy(), image.affine)
    nibabel.save(plain, path)


def _split(scene: Scene, folder: Path) -> list[object]:
    """The map as two files of ITK, named in the wrong order."""
    shift = sitk.TranslationTransform(3, scene.matrix[:3, 3].tolist())
    turn = sitk.AffineTransform(3)
    turn.SetMatrix((scene.matrix[:3, :3] * 1.3).ravel().tolist())
    shrink = sitk.AffineTransform(3)
    shrink.SetMatrix(np.diag([1 / 1.3] * 3).ravel().tolist())
    last = sitk.AffineTransform(sitk.CompositeTransform([shift, shrink]).GetNthTransform(1))
    last.SetMatrix(shrink.GetMatrix())
    last.SetTranslation(shift.GetOffset())
    for name, part in (("first.tfm", turn), ("then.tfm", last)):
        sitk.WriteTransform(part, str(folder / name))
    return [folder / "then.tfm", folder / "first.tfm"]


def _judge(scene: Scene, done: object, out: Path, *, exchanged: bool) -> tuple[str, str]:
    if done.exit_code != 0:  # type: ignore[attr-defined]
        return "question", done.stderr.strip()[:200]  # type: ignore[attr-defined]
    warnings = json.loads(done.stdout)["warnings"]  # type: ignore[attr-defined]
    start, end = (scene.moving, scene.back) if exchanged else (scene.fixed, scene.map)
    points = start.points()[8:-8:4, 8:-8:4, 8:-8:4].reshape(-1, 3)
    transform = sitk.ReadTransform(str(out))
    ours = np.array([transform.TransformPoint(point) for point in points.tolist()])
    if np.linalg.norm(ours - end(points), axis=1).max() < RIGHT_MM:
        return ("right", "; ".join(warnings))
    return ("warning", "; ".join(warnings)) if warnings else ("silently wrong", "")


def run_all(count: int, seed: int) -> list[Case]:
    """`count` runs, all ways in turn."""
    generator, cases = np.random.default_rng(seed), []
    for number in range(count):
        folder = Path(tempfile.mkdtemp())
        try:
            cases.append(run_case(folder, WAYS[number % len(WAYS)], generator))
        finally:
            shutil.rmtree(folder)
    return cases


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    cases = run_all(arguments.count, arguments.seed)
    counts = Counter((case.way, case.outcome) for case in cases)
    print(f"| what the file holds | {' | '.join(OUTCOMES)} |\n|---|{'---|' * len(OUTCOMES)}")
    for way in WAYS:
        print(f"| {way} | {' | '.join(str(counts[way, one]) for one in OUTCOMES)} |")
    alarms = [c for c in cases if c.outcome == "right" and c.words]
    print(f"\n{len(alarms)} right ones came with a warning")
    for case in cases:
        if case.outcome == "silently wrong" or case in alarms:
            print(f"{case.outcome}: {case.way}, {case.form} {case.words}")
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "exchange.json").write_text(json.dumps([vars(case) for case in cases], indent=1))


if __name__ == "__main__":
    main()
