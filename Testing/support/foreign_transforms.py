"""Transform files of other programs, written and applied by their published definitions.

Nothing here is shared with the package: arrays of NumPy, headers of nibabel. A map of points is a
function from points (n, 3) of the fixed image to points of the moving one, LPS mm.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
from scipy.spatial.transform import Rotation

from Testing.support import minc_files

Map = Callable[[np.ndarray], np.ndarray]
FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])  # LPS and RAS
TURN = Rotation.from_euler("xyz", [12, -20, 25], degrees=True).as_matrix()
AXES = {  # columns: the axes of the voxels in RAS
    "RAS": np.eye(3),
    "LAS": np.diag([-1, 1, 1]),
    "LPS": np.diag([-1, -1, 1]),
    "PIR": np.array([[0, 0, 1], [-1, 0, 0], [0, -1, 0]]),
    "oblique": TURN,
    "oblique left": TURN @ np.diag([-1, 1, 1]),
}


@dataclass(frozen=True)
class Side:
    """An image file in 3D."""

    path: Path
    size: tuple[int, int, int]
    affine: np.ndarray

    @property
    def spacing(self) -> np.ndarray:
        return np.linalg.norm(self.affine[:3, :3], axis=0)

    @property
    def fsl(self) -> np.ndarray:
        """From index to FSL's coordinates."""
        scaled = np.diag([*self.spacing, 1.0])
        if np.linalg.det(self.affine) > 0:
            flip = np.diag([-1.0, 1, 1, 1])
            flip[0, 3] = self.size[0] - 1
            scaled = scaled @ flip
        return scaled

    @property
    def surface(self) -> np.ndarray:
        """From index to tkregister's RAS, as `vox2ras_tkreg` of FreeSurfer."""
        (nx, ny, nz), (dx, dy, dz) = self.size, self.spacing
        return np.array([[-dx, 0, 0, dx * nx / 2], [0, 0, dz, -dz * nz / 2],
                         [0, -dy, 0, dy * ny / 2], [0, 0, 0, 1]])  # fmt: skip

    @property
    def cardinal(self) -> np.ndarray:
        """From index to AFNI's cardinal LPS mm: axes along the nearest ones, same first voxel."""
        real = FLIP @ self.affine
        cosines = real[:3, :3] / self.spacing
        best = max(
            (np.eye(3)[list(order)] * signs
             for order in itertools.permutations(range(3))
             for signs in itertools.product((1, -1), repeat=3)),
            key=lambda axes: float((axes * cosines).sum()),
        )  # fmt: skip
        if np.allclose(best, cosines, atol=1e-4):
            return real
        card = real.copy()
        card[:3, :3] = best * self.spacing
        return card

    def indices(self) -> np.ndarray:
        """All voxels, (x, y, z, 3)."""
        return np.moveaxis(np.indices(self.size, float), 0, -1)

    def points(self) -> np.ndarray:
        """LPS mm of all voxels, (x, y, z, 3)."""
        return apply(FLIP @ self.affine, self.indices())


def make_side(path: Path, axes: str, size=(14, 12, 11), spacing=(2.0, 2.5, 3.0)) -> Side:
    """An image of a textured ball about the origin of the world, as NIfTI."""
    affine = np.eye(4)
    affine[:3, :3] = AXES[axes] * spacing
    affine[:3, 3] = -affine[:3, :3] @ np.subtract(size, 1) / 2 + [1.0, -2.0, 3.0]
    side = Side(path, size, affine)
    p = side.points()
    values = 100 * np.exp(-((p / [9, 11, 12]) ** 2).sum(-1)) * (2 + np.sin(p @ [0.5, 0.3, 0.2]))
    image = nibabel.Nifti1Image(values.astype(np.float32), affine)
    image.set_qform(affine, 1)
    image.set_sform(affine, 1)
    nibabel.save(image, path)
    return side


