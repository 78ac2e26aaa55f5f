"""Pairs that are odd in one way each, made of a published head.

For checkouts without the shared data. The moving image is the head seen through a known transform,
so that the right answer is known at any point. What is odd (axes, spacing, number types, headers)
is done to the files afterwards.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import nibabel
import numpy as np
import SimpleITK as sitk

from Testing.support.published_images import fetch

HEAD = "T1.nii.gz"
POINTS = 200
_CENTER = (0.0, -18.0, 18.0)  # of the head, LPS mm


@dataclass(frozen=True)
class Made:
    """Two images, the transform from moving to fixed points, and how both are written."""

    fixed: sitk.Image
    moving: sitk.Image
    moving_to_fixed: sitk.Transform | None
    suffix: str = ".nii.gz"


def make_odd_pairs(folder: Path, cache: Path) -> Path:
    """Writes `<pair>/fixed`, `<pair>/moving` and, where the truth is known, `<pair>/points.csv`.

    points.csv: LPS mm, fixed then moving, one pair of points a row.
    cache: where the published images are, or come to.
    """
    head = _scale_values(sitk.ReadImage(str(fetch(cache)[HEAD]), sitk.sitkFloat32))
    for name, make in PAIRS.items():
        target = folder / name
        target.mkdir(parents=True, exist_ok=True)
        pair = make(head)
        _write(pair.fixed, target / f"fixed{pair.suffix}")
        _write(pair.moving, target / f"moving{pair.suffix}")
        if pair.moving_to_fixed is not None:
            _write_points(pair, target / "points.csv")
    _turn_placement(folder / "od18_qform_sform" / "moving.nii.gz")
    _shear(folder / "od14_sheared_sform" / "moving.nii.gz")
    _make_big_endian(folder / "od21_bigendian_slope" / "moving.nii.gz")
    return folder


def _scale_values(image: sitk.Image) -> sitk.Image:
    return sitk.Cast(sitk.RescaleIntensity(image, 0, 250), sitk.sitkFloat32)


def _write(image: sitk.Image, path: Path) -> None:
    sitk.WriteImage(image, str(path), useCompression=True)


def _write_points(pair: Made, path: Path) -> None:
    """Points inside of the moving head; those that have a partner in the fixed image's view."""
    generator = np.random.default_rng(0)
    values = np.nan_to_num(sitk.GetArrayFromImage(pair.moving), posinf=0, neginf=0)
    body = np.argwhere(values > 0.2 * np.percentile(values, 99))[:, ::-1]
    chosen = body[generator.permutation(len(body))].tolist()
    rows = []
    for index in chosen:
        moving = pair.moving.TransformIndexToPhysicalPoint(index)
        fixed = pair.moving_to_fixed.TransformPoint(moving)
        at = pair.fixed.TransformPhysicalPointToContinuousIndex(fixed)
        if all(0 <= a <= n - 1 for a, n in zip(at, pair.fixed.GetSize(), strict=True)):
            rows.append([*fixed, *moving])
    np.savetxt(path, rows[:POINTS], delimiter=",", fmt="%.4f")


def _grid(
    size: tuple[int, ...],
    spacing: tuple[float, ...],
    *,
    center: tuple[float, ...] = _CENTER,
    direction: tuple[float, ...] = (1, 0, 0, 0, 1, 0, 0, 0, 1),
) -> sitk.Image:
    image = sitk.Image(size, sitk.sitkUInt8)
    image.SetSpacing(spacing)
    image.SetDirection(direction)
    middle = image.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in size])
    image.SetOrigin([c - m for c, m in zip(center, middle, strict=True)])
    return image


def _deformation(turn: tuple[float, float, float] = (0.05, -0.04, 0.06)) -> sitk.Transform:
    """A turn, a shift, a stretch and a smooth bend of up to 3 mm, from moving to fixed points."""
    rigid = sitk.Euler3DTransform(_CENTER, *turn, (3.0, -4.0, 2.0))
    scale = sitk.ScaleTransform(3, (1.03, 0.98, 1.02))
    scale.SetCenter(_CENTER)
    bend = sitk.Image((16, 16, 16), sitk.sitkVectorFloat64, 3)
    bend.SetSpacing((16.0, 16.0, 16.0))
    bend.SetOrigin([c - 120 for c in _CENTER])
    z, y, x = np.meshgrid(*(np.arange(16) * 16.0,) * 3, indexing="ij")
    waves = (np.sin(y / 32 + 0.4), np.sin(z / 35 - 0.8), np.sin(x / 30 + 1.3))
    field = sitk.GetImageFromArray(3 * np.stack(waves, -1), isVector=True)
    field.CopyInformation(bend)
    return sitk.CompositeTransform([sitk.DisplacementFieldTransform(field), scale, rigid])


