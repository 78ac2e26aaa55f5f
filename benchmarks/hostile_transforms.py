"""Hostile runs of transforms: kinds, files and conventions, through `warp`, `invert` and `review`.

SimpleITK resamples and moves points with the transform that the file was made from.
"""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import SimpleITK as sitk

from benchmarks.hostile_tools import (
    INTEGERS,
    NUMBERS,
    REFUSED,
    RIGHT,
    WRONG,
    Array,
    Judgement,
    body,
    call,
    fault_of,
    itk_image,
    some_direction,
)

FILES = (".tfm", ".h5", ".txt", ".mat")
FIELDS = (".nii.gz", ".nrrd", ".mha", ".nii")
IMAGES = (".nii.gz", ".nrrd", ".mha", ".nii")
EDGE = 2  # voxels at which both ways to end an image may differ


def some_image(rng: np.random.Generator, number: type = np.float32) -> sitk.Image:
    """A ball on a grid by chance, in 3D."""
    shape = tuple(int(n) for n in rng.integers(14, 20, 3))
    spacing = np.round(rng.uniform(1, 2.5, 3), 2)
    values = body(shape, rng.uniform(-1, 1, 3)).astype(number)
    image = itk_image(values, spacing, np.zeros(3), some_direction(rng, 3))
    center = image.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in image.GetSize()])
    image.SetOrigin([-c for c in center])  # about the origin, so that turns keep it in view
    return image


def some_transform(rng: np.random.Generator, image: sitk.Image) -> sitk.Transform:
    """A shift, turn, affine map, spline, field, or a chain of them; a few millimeters."""
    kind = rng.choice(["shift", "turn", "affine", "spline", "field", "chain"])
    if kind == "shift":
        return sitk.TranslationTransform(3, rng.uniform(-4, 4, 3).tolist())
    if kind == "turn":
        return sitk.Euler3DTransform(
            [0.0] * 3, *rng.uniform(-0.2, 0.2, 3).tolist(), rng.uniform(-3, 3, 3).tolist()
        )
    if kind == "affine":
        affine = sitk.AffineTransform(3)
        affine.SetMatrix((np.eye(3) + rng.uniform(-0.1, 0.1, (3, 3))).ravel().tolist())
        affine.SetTranslation(rng.uniform(-3, 3, 3).tolist())
        return affine
    if kind == "spline":
        spline = sitk.BSplineTransformInitializer(image, [2, 2, 2])
        spline.SetParameters(rng.uniform(-2, 2, len(spline.GetParameters())).tolist())
        return spline
    if kind == "field":
        return sitk.DisplacementFieldTransform(some_field(rng, image))
    parts = [
        sitk.TranslationTransform(3, rng.uniform(-2, 2, 3).tolist()),
        sitk.Euler3DTransform([0.0] * 3, *rng.uniform(-0.1, 0.1, 3).tolist(), [1.0, 0, 0]),
    ]
    return sitk.CompositeTransform(parts)


def some_field(rng: np.random.Generator, image: sitk.Image) -> sitk.Image:
    """A smooth field on the image's grid."""
    shape = image.GetSize()[::-1]
    at = np.meshgrid(*(np.linspace(0, np.pi, n) for n in shape), indexing="ij")
    wave = np.sin(at[0]) * np.sin(at[1]) * np.sin(at[2])
    vectors = wave[..., None] * rng.uniform(-2, 2, 3)
    field = sitk.GetImageFromArray(vectors, isVector=True)
    field.CopyInformation(image)
    return field


def write_transform(rng: np.random.Generator, transform: sitk.Transform, folder: Path) -> Path:
    """Any of the files that hold such a transform."""
    suffixes = FILES
    if transform.GetName() == "DisplacementFieldTransform":
        suffixes = (*FIELDS, ".h5", ".tfm")
    if transform.GetName() == "CompositeTransform":
        suffixes = (".tfm", ".h5")
    path = folder / f"transform{rng.choice(suffixes)}"
    if path.name.endswith(FIELDS):
        exact = sitk.DisplacementFieldTransform(transform)
        sitk.WriteImage(exact.GetDisplacementField(), str(path))
    else:
        sitk.WriteTransform(transform, str(path))
    return path


