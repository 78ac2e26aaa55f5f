"""Templates, motion and fusion on made data of known truth, beside antspyx where it is installed.

python -m benchmarks.groups [--size 48] [--threads 2] [--output benchmarks/results/groups.json]
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch
from neuralreg.geometry.image import Image
from neuralreg.groups.label_fusion import Fusion, fuse_labels
from neuralreg.groups.motion import MotionOptions, Target, estimate_motion
from neuralreg.groups.subjects import read_subjects, select_alike
from neuralreg.groups.template import TemplateOptions, build_template, sharpness
from neuralreg.io.image_files import read_image, read_series
from neuralreg.io.itk import image_from_itk
from neuralreg.registration.engine import register
from neuralreg.registration.working_grid import foreground

from benchmarks.template_edges import edge_error_mm
from Testing.support.made_group import bent_body, write_group

ROUNDS = 3


def time_of(work: Callable[[], object]) -> tuple[object, float]:
    began = time.perf_counter()
    result = work()
    return result, time.perf_counter() - began


def templates(size: int, folder: Path) -> dict[str, object]:
    bends = np.random.default_rng(1).normal(0, 2.0, (8, 3))
    bends -= bends.mean(0)
    paths = write_group(folder, bends, size)
    truth = image_from_itk(bent_body((0, 0, 0), size, seed=99))
    subjects, middle, _ = select_alike(read_subjects(paths)[0])
    options = TemplateOptions(rounds=ROUNDS)
    built, seconds = time_of(lambda: build_template(subjects, middle, options, folder / "cache"))
    results: dict[str, object] = {
        "ours": {
            "error_mm": edge_error_mm(built.image, truth),
            "seconds": seconds,
            "sharpness": sharpness(built.image),
        },
        "middle subject": {"error_mm": edge_error_mm(read_image(middle.path), truth)},
    }
    try:
        import ants
    except ModuleNotFoundError:
        return results
    images = [ants.image_read(str(path)) for path in paths]
    made, seconds = time_of(
        lambda: ants.build_template(image_list=images, iterations=ROUNDS, verbose=False)
    )
    ants.image_write(made, str(folder / "ants.nii.gz"))
    theirs = read_image(folder / "ants.nii.gz")
    high = float(torch.quantile(theirs.data[0][foreground(theirs)], 0.99))
    unit = Image(theirs.data / high, theirs.grid)
    results["antspyx build_template"] = {
        "error_mm": edge_error_mm(theirs, truth), "seconds": seconds, "sharpness": sharpness(unit),
    }  # fmt: skip
    return results


def motions(size: int, folder: Path) -> dict[str, object]:
    rng = np.random.default_rng(0)
    truth = [
        sitk.Euler3DTransform((0, 0, 0), *np.radians(rng.normal(0, 2, 3)), rng.normal(0, 1.5, 3))
        for _ in range(8)
    ]
    truth[0] = sitk.Euler3DTransform()
    body, grid = bent_body((0, 0, 0), 3 * size), bent_body((0, 0, 0), size)
    frames = [sitk.Resample(body, grid, way.GetInverse(), sitk.sitkBSpline) for way in truth]
    sitk.WriteImage(sitk.JoinSeries(frames), str(folder / "series.nii.gz"))
    points = rng.uniform(-24, 24, (100, 3)).tolist()

    def errors(move: Callable[[int, list[float]], object]) -> float:
        gaps = [
            np.linalg.norm(np.subtract(move(n, p), truth[n].TransformPoint(p)))
            for n in range(1, len(truth))
            for p in points
        ]
        return float(np.mean(gaps))

    given = read_series(folder / "series.nii.gz").frames
    options = MotionOptions(target=Target.FRAME, frame=0)
    motion, seconds = time_of(lambda: estimate_motion(given, options))
    results: dict[str, object] = {
        "ours": {
            "error_mm": errors(lambda n, p: motion.ways[n](np.array([p]))[0]),
            "seconds": seconds,
        }
    }
    try:
        import ants
    except ModuleNotFoundError:
        return results
    series = ants.image_read(str(folder / "series.nii.gz"))
    fixed = ants.from_numpy(
        sitk.GetArrayFromImage(frames[0]).T.copy(), frames[0].GetOrigin(), frames[0].GetSpacing()
    )
    made, seconds = time_of(
        lambda: ants.motion_correction(series, fixed=fixed, type_of_transform="Rigid")
    )
    ways = [sitk.ReadTransform(each[0]) for each in made["motion_parameters"]]
    results["antspyx motion_correction"] = {
        "error_mm": errors(lambda n, p: ways[n].TransformPoint(p)), "seconds": seconds,
    }  # fmt: skip
    return results


def fusions(size: int) -> dict[str, object]:
    """Leave one out among eight bodies, on the same registrations for every method."""
    bends = np.random.default_rng(2).normal(0, 2.5, (6, 3))
    images = [image_from_itk(bent_body(b, size, seed=n)) for n, b in enumerate(bends)]
    labels = [image_from_itk(bent_body(b, size, labels=True)) for b in bends]
    from neuralreg.geometry.warp import warp, warp_labels

    scores: dict[str, list[float]] = {}
    for n, (image, truth) in enumerate(zip(images, labels, strict=True)):
        others = [k for k in range(len(images)) if k != n]
        fields = [register(image, images[k]).field for k in others]
        moved = [warp(images[k], f, image.grid) for k, f in zip(others, fields, strict=True)]
        maps = [warp_labels(labels[k], f, image.grid) for k, f in zip(others, fields, strict=True)]
        single = [mean_dice(one.data, truth.data) for one in maps]
        scores.setdefault("best single atlas", []).append(max(single))
        for method in Fusion:
            fused = fuse_labels(image, moved, maps, method).labels.data
            scores.setdefault(method.value, []).append(mean_dice(fused, truth.data))
        theirs = joint_of_ants(image, moved, maps)
        if theirs is not None:
            scores.setdefault("antspyx joint_label_fusion", []).append(
                mean_dice(theirs, truth.data)
            )
    return {name: float(np.mean(values)) for name, values in scores.items()}


def mean_dice(one: torch.Tensor, two: torch.Tensor) -> float:
    names = [int(n) for n in torch.unique(two.long()) if n]
    return float(
        np.mean(
            [2 * float(((one == n) & (two == n)).sum()) / float((one == n).sum() + (two == n).sum())
             for n in names]
        )
    )  # fmt: skip


def joint_of_ants(image: Image, moved: list[Image], maps: list[Image]) -> torch.Tensor | None:
    try:
        import ants
    except ModuleNotFoundError:
        return None

    def to_ants(one: Image) -> object:
        values = one.data[0].float().numpy().T.copy()
        return ants.from_numpy(values, one.grid.origin, one.grid.spacing)

    # Within its mask every voxel gets a label: it is given where most atlases have one.
    voted = fuse_labels(image, moved, maps, Fusion.MAJORITY).labels
    mask = ants.threshold_image(to_ants(voted), 0.5, 1e9)
    made = ants.joint_label_fusion(
        to_ants(image), mask, [to_ants(one) for one in moved],
        label_list=[to_ants(one) for one in maps], verbose=False,
    )  # fmt: skip
    return torch.from_numpy(made["segmentation"].numpy().T.copy())[None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=48)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/groups.json"))
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    with tempfile.TemporaryDirectory() as scratch:
        results = {
            "template": templates(asked.size, Path(scratch)),
            "motion": motions(asked.size, Path(scratch)),
            "fusion": fusions(asked.size),
        }
    asked.output.parent.mkdir(parents=True, exist_ok=True)
    asked.output.write_text(json.dumps(results, indent=2) + "\n", "utf-8")
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