def _look(
    head: sitk.Image, grid: sitk.Image, transform: sitk.Transform | None = None, outside: float = 0
) -> sitk.Image:
    """The head on a grid, where `transform` leads from there to the head; rounded to 0..255."""
    image = sitk.Resample(head, grid, transform or sitk.Transform(3, sitk.sitkIdentity),
                          sitk.sitkLinear, outside, sitk.sitkFloat32)  # fmt: skip
    return sitk.Cast(sitk.Clamp(sitk.Round(image), sitk.sitkFloat32, 0, 255), sitk.sitkUInt8)


def _usual(head: sitk.Image) -> Made:
    truth = _deformation()
    moving = _look(head, _grid((52, 64, 52), (3.4, 3.4, 3.4)), truth)
    return Made(_look(head, _grid((48, 66, 49), (3.4, 3.4, 3.4))), moving, truth)


def _with_moving(change: Callable[[sitk.Image], sitk.Image]) -> Callable[[sitk.Image], Made]:
    """The usual pair, its moving image changed."""

    def make(head: sitk.Image) -> Made:
        pair = _usual(head)
        return replace(pair, moving=change(pair.moving), moving_to_fixed=pair.moving_to_fixed)

    return make


def _oblique(head: sitk.Image) -> Made:
    turned = sitk.Euler3DTransform((0, 0, 0), 0.5, -0.45, 0.6)
    grid = _grid((72, 72, 72), (3.6, 3.6, 3.6), direction=turned.GetMatrix())
    truth = _deformation()
    return replace(_usual(head), moving=_look(head, grid, truth))


def _permute_axes(head: sitk.Image) -> Made:
    pair = _usual(head)
    return replace(
        pair, fixed=sitk.DICOMOrient(pair.fixed, "LAS"), moving=sitk.DICOMOrient(pair.moving, "PIR")
    )


def _anisotropic(head: sitk.Image) -> Made:
    truth = _deformation()
    moving = _look(head, _grid((60, 76, 60), (3.0, 3.0, 3.0)), truth)
    return Made(_look(head, _grid((220, 220, 26), (0.8, 0.9, 6.5))), moving, truth)


def _partial(head: sitk.Image) -> Made:
    truth = _deformation()
    x, y, z = _CENTER
    grid = _grid((50, 62, 28), (3.2, 3.2, 3.2), center=(x, y, z + 22))
    return replace(_usual(head), moving=_look(head, grid, truth))


def _far_apart(head: sitk.Image) -> Made:
    pair, shift = _usual(head), np.array([600.0, -350.0, 800.0])
    pair.moving.SetOrigin((np.array(pair.moving.GetOrigin()) + shift).tolist())
    back = sitk.TranslationTransform(3, (-shift).tolist())
    return replace(pair, moving_to_fixed=sitk.CompositeTransform([pair.moving_to_fixed, back]))


def _tiny(head: sitk.Image) -> Made:
    """A small part of the brain, shifted and turned a little."""
    grid = _grid((16, 16, 16), (2.0, 2.4, 2.0), center=(22.0, 10.0, 12.0))
    truth = sitk.Euler3DTransform((22.0, 10.0, 12.0), 0.03, -0.02, 0.04, (1.0, -1.2, 0.8))
    return Made(_look(head, grid), _look(head, grid, truth), truth)


def _plane(head: sitk.Image) -> Made:
    flat = _look(head, _grid((104, 128, 1), (1.6, 1.7, 4.0)))[:, :, 0]
    rigid = sitk.Euler2DTransform(_CENTER[:2], 0.06, (3.0, -4.0))
    truth = sitk.CompositeTransform([_waves(flat), rigid])
    return Made(flat, sitk.Resample(flat, flat, truth, sitk.sitkLinear, 0), truth)


def _one_slice(head: sitk.Image) -> Made:
    grid = _grid((104, 128, 1), (1.6, 1.7, 4.0))
    rigid = sitk.Euler3DTransform(_CENTER, 0, 0, 0.06, (3.0, -4.0, 0.0))
    thick = _grid((104, 128, 9), (1.6, 1.7, 4.0))
    truth = sitk.CompositeTransform([_waves(thick), rigid])
    return Made(_look(head, grid), _look(head, grid, truth), truth)


def _waves(image: sitk.Image) -> sitk.Transform:
    """A smooth bend in x and y of up to 4 mm, known over an image."""
    *_, rows, columns = np.indices(image.GetSize()[::-1]).astype(float)
    vectors = np.zeros((*rows.shape, image.GetDimension()))
    vectors[..., 0], vectors[..., 1] = 4 * np.sin(rows / 14), 4 * np.cos(columns / 12)
    field = sitk.GetImageFromArray(vectors, isVector=True)
    field.CopyInformation(image)
    return sitk.DisplacementFieldTransform(field)


