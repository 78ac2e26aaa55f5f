"""NIfTI files with three numbers per voxel, as arrays, whatever the numbers mean."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import SimpleITK as sitk

from neuralreg.errors import InvalidTransform, UnreadableFile
from neuralreg.geometry.grid import Grid, Matrix
from neuralreg.geometry.typing import Array
from neuralreg.io.exchange.matrices import FLIP
from neuralreg.io.files import require_existing, write_whole, writing_error
from neuralreg.io.formats import nifti, nifti_header
from neuralreg.io.itk_images import open_grid
from neuralreg.io.volume import to_image

AFNI_EXTENSION = 4  # the code that AFNI's header in XML has in NIfTI files
_LEAST_SAMPLES = 3  # along an axis, to see whether vectors grow with the position
_MOST_FITTED = 20_000


@dataclass(frozen=True)
class VectorHeader:
    """What the header of a NIfTI file says about vectors in it.

    Attributes:
        shape: of the array, x y z and more.
        code, name, parameters: of its intent.
        extensions: codes of what follows the header.
        pixdim: x y z.
        qform, sform: matrices as stored.
        description: free text.
    """

    shape: tuple[int, ...]
    code: int
    name: str
    parameters: tuple[float, float, float]
    extensions: tuple[int, ...]
    pixdim: tuple[float, ...]
    qform: Matrix
    sform: Matrix
    description: str

    @property
    def is_4d(self) -> bool:
        """Whether three volumes follow each other: vectors, or three frames of a series."""
        return len(self.shape) == 4 and self.shape[3] == 3

    @property
    def is_5d(self) -> bool:
        """Whether the components lie along the fifth axis, as the standard has it."""
        return len(self.shape) == 5 and self.shape[3:] == (1, 3)


def read_vector_header(path: Path) -> VectorHeader:
    """The header of a NIfTI file.

    Raises:
        UnreadableFile: it is none, or damaged.
    """
    image = _load(path)
    header = image.header
    return VectorHeader(
        tuple(map(int, image.shape)),
        int(header["intent_code"]),
        bytes(header["intent_name"]).split(b"\0")[0].decode("latin-1").strip(),
        tuple(float(header[f"intent_p{k}"]) for k in (1, 2, 3)),  # type: ignore[arg-type]
        tuple(int(one.get_code()) for one in getattr(header, "extensions", ())),
        tuple(map(float, header["pixdim"][1:4])),
        np.asarray(header.get_qform(), float),
        np.asarray(header.get_sform(), float),
        bytes(header["descrip"]).split(b"\0")[0].decode("latin-1"),
    )


def read_array(path: Path) -> Array:
    """The three numbers of each voxel, (z, y, x, 3), scaled, in single precision; a copy.

    Raises:
        UnreadableFile: the file is damaged.
        InvalidTransform: it does not hold three numbers per voxel.
    """
    image = _load(path)
    shape = tuple(n for k, n in enumerate(image.shape) if k < 3 or n != 1)
    if len(shape) != 4 or shape[3] != 3:
        raise InvalidTransform(
            "a warp in 3D has three numbers per voxel", where=str(path),
            got=f"an array of {' x '.join(map(str, image.shape))}",
            wanted="the components along the fourth or fifth axis",
        )  # fmt: skip
    nifti.require_whole(nifti_header.read_header(path))
    try:
        values = np.asanyarray(image.dataobj).reshape(shape)
    except Exception as error:
        raise UnreadableFile(f"{path} is truncated or damaged", got=str(error)) from error
    return np.array(values.transpose(2, 1, 0, 3), np.float32, order="C")


def read_grid_of(path: Path) -> Grid:
    """The grid of the vectors in a NIfTI file."""
    return open_grid(path)[0]


def positions_of(grid: Grid, matrix: Matrix | None = None) -> Array:
    """LPS mm of all samples, (z, y, x, 3), in single precision.

    Args:
        grid: of the samples.
        matrix: (4, 4) from index to other coordinates, which are given instead.
    """
    to_world = grid.index_to_world if matrix is None else matrix
    points = np.broadcast_to(to_world[:3, 3], (*grid.shape, 3)).copy()
    for axis in range(3):
        along: list[int] = [1, 1, 1, 1]
        along[2 - axis] = -1
        points += np.arange(grid.size[axis]).reshape(along) * to_world[:3, axis]
    return points


def apply_matrix(matrix: Matrix, points: Array) -> Array:
    """Points (..., 3) through a homogeneous matrix."""
    return np.asarray(points @ matrix[:3, :3].T + matrix[:3, 3])


def displacement_image(values: Array, grid: Grid, *, positions: bool) -> sitk.Image:
    """The field of vectors in LPS mm.

    Args:
        values: (z, y, x, 3), LPS mm; they may be changed in place.
        grid: of the samples.
        positions: whether they are where the samples go, not how far.
    """
    offset = -grid.index_to_world if positions else None
    return affine_image(values, grid, np.eye(3), offset)


def ras_image(values: Array, grid: Grid, *, positions: bool) -> sitk.Image:
    """As `displacement_image`, of vectors in RAS mm."""
    offset = -grid.index_to_world if positions else None
    return affine_image(values, grid, FLIP[:3, :3], offset)


def affine_image(
    values: Array, grid: Grid, turn: Matrix, offset: Matrix | None = None
) -> sitk.Image:
    """The field of displacements `turn @ value + offset @ index` in LPS mm.

    Slice by slice and in place, so that large fields need no second copy.

    Args:
        values: (z, y, x, 3), as a file has them; they are changed.
        grid: of the samples.
        turn: (3, 3).
        offset: (4, 4) or (3, 4), of a homogeneous index x y z; none unless given.
    """
    values = np.ascontiguousarray(values, np.float32)
    turned = not np.array_equal(turn, np.eye(3))
    plane = positions_of(Grid((*grid.size[:2], 1), grid.spacing, grid.origin, grid.direction),
                         offset)[0] if offset is not None else None  # fmt: skip
    for z in range(len(values)) if turned or plane is not None else ():
        rows = values[z] @ turn.T if turned else values[z]
        if plane is not None and offset is not None:
            rows = rows + (plane + z * offset[:3, 2])
        values[z] = rows
    return to_image(values, grid)


def slopes(values: Array, coordinates: Matrix) -> Matrix | None:
    """How vectors grow with the position: the matrix (3, 3) that fits them best.

    About 1 for positions, about 0 for displacements.

    Args:
        values: (z, y, x, 3).
        coordinates: (4, 4), from index to the coordinates of the vectors.

    Returns:
        None where an axis has too few samples to tell.
    """
    if min(values.shape[:3]) < _LEAST_SAMPLES:
        return None
    step = max(1, round((values[..., 0].size / _MOST_FITTED) ** (1 / 3)))
    every = values[::step, ::step, ::step]
    index = np.moveaxis(np.indices(every.shape[:3])[::-1], 0, -1).reshape(-1, 3) * step
    points = apply_matrix(coordinates, index.astype(float))
    sampled = every.reshape(-1, 3).astype(float)
    known = np.isfinite(sampled).all(1)
    if known.sum() < _LEAST_SAMPLES**3:
        return None
    design = np.column_stack([points[known], np.ones(known.sum())])
    fit = np.linalg.lstsq(design, sampled[known], rcond=None)[0]
    return np.asarray(fit[:3].T)


def are_positions(values: Array, coordinates: Matrix) -> bool | None:
    """Whether vectors are positions in these coordinates, displacements, or it is unclear.

    Args:
        values: (z, y, x, 3).
        coordinates: (4, 4), from index to the coordinates of the vectors.

    Returns:
        None where the content does not decide.
    """
    slope = slopes(values, coordinates)
    if slope is None:
        return None
    if np.linalg.norm(slope) < 0.7:
        return False
    return True if np.linalg.norm(slope - np.eye(3)) < 0.7 else None


def fill_outside(field: sitk.Image, path: Path, notes: list[str]) -> sitk.Image:
    """Displacements, those of the nearest known sample where a program marks NaN for outside.

    Args:
        field: LPS mm.
        path, notes: a sentence is appended where something was filled.
    """
    values = sitk.GetArrayViewFromImage(field)
    unknown = ~np.isfinite(values).all(-1)
    if not unknown.any() or unknown.all():
        return field
    from scipy import ndimage  # slow to import, and only these files need it

    nearest = ndimage.distance_transform_edt(unknown, return_distances=False, return_indices=True)
    notes.append(
        f"{path}: {100 * unknown.mean():.3g} % of the samples lead outside (NaN); they keep the "
        "displacement of the nearest one that does not"
    )
    return to_image(np.asarray(values[tuple(nearest)]), Grid.of(field))


def write_array(
    values: Array, affine: Matrix, path: Path, intent: Mapping[str, Any] | None = None
) -> None:
    """Write vectors as NIfTI.

    Args:
        values: (x, y, z, 3) or (x, y, z, 1, 3).
        affine: from index to RAS mm.
        path: .nii or .nii.gz.
        intent: fields of the header.
    """
    image = nibabel.Nifti1Image(np.asarray(values, np.float32), affine)
    image.set_qform(affine, 1)
    image.set_sform(affine, 1)
    image.header.set_xyzt_units("mm")
    for name, value in (intent or {}).items():
        image.header[name] = value
    with write_whole(path) as draft:
        known = draft.with_name(draft.name.lower())
        try:
            nibabel.save(image, known)
        except OSError:
            raise
        except Exception as error:
            raise writing_error(path, EOFError()) from error
        known.rename(draft)


def array_of(field: sitk.Image) -> tuple[Array, Grid, Matrix]:
    """Displacements (x, y, z, 3) in LPS mm, their grid, and its matrix to RAS mm."""
    values = sitk.GetArrayFromImage(field).astype(float).transpose(2, 1, 0, 3)
    grid = Grid.of(field)
    return values, grid, FLIP @ grid.index_to_world


def _load(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of nibabel, about headers that it completes
            return nibabel.load(require_existing(path))
    except UnreadableFile:
        raise
    except Exception as error:
        raise UnreadableFile(
            f"{path} cannot be read as an image", got=f"{type(error).__name__}: {error}"
        ) from error