def apply(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    return points @ matrix[:3, :3].T + matrix[:3, 3]


MATRIX = np.eye(4)  # fixed to moving, LPS mm
MATRIX[:3, :3] = Rotation.from_euler("xyz", [6, -9, 11], degrees=True).as_matrix() @ np.diag(
    [1.08, 0.95, 1.02]
)
MATRIX[:3, 3] = [2.0, -3.0, 1.5]


def linear(points: np.ndarray) -> np.ndarray:
    return apply(MATRIX, points)


def bent(points: np.ndarray) -> np.ndarray:
    """The matrix after a smooth displacement of other size and shape per component."""
    x, y, z = np.moveaxis(points, -1, 0)
    wave = np.stack(
        [1.5 * np.sin(0.11 * y + 0.3), np.cos(0.13 * z) - 0.4, 0.8 * np.sin(0.09 * x)], -1
    )
    return linear(points + wave)


def save_vectors(values: np.ndarray, side: Side, path: Path, code=0, name=b"", p1=0.0) -> None:
    image = nibabel.Nifti1Image(values.astype(np.float32), side.affine)
    image.set_qform(side.affine, 1)
    image.set_sform(side.affine, 1)
    image.header["intent_code"], image.header["intent_name"] = code, name
    image.header["intent_p1"] = p1
    nibabel.save(image, path)


def load_vectors(path: Path) -> tuple[np.ndarray, nibabel.Nifti1Header]:
    image = nibabel.load(path)
    return np.squeeze(np.asarray(image.dataobj, float)), image.header


def in_ras(points: np.ndarray) -> np.ndarray:
    return points * [-1, -1, 1]


# What a file holds for the voxels of the fixed image, by program; and the points that it means.
def to_fsl(fixed: Side, moving: Side, points: np.ndarray) -> np.ndarray:
    """Coordinates of FSL in the moving image."""
    return apply(moving.fsl @ np.linalg.inv(FLIP @ moving.affine), points)


def from_fsl(fixed: Side, moving: Side, coordinates: np.ndarray) -> np.ndarray:
    return apply(FLIP @ moving.affine @ np.linalg.inv(moving.fsl), coordinates)


def to_voxels(moving: Side, points: np.ndarray) -> np.ndarray:
    return apply(np.linalg.inv(FLIP @ moving.affine), points)


def write_warp(form: str, fixed: Side, moving: Side, mapping: Map, path: Path) -> None:
    """Write a map as a warp of a program: the voxels of the fixed image, in `form`."""
    points = mapping(fixed.points())
    if form in ("fsl-relative", "fsl-absolute"):
        warp = to_fsl(fixed, moving, points)
        if form == "fsl-relative":
            warp = warp - apply(fixed.fsl, fixed.indices())
        save_vectors(warp, fixed, path, 2006)
    elif form == "afni":
        to_cardinal = moving.cardinal @ np.linalg.inv(FLIP @ moving.affine)
        warp = apply(to_cardinal, points) - apply(fixed.cardinal, fixed.indices())
        image = nibabel.Nifti1Image(warp[:, :, :, None].astype(np.float32), fixed.affine)
        image.set_qform(fixed.affine, 1)
        image.set_sform(fixed.affine, 1)
        image.header["intent_code"] = 1007
        image.header.extensions.append(nibabel.nifti1.Nifti1Extension(4, b"<AFNI_attributes/>"))
        nibabel.save(image, path)
    elif form == "niftyreg-deformation":
        save_vectors(in_ras(points)[:, :, :, None], fixed, path, 1007, b"NREG_TRANS", 0)
    elif form == "niftyreg-displacement":
        warp = in_ras(points - fixed.points())[:, :, :, None]
        save_vectors(warp, fixed, path, 1007, b"NREG_TRANS", 1)
    elif form == "spm":
        save_vectors(in_ras(points)[:, :, :, None], fixed, path, 1007, b"Mapping")
    elif form == "mrtrix-deformation":
        save_vectors(in_ras(points), fixed, path)
    elif form == "mrtrix-displacement":
        save_vectors(in_ras(points - fixed.points()), fixed, path)
    elif form == "voxelmorph":
        save_vectors(to_voxels(moving, points) - fixed.indices(), fixed, path)
    elif form == "voxelmorph-npz":
        np.savez_compressed(path, vol=to_voxels(moving, points) - fixed.indices())
    elif form == "minc-grid":
        grid = path.with_suffix(".mnc")
        minc_files.write_minc2(grid, in_ras(points - fixed.points()), fixed.affine)
        minc_files.write_grid_xfm(path, grid, inverted=True)
    elif form == "learn2reg":
        save_vectors(to_voxels(moving, points) - fixed.indices(), fixed, path)
    elif form == "learn2reg-npz":
        warp = to_voxels(moving, points) - fixed.indices()
        np.savez_compressed(path, np.moveaxis(warp, -1, 0).astype(np.float32))
    else:
        raise ValueError(form)


def apply_warp(form: str, fixed: Side, moving: Side, path: Path) -> np.ndarray:
    """Where a warp file takes the voxels of the fixed image, LPS mm (x, y, z, 3)."""
    if path.suffix == ".npz":
        values = np.moveaxis(np.load(path)["arr_0"].astype(float), 0, -1)
    else:
        values, header = load_vectors(path)
        assert np.allclose(header.get_best_affine(), fixed.affine, atol=1e-4)
    if form == "fsl-relative":
        return from_fsl(fixed, moving, values + apply(fixed.fsl, fixed.indices()))
    if form == "fsl-absolute":
        return from_fsl(fixed, moving, values)
    if form == "afni":
        back = FLIP @ moving.affine @ np.linalg.inv(moving.cardinal)
        return apply(back, values + apply(fixed.cardinal, fixed.indices()))
    if form in ("niftyreg", "spm", "mrtrix-deformation"):
        return in_ras(values)
    if form == "mrtrix-displacement":
        return fixed.points() + in_ras(values)
    if form in ("learn2reg", "voxelmorph"):
        return apply(FLIP @ moving.affine, values + fixed.indices())
    raise ValueError(form)


def matrix_of(form: str, fixed: Side, moving: Side, matrix: np.ndarray) -> np.ndarray:
    """The numbers that a program keeps for a map fixed to moving (LPS mm)."""
    world_fixed, world_moving = FLIP @ fixed.affine, FLIP @ moving.affine
    voxels = np.linalg.inv(world_moving) @ matrix @ world_fixed
    if form == "fsl":
        return np.linalg.inv(moving.fsl @ voxels @ np.linalg.inv(fixed.fsl))
    if form == "afni":
        return moving.cardinal @ voxels @ np.linalg.inv(fixed.cardinal)
    if form in ("niftyreg", "mrtrix"):
        return FLIP @ matrix @ FLIP
    if form in ("lta-ras", "minc"):
        return np.linalg.inv(FLIP @ matrix @ FLIP)
    if form == "lta-voxels":
        return np.linalg.inv(voxels)
    if form == "register.dat":
        return moving.surface @ voxels @ np.linalg.inv(fixed.surface)
    raise ValueError(form)


def volume_info(side: Side) -> str:
    """The lines of an .lta about a volume."""
    cosines, center = (
        side.affine[:3, :3] / side.spacing,
        apply(side.affine, np.divide(side.size, 2)),
    )
    rows = [f"{axis}ras = {' '.join(map(str, cosines[:, k]))}" for k, axis in enumerate("xyz")]
    return "\n".join([
        "valid = 1  # volume info valid", f"filename = {side.path}",
        f"volume = {' '.join(map(str, side.size))}",
        f"voxelsize = {' '.join(map(str, side.spacing))}", *rows,
        f"cras = {' '.join(map(str, center))}", ""])  # fmt: skip


def write_matrix(form: str, fixed: Side, moving: Side, matrix: np.ndarray, path: Path) -> None:
    """Write a map fixed to moving (LPS mm) as a matrix file of a program."""
    numbers = matrix_of(form, fixed, moving, matrix)
    rows = "".join(" ".join(f"{v:.15g}" for v in row) + "  \n" for row in numbers)
    if form == "afni":
        flat = " ".join(f"{v:.15g}" for v in numbers[:3].ravel())
        rows = f"# 3dAllineate matrices (DICOM-to-DICOM, row-by-row):\n{flat}\n"
    elif form == "mrtrix":
        rows = f"# command_history: mrregister -affine\n{rows}"
    elif form.startswith("lta"):
        kind = 0 if form == "lta-voxels" else 1
        rows = (f"# transform file\ntype      = {kind} # LINEAR\nnxforms   = 1\n"
                f"mean      = 0.0 0.0 0.0\nsigma     = 1.0\n1 4 4\n{rows}"
                f"src volume info\n{volume_info(moving)}dst volume info\n{volume_info(fixed)}"
                "subject bert\nfscale 0.1\n")  # fmt: skip
    elif form == "minc":
        rows = "".join(" ".join(f"{v:.15g}" for v in row) + "\n" for row in numbers[:3])
        rows = f"MNI Transform File\nTransform_Type = Linear;\nLinear_Transform =\n{rows[:-1]};\n"
    elif form == "register.dat":
        rows = f"bert\n1.0\n1.0\n0.15\n{rows}round\n"
    path.write_text(rows)