def _series(moving: sitk.Image) -> sitk.Image:
    return sitk.JoinSeries([sitk.Cast(moving, sitk.sitkInt16)] * 7)


def _with_gaps(moving: sitk.Image) -> sitk.Image:
    values = sitk.GetArrayFromImage(moving).astype(np.float32)
    values[values < 5] = np.nan
    values[10, 10, 10:13] = [np.inf, -np.inf, np.inf]
    return _like(values, moving)


def _tiny_values(moving: sitk.Image) -> sitk.Image:
    return sitk.Cast(moving, sitk.sitkFloat64) * 1e-7


def _with_outliers(moving: sitk.Image) -> sitk.Image:
    values = sitk.GetArrayFromImage(moving).astype(np.int32)
    values[values < 5] = -1024
    values[20, 30, 20:23] = 2_000_000_000
    return _like(values, moving)


def _colors(moving: sitk.Image) -> sitk.Image:
    return sitk.Compose([moving] * 3)


def _like(values: np.ndarray, image: sitk.Image) -> sitk.Image:
    result = sitk.GetImageFromArray(values)
    result.CopyInformation(image)
    return result


def _constant(head: sitk.Image) -> Made:
    fixed = sitk.Image((24, 24, 24), sitk.sitkUInt8) + 100
    return Made(fixed, _usual(head).moving, None)


def _quarter_turn(head: sitk.Image) -> Made:
    turn = sitk.Euler3DTransform(_CENTER, 0.0, 0.0, np.pi / 2)
    truth = sitk.CompositeTransform([_deformation((0.02, 0.02, -0.02)), turn])
    grid = _grid((66, 66, 52), (3.4, 3.4, 3.4))
    return replace(_usual(head), moving=_look(head, grid, truth), moving_to_fixed=truth)


def _nrrd(head: sitk.Image) -> Made:
    pair = _usual(head)
    return replace(pair, suffix=".nrrd", moving=sitk.Cast(pair.moving, sitk.sitkInt16))


def _identical(head: sitk.Image) -> Made:
    fixed = _usual(head).fixed
    return Made(fixed, fixed, sitk.Transform(3, sitk.sitkIdentity))


def _brighten(head: sitk.Image) -> Made:
    fixed = _look(head, _grid((46, 55, 46), (4.0, 4.0, 4.0)))
    return Made(fixed, 16 * sitk.Sqrt(sitk.Cast(fixed, sitk.sitkFloat32)), None)


def _without_truth(make: Callable[[sitk.Image], Made]) -> Callable[[sitk.Image], Made]:
    return lambda head: replace(make(head), moving_to_fixed=None)


def _turn_placement(path: Path) -> None:
    """The qform elsewhere than the sform, both with code 1."""
    image = nibabel.load(path)
    matrix = image.affine.copy()
    image.set_sform(matrix, code=1)
    matrix[:3, 3] += (20, -15, 30)
    image.set_qform(matrix, code=1)
    nibabel.save(image, path)


def _shear(path: Path) -> None:
    image = nibabel.load(path)
    matrix = image.affine.copy()
    matrix[1, 2] += 0.3 * matrix[2, 2]
    image.set_sform(matrix, code=1)
    image.set_qform(None, code=0)
    nibabel.save(image, path)


def _make_big_endian(path: Path) -> None:
    """The same values as big-endian integers with a slope and an intercept."""
    image = nibabel.load(path)
    header = nibabel.Nifti1Header(endianness=">")
    header.set_data_dtype(">i2")
    header.set_slope_inter(0.5, 3.0)
    nibabel.save(nibabel.Nifti1Image(image.get_fdata(), image.affine, header), path)


PAIRS: dict[str, Callable[[sitk.Image], Made]] = {
    "od01_oblique": _oblique,
    "od02_axes": _permute_axes,
    "od03_aniso_05_05_5": _anisotropic,
    "od04_partial_fov": _partial,
    "od05_no_overlap": _far_apart,
    "od06_tiny16": _tiny,
    "od07_2d": _plane,
    "od08_3d_one_slice": _one_slice,
    "od09_4d_moving": _without_truth(_with_moving(_series)),
    "od10_nan_inf": _with_moving(_with_gaps),
    "od11_constant": _constant,
    "od12_dtype_scale": _with_moving(_tiny_values),
    "od13_rgb": _without_truth(_with_moving(_colors)),
    "od14_sheared_sform": _without_truth(_usual),
    "od15_outliers_int32": _with_moving(_with_outliers),
    "od16_rot": _quarter_turn,
    "od18_qform_sform": _without_truth(_usual),
    "od19_nrrd": _nrrd,
    "od20_identical": _identical,
    "od21_bigendian_slope": _brighten,
}