def warp_run(rng: np.random.Generator, folder: Path) -> Judgement:
    """An image or label map of any number type through a file of any kind."""
    labels = bool(rng.random() < 0.5)
    numbers = INTEGERS if labels else NUMBERS
    image = some_image(rng, numbers[rng.integers(len(numbers))])
    if labels:
        values = (sitk.GetArrayFromImage(image).astype(float) > 30).astype(numbers[0])
        top = np.iinfo(sitk.GetArrayFromImage(image).dtype).max
        values = np.where(values > 0, top, 0).astype(sitk.GetArrayFromImage(image).dtype)
        image = _like(values, image)
    moving, out = folder / f"moving{rng.choice(IMAGES)}", folder / f"out{rng.choice(IMAGES)}"
    reference = some_image(rng)
    sitk.WriteImage(image, str(moving))
    sitk.WriteImage(reference, str(folder / "reference.nrrd"))
    transform = some_transform(rng, reference)
    path = write_transform(rng, transform, folder)
    more = ["--labels"] if labels else []
    outcome = call("warp", moving, path, "-r", folder / "reference.nrrd", "-o", out, *more)
    if (fault := fault_of(outcome, path)) is not None:
        return Judgement(WRONG, fault.words)
    return _compare(image, reference, transform, sitk.ReadImage(str(out)), labels=labels)


def _like(values: Array, image: sitk.Image) -> sitk.Image:
    made = sitk.GetImageFromArray(values)
    made.CopyInformation(image)
    return made


def _compare(
    image: sitk.Image, reference: sitk.Image, transform: sitk.Transform, ours: sitk.Image, *,
    labels: bool,
) -> Judgement:  # fmt: skip
    values = sitk.GetArrayFromImage(image)
    finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    outside = 0.0 if labels else float(finite.min())
    mode = sitk.sitkNearestNeighbor if labels else sitk.sitkLinear
    theirs = sitk.GetArrayFromImage(sitk.Resample(image, reference, transform, mode, outside))
    mine = sitk.GetArrayFromImage(ours)
    if mine.shape != theirs.shape or mine.dtype != theirs.dtype:
        return Judgement(WRONG, f"{mine.shape} {mine.dtype}, not {theirs.shape} {theirs.dtype}")
    if np.abs(np.subtract(ours.GetOrigin(), reference.GetOrigin())).max() > 1e-3:
        return Judgement(WRONG, "not on the grid of the reference")
    inside = _well_inside(image, reference, transform)
    gap = np.abs(mine.astype(float) - theirs.astype(float))
    step = 1 if mine.dtype.kind in "iu" else 0.05
    far = gap > (0 if labels else step)
    tie = _ties(values, theirs, mine) if labels else np.zeros_like(far)
    share = (far & inside & ~tie).mean()
    if share > (0.01 if labels else 0.0):
        return Judgement(WRONG, f"{100 * share:.2g} % of the voxels differ, by up to {gap.max():g}")
    if labels and not set(np.unique(mine)) <= {0, *np.unique(values).tolist()}:
        return Judgement(WRONG, "labels that were not there")
    return Judgement(RIGHT)


def _ties(values: Array, theirs: Array, mine: Array) -> Array:
    """A sample between two voxels may take either; such are few."""
    both = np.isin(theirs, values) & np.isin(mine, values)
    return both & ((theirs != mine).mean() < 0.01)


def _well_inside(image: sitk.Image, reference: sitk.Image, transform: sitk.Transform) -> Array:
    """Samples that land well within the image or well outside, not near its end."""
    ones = _like(np.ones(image.GetSize()[::-1], np.float32), image)
    share = sitk.Resample(ones, reference, transform, sitk.sitkLinear, 0.0)
    inside, steps = sitk.Cast(share > 0, sitk.sitkUInt8), [EDGE] * 3
    end = sitk.BinaryDilate(inside, steps) - sitk.BinaryErode(inside, steps)
    return np.asarray(sitk.GetArrayFromImage(end) == 0)


