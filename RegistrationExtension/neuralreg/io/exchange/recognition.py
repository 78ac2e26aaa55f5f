"""Which program a transform file comes from, by what is in it; a question where that is open."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from neuralreg.errors import InvalidTransform, RegistrationError, UnreadableFile
from neuralreg.geometry.grid import Grid
from neuralreg.io.exchange import afni, freesurfer, fsl, mrtrix, niftyreg, spm, vector_files
from neuralreg.io.exchange.voxel_fields import program_of
from neuralreg.io.exchange.x5 import SIGNATURE, is_x5
from neuralreg.io.files import suffix_of
from neuralreg.io.formats import nifti_header
from neuralreg.io.formats.dicom_registration import is_registration
from neuralreg.io.formats.elastix import is_elastix
from neuralreg.io.formats.minc_transforms import is_xfm
from neuralreg.io.formats.slicer_scene import is_scene
from neuralreg.io.itk_images import WRITABLE as IMAGE_SUFFIXES

WANTED = "a transform of ITK, ANTs, 3D Slicer, elastix, FSL, FreeSurfer, AFNI, NiftyReg, SPM, " \
    "MRtrix, MINC, VoxelMorph, Learn2Reg or X5"  # fmt: skip
_REFUSED = {  # by ending or first word: what it is, and what to do
    ".m3z": (
        "a deformation of FreeSurfer, which neither nibabel nor surfa reads",
        "Convert it: mri_warp_convert --inm3z FILE --outitk field.nii.gz",
    ),
}
_MATRICES = "fsl (flirt), niftyreg (reg_aladin; c3d_affine_tool too), mrtrix"
_VECTORS = "fsl, mrtrix, afni, voxelmorph, learn2reg, spm, niftyreg"
_TEXT_BYTES = 1 << 16
_MOST_GROWTH = 3.0  # of a volume; what is beyond is taken for another convention


def recognize(path: Path) -> str:
    """The family of a file, as `--from` calls it.

    Args:
        path: of a file that exists.

    Raises:
        InvalidTransform: it can be read in several ways, or is of a program that cannot be read.
        UnreadableFile: it is a folder.
    """
    if path.is_dir():
        raise UnreadableFile(f"{path} is a folder", wanted=WANTED)
    if is_scene(path):
        return "scene"
    suffix = suffix_of(path)
    if is_registration(path):
        return "dicom"
    if suffix in _REFUSED:
        raise _refusal(path, suffix)
    if path.name.lower().endswith(mrtrix.SUFFIXES):
        return "mrtrix"
    if suffix == ".npz":
        return program_of(path) or _ask_array(path)
    if suffix in nifti_header.SUFFIXES:
        return _family_of_nifti(path)
    if suffix in IMAGE_SUFFIXES:
        return "itk"
    return _family_of_content(path)


def mark_of(path: Path) -> str:
    """The family that a file names itself; "" where it does not, or is of a program not read."""
    try:
        name = recognize(path)
    except RegistrationError:
        return ""
    if name != "itk":
        return name
    with path.open("rb") as file:
        return "itk" if file.read(8).startswith((SIGNATURE, b"#Insight")) else ""


def _family_of_content(path: Path) -> str:
    with path.open("rb") as file:
        content = file.read(_TEXT_BYTES)
    if content.startswith(SIGNATURE):
        return "x5" if is_x5(path) else "itk"
    if content.startswith(b"MATLAB 5.0"):
        return "spm"
    text = _decode(content)
    if is_xfm(text):
        return "minc"
    if text.startswith("#Insight Transform File"):
        return "itk"
    if path.suffix.lower() != ".h5" and is_elastix(path):
        return "elastix"
    if path.suffix.lower() == ".xfm":
        return "minc"
    if freesurfer.is_lta(text) or freesurfer.is_register_dat(text) or path.suffix == ".lta":
        return "freesurfer"
    if afni.is_afni(text, path):
        return "afni"
    if mrtrix.is_mrtrix(text):
        return "mrtrix"
    if _count_numbers(text) in (9, 12, 16):
        raise InvalidTransform(
            "this is a matrix, and the file does not say of which coordinates", where=str(path),
            got=f"{_count_numbers(text)} numbers, as FSL's flirt and other programs write them",
            wanted="to know the program",
            remedy=f"Say --from: {_MATRICES}.",
        )  # fmt: skip
    return "itk"


def _decode(content: bytes) -> str:
    """A text whose letters beyond ASCII do not matter."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16", "replace")
    return content.removeprefix(b"\xef\xbb\xbf").decode("latin-1")


def _family_of_nifti(path: Path) -> str:
    header = vector_files.read_vector_header(path)
    if header.name == niftyreg.INTENT:
        return "niftyreg"
    if header.name == spm.INTENT:
        return "spm"
    if header.code in fsl.INTENTS:
        return "fsl"
    if vector_files.AFNI_EXTENSION in header.extensions and (header.is_4d or header.is_5d):
        return "afni"
    if header.is_4d:
        raise InvalidTransform(
            "these may be vectors of several programs, or three frames of a series, and the file "
            "does not say which", where=str(path),
            got="a fourth axis of 3 and no intent in the header", wanted="to know the program",
            remedy=f"Say --from: {_VECTORS}.",
        )  # fmt: skip
    return "itk"


def require_displacements(field: sitk.Image, path: Path) -> None:
    """Check that vectors which no mark explains do not look like positions.

    Read as displacements, positions would double every length (in LPS) or press space flat (RAS).

    Args:
        field: the vectors, LPS mm.
        path: their file, for the message.

    Raises:
        InvalidTransform: they rather are positions.
    """
    grid = Grid.of(field)
    if grid.dimension != 3:
        return
    slope = vector_files.slopes(sitk.GetArrayViewFromImage(field), grid.index_to_world)
    if slope is None:
        return
    as_displacements, as_positions = np.linalg.det(slope + np.eye(3)), np.linalg.det(slope)
    if _is_anatomical(as_displacements) or not _is_anatomical(as_positions):
        return
    raise InvalidTransform(
        "these vectors grow with the position as positions do, while ITK's and ANTs' fields hold "
        "displacements; the file does not say which they are", where=str(path),
        got=f"a growth along x, y, z of {', '.join(f'{v:.2g}' for v in slope.diagonal())}",
        wanted="about 0",
        remedy="Say --from itk if they are displacements all the same; for positions in RAS mm "
        "--from spm, niftyreg or mrtrix-deformation.",
    )  # fmt: skip


def _is_anatomical(volume: float) -> bool:
    """Whether a linear transform may change a volume by this factor."""
    return 1 / _MOST_GROWTH < abs(volume) < _MOST_GROWTH


def _ask_array(path: Path) -> str:
    raise InvalidTransform(
        "this file of arrays does not say whose it is", where=str(path),
        wanted="an array named vol (VoxelMorph) or arr_0 (Learn2Reg)",
        remedy="Say --from voxelmorph or --from learn2reg.",
    )  # fmt: skip


def _refusal(path: Path, suffix: str) -> InvalidTransform:
    what, remedy = _REFUSED[suffix]
    return InvalidTransform(
        f"this is {what}, and cannot be read", where=str(path), wanted=WANTED, remedy=remedy
    )


def _count_numbers(text: str) -> int:
    """How many numbers a short text holds; 0 where anything else is in it."""
    lines = [line for line in text[:4096].splitlines() if not line.lstrip().startswith("#")]
    try:
        return len([float(word) for line in lines for word in line.split()])
    except ValueError:
        return 0
