"""FreeSurfer: .lta files and register.dat; its .xfm are those of MINC.

An .lta takes points of its "src" volume, the moving image, to its "dst" volume, the fixed one:
between RAS mm of the scanner (type 1) or voxel indices (type 0), and says where both volumes lie.
A register.dat takes tkregister's RAS of the fixed (anatomical) volume to that of the moving one.
Sources: transform.cpp and registerio.cpp of FreeSurfer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from neuralreg.errors import InvalidTransform, UnreadableFile
from neuralreg.geometry.grid import Matrix
from neuralreg.io.exchange.matrices import FLIP, exchange_frames, format_matrix, to_affine
from neuralreg.io.exchange.sides import Sides, VoxelSpace
from neuralreg.io.files import write_whole
from neuralreg.io.tables import read_text

_VOXELS, _RAS, _REGISTER = 0, 1, 14
_WHY = "a transform between tkregister's coordinates, which depend on both images"


def is_lta(text: str) -> bool:
    """Whether a text is that of an .lta file."""
    return bool(
        re.search(r"^type\s*=\s*\d+", text, re.M) and re.search(r"^nxforms\s*=", text, re.M)
    )


def is_register_dat(text: str) -> bool:
    """Whether a text is that of a register.dat: a subject, three numbers, a matrix, a word."""
    lines = [line.split() for line in text.splitlines() if line.strip()]
    counts = [len(line) for line in lines[:8]]
    return counts in ([1, 1, 1, 1, 4, 4, 4, 4],) and len(lines) in (8, 9)


def read_freesurfer(path: Path, sides: Sides) -> sitk.Transform:
    """The transform of an .lta or a register.dat, fixed to moving.

    Raises:
        InvalidTransform: it holds several, or a kind that is not known.
        UnreadableFile: it is incomplete.
    """
    text, _ = read_text(path)
    try:
        if is_lta(text):
            return to_affine(_read_lta(path, text, sides))
        return to_affine(_read_register(path, text, sides))
    except (ValueError, IndexError, StopIteration) as error:
        raise UnreadableFile(
            f"{path} is an incomplete file of FreeSurfer", got=str(error)
        ) from error


def write_lta(matrix: Matrix, path: Path, sides: Sides) -> None:
    """Write an .lta between RAS mm, with where both volumes lie.

    Args:
        matrix: fixed to moving, LPS mm.
        path: of the file.
        sides: both images.
    """
    why = "an .lta that says where both volumes lie"
    forward = exchange_frames(np.linalg.inv(matrix))
    text = "type      = 1 # LINEAR_RAS_TO_RAS\nnxforms   = 1\n"
    text += "mean      = 0.0000 0.0000 0.0000\nsigma     = 1.0000\n1 4 4\n"
    text += format_matrix(forward)
    text += "src volume info\n" + _volume_info(sides.space("moving", path, why))
    text += "dst volume info\n" + _volume_info(sides.space("fixed", path, why))
    with write_whole(path) as draft:
        draft.write_text(text)


def _read_lta(path: Path, text: str, sides: Sides) -> Matrix:
    lines = [line.split("#")[0].strip() for line in text.splitlines()]
    values = dict(re.findall(r"^(type|nxforms)\s*=\s*(\d+)", "\n".join(lines), re.M))
    kind, count = int(values["type"]), int(values["nxforms"])
    if count != 1:
        raise InvalidTransform(
            "this file holds several transforms", where=str(path), got=f"{count}",
            remedy="Give each in a file of its own.",
        )  # fmt: skip
    start = lines.index("1 4 4") + 1
    matrix = np.array([[float(v) for v in lines[start + k].split()] for k in range(4)])
    source, target = (_geometry(lines, name) for name in ("src", "dst"))
    if kind == _VOXELS:
        if source is None or target is None:
            raise InvalidTransform(
                "this .lta is between voxels and does not say where these lie", where=str(path),
                remedy="Convert it with lta_convert and both images.",
            )  # fmt: skip
        matrix = target @ matrix @ np.linalg.inv(source)
    elif kind == _REGISTER:
        fixed, moving = (sides.space(side, path, _WHY) for side in ("fixed", "moving"))
        return _between_surface_ras(matrix, fixed, moving)
    elif kind != _RAS:
        raise InvalidTransform(
            "this kind of .lta cannot be read", where=str(path), got=f"type {kind}",
            wanted="0 (voxels), 1 (RAS) or 14 (register.dat)",
            remedy="Convert it: lta_convert --inlta FILE --outlta OUT --ltavox2vox.",
        )  # fmt: skip
    return exchange_frames(np.linalg.inv(matrix))


def _geometry(lines: list[str], name: str) -> Matrix | None:
    """From index to RAS mm of a volume of an .lta; None where it is not valid."""
    following: Iterator[str] = iter(lines[lines.index(f"{name} volume info") + 1 :])
    values: dict[str, list[str]] = {}
    for line in following:
        key, equals, rest = line.partition("=")
        if not equals:
            break
        values[key.strip()] = rest.split()
    if values.get("valid", ["0"])[0] != "1":
        return None
    size, spacing, center = ([float(v) for v in values[k]] for k in ("volume", "voxelsize", "cras"))
    cosines = np.array([[float(v) for v in values[k]] for k in ("xras", "yras", "zras")]).T
    matrix = np.eye(4)
    matrix[:3, :3] = cosines * spacing
    matrix[:3, 3] = center - matrix[:3, :3] @ np.divide(size, 2)
    return matrix


def _volume_info(space: VoxelSpace) -> str:
    ras = FLIP @ space.index_to_world
    spacing = np.linalg.norm(ras[:3, :3], axis=0)
    center = ras[:3, 3] + ras[:3, :3] @ np.divide(space.size, 2)
    rows = {
        "valid": "1  # volume info valid",
        "filename": space.path.name,
        "volume": " ".join(map(str, space.size)),
        "voxelsize": _numbers(spacing),
        **{f"{axis}ras": _numbers(ras[:3, k] / spacing[k]) for k, axis in enumerate("xyz")},
        "cras": _numbers(center),
    }
    return "".join(f"{name} = {value}\n" for name, value in rows.items())


def _numbers(values: Matrix) -> str:
    return " ".join(f"{v:.15e}" for v in values)


def _read_register(path: Path, text: str, sides: Sides) -> Matrix:
    lines = [line.split() for line in text.splitlines() if line.strip()]
    if not is_register_dat(text):
        raise ValueError("neither the lines of an .lta nor those of a register.dat")
    matrix = np.array([[float(v) for v in row] for row in lines[4:8]])
    last = lines[8][0] if len(lines) > 8 else "round"
    if last not in ("round", "tkregister", "flt2int"):
        raise InvalidTransform(
            "this register.dat is of an old kind", where=str(path), got=last, wanted="round",
            remedy="Convert it: tkregister2 --reg FILE --fslregout OUT.",
        )  # fmt: skip
    fixed, moving = (sides.space(side, path, _WHY) for side in ("fixed", "moving"))
    return _between_surface_ras(matrix, fixed, moving)


def _between_surface_ras(matrix: Matrix, fixed: VoxelSpace, moving: VoxelSpace) -> Matrix:
    """Fixed to moving in LPS, of a matrix between tkregister's coordinates."""
    from_fixed = fixed.surface_ras @ np.linalg.inv(fixed.index_to_world)
    to_moving = moving.index_to_world @ np.linalg.inv(moving.surface_ras)
    return np.asarray(to_moving @ matrix @ from_fixed)