def invert_run(rng: np.random.Generator, folder: Path) -> Judgement:
    """Points that go forth by SimpleITK and back by our inverse arrive where they began."""
    image = some_image(rng)
    transform = some_transform(rng, image)
    path = write_transform(rng, transform, folder)
    sitk.WriteImage(image, str(folder / "image.nrrd"))
    linear = transform.IsLinear()
    out = folder / f"inverse{rng.choice(['.tfm', '.h5'] if linear else ['.nii.gz', '.h5'])}"
    outcome = call("invert", path, "-r", folder / "image.nrrd", "-o", out)
    if (fault := fault_of(outcome, path)) is not None:
        return Judgement(WRONG, fault.words)
    inverse = _read(out)
    size = np.array(image.GetSize())
    gaps = []
    for index in rng.uniform(0.3 * size, 0.7 * size, (20, 3)):
        point = image.TransformContinuousIndexToPhysicalPoint(index.tolist())
        gaps.append(
            np.linalg.norm(
                np.subtract(inverse.TransformPoint(transform.TransformPoint(point)), point)
            )
        )
    if max(gaps) > 0.1 and "warning" not in outcome.err:
        return Judgement(WRONG, f"{max(gaps):.3g} mm off")
    return Judgement(RIGHT)


def _read(path: Path) -> sitk.Transform:
    if path.name.endswith(FIELDS):
        return sitk.DisplacementFieldTransform(sitk.ReadImage(str(path), sitk.sitkVectorFloat64))
    return sitk.ReadTransform(str(path))


def foreign_run(rng: np.random.Generator, folder: Path) -> Judgement:
    """Conventions of other programs: a shift of 5 mm means what it means there, or is refused."""
    image = some_image(rng)
    sitk.WriteImage(image, str(folder / "image.nii.gz"))
    kind = str(rng.choice(["ants", "dispvect", "spm", "niftyreg", "fsl", "fnirt", "lta", "xfm",
                           "two", "elastix", "plain 4D", "flat", "nan"]))  # fmt: skip
    path, shift = _write_foreign(kind, image, folder)
    out = folder / "out.nii.gz"
    outcome = call("warp", folder / "image.nii.gz", path, "-r", folder / "image.nii.gz", "-o", out)
    fault = fault_of(outcome, path)
    if fault is not None:
        needless = fault.verdict == REFUSED and shift is not None
        return Judgement(WRONG, f"{kind}: {fault.words}") if needless else fault
    if shift is None:
        return Judgement(WRONG, f"{kind} was taken for something")
    theirs = sitk.TranslationTransform(3, shift)
    return _compare(image, image, theirs, sitk.ReadImage(str(out)), labels=False)


def _write_foreign(kind: str, image: sitk.Image, folder: Path) -> tuple[Path, list[float] | None]:
    """A file, and the shift in LPS mm that it means; None where it is to be refused."""
    texts = {
        "fsl": ("fsl.mat", "1 0 0 5\n0 1 0 0\n0 0 1 0\n0 0 0 1\n"),
        "lta": ("t.lta", "type = 1\n"),
        "xfm": ("t.xfm", "MNI Transform File\nTransform_Type = Linear;\n"),
        "two": ("two.txt", _itk_text(5) + _itk_text(3, head="")),
        "flat": ("flat.tfm", _itk_text(5).replace("0 0 1 5", "0 0 0 5")),
        "nan": ("nan.tfm", _itk_text(5).replace("0 0 1 5", "0 0 1 nan")),
    }
    if kind in texts:
        name, text = texts[kind]
        (folder / name).write_text(text)
        return folder / name, None
    if kind == "elastix":
        path = folder / "TransformParameters.0.txt"
        path.write_text(
            '(Transform "TranslationTransform")\n(FixedImageDimension 3)\n'
            "(TransformParameters 5 0 0)\n"
            '(InitialTransformParametersFileName "NoInitialTransform")\n'
        )
        return path, [5.0, 0, 0]
    return _write_foreign_field(kind, image, folder)


def _itk_text(shift: float, head: str = "#Insight Transform File V1.0\n") -> str:
    return (
        f"{head}Transform: AffineTransform_double_3_3\n"
        f"Parameters: 1 0 0 0 1 0 0 0 1 {shift} 0 0\nFixedParameters: 0 0 0\n"
    )


def _write_foreign_field(
    kind: str, image: sitk.Image, folder: Path
) -> tuple[Path, list[float] | None]:
    size = image.GetSize()
    matrix = np.eye(4)
    matrix[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    matrix[:3, 3] = image.GetOrigin()
    to_ras = np.diag([-1.0, -1.0, 1.0, 1.0]) @ matrix
    index = np.stack(np.meshgrid(*map(np.arange, size), indexing="ij"), -1)
    vectors = np.zeros((*size, 3))
    vectors[..., 0] = 5
    if kind in ("spm", "niftyreg"):
        vectors = vectors + index @ to_ras[:3, :3].T + to_ras[:3, 3]
    shape = vectors if kind in ("fnirt", "plain 4D") else vectors[..., None, :]
    file = nibabel.Nifti1Image(shape.astype(np.float32), to_ras)
    codes = {"ants": 1007, "dispvect": 1006, "spm": 1007, "niftyreg": 1007, "fnirt": 2006}
    file.header["intent_code"] = codes.get(kind, 0)
    file.header["intent_name"] = {"spm": b"Mapping", "niftyreg": b"NREG_TRANS"}.get(kind, b"")
    path = folder / "field.nii.gz"
    nibabel.save(file, path)
    # FSL's x runs against the first axis of voxels where that makes its axes left-handed.
    sense = -5 if np.linalg.det(to_ras) > 0 else 5
    along = sense * np.reshape(image.GetDirection(), (3, 3))[:, 0]
    shifts = {"ants": [5.0, 0, 0], "dispvect": [-5.0, 0, 0], "spm": [-5.0, 0, 0],
              "niftyreg": [-5.0, 0, 0], "fnirt": along.tolist()}  # fmt: skip
    return path, shifts.get(kind)


def overlap_run(rng: np.random.Generator, folder: Path) -> Judgement:
    """A review's Dice against the counts of voxels, in any number type and format."""
    number = INTEGERS[rng.integers(len(INTEGERS))]
    image = some_image(rng)
    values = sitk.GetArrayFromImage(image)
    low, high = np.sort(rng.choice([20.0, 40.0, 60.0, 80.0], 2, replace=False))
    label = min(int(np.iinfo(number).max), int(rng.choice([1, 2, 200, 3_000_000_000])))
    fixed, moving = (np.where(values > t, label, 0).astype(number) for t in (low, high))
    paths = [folder / f"{side}{rng.choice(IMAGES)}" for side in ("fixed", "moving")]
    for path, part in zip(paths, (fixed, moving), strict=True):
        sitk.WriteImage(_like(part, image), str(path))
    sitk.WriteTransform(sitk.TranslationTransform(3), str(folder / "t.tfm"))
    arguments = ["--fixed", paths[0], "--fixed-seg", paths[0], "--moving-seg", paths[1]]
    outcome = call("review", folder / "t.tfm", *arguments, "--json", "-q")
    if outcome.crash or outcome.code not in (0, 1):
        return fault_of(outcome, paths[0]) or Judgement(WRONG, outcome.err[:300])
    dice = 2 * ((fixed > 0) & (moving > 0)).sum() / ((fixed > 0).sum() + (moving > 0).sum())
    lines = [line for line in json.loads(outcome.out)["lines"] if "dice" in line["name"]]
    if not lines or lines[0].get("value") is None:
        return Judgement(WRONG, "no Dice")
    if abs(lines[0]["value"] - dice) > 0.02:
        return Judgement(WRONG, f"Dice {lines[0]['value']}, not {dice:.4f}")
    return Judgement(RIGHT)


KINDS = {
    "warp": (warp_run, 130),
    "invert": (invert_run, 30),
    "foreign transforms": (foreign_run, 60),
    "overlap": (overlap_run, 20),
}
