"""Transform files of other programs, which ITK would mistake or refuse without saying why."""

from __future__ import annotations

from pathlib import Path

from neuralreg.errors import InvalidTransform, UnreadableFile

WANTED = "a transform file of ITK, ANTs, elastix or 3D Slicer"
_FSL = "c3d_affine_tool MATRIX -ref FIXED -src MOVING -fsl2ras -oitk t.tfm"
_BY_SUFFIX = {  # what the file is, and what to do
    ".xfm": (
        "a transform of MINC, in RAS mm",
        "Convert it to an ITK transform (.tfm) in LPS mm: x and y change their sign.",
    ),
    ".lta": (
        "a transform of FreeSurfer, between its own coordinates",
        "Convert it: lta_convert --inlta FILE --outitk t.txt",
    ),
    ".m3z": (
        "a deformation of FreeSurfer, between its own coordinates",
        "Convert it: mri_warp_convert --inm3z FILE --outitk field.nii.gz",
    ),
    ".1d": (
        "a matrix of AFNI, in coordinates of DICOM",
        "Write its numbers into an ITK transform (.tfm): they take the base to the source.",
    ),
    ".x5": ("a transform of nitransforms", "Save it with nitransforms as ITK's .tfm or .h5."),
}
SUFFIXES = tuple(_BY_SUFFIX)
_TEXT = (".txt", ".mat", ".tfm", ".aff", "")
_MATRIX_SIZES = (9, 12, 16)
_FNIRT = range(2006, 2010)  # intent codes


def refuse_foreign(path: Path, suffix: str) -> None:
    """Raise an error for a file whose coordinates are not those of ITK, or not known.

    Args:
        path: of a file that exists.
        suffix: in lower case.

    Raises:
        InvalidTransform: it is of another program, or a matrix without a word on its coordinates.
        UnreadableFile: it is a folder.
    """
    if path.is_dir():
        raise UnreadableFile(f"{path} is a folder", wanted=WANTED)
    if suffix in _BY_SUFFIX:
        what, remedy = _BY_SUFFIX[suffix]
        raise InvalidTransform(
            f"this is {what}, which is not read", where=str(path), wanted=WANTED, remedy=remedy
        )
    count = _count_numbers(path) if suffix in _TEXT else 0
    if count in _MATRIX_SIZES:
        raise InvalidTransform(
            "this is a matrix, and the file does not say of which coordinates",
            where=str(path),
            got=f"{count} numbers, as FSL's flirt and other programs write them",
            wanted=WANTED,
            remedy=f"Convert it; one of FSL with: {_FSL}",
        )


def refuse_fnirt(intent_code: str) -> None:
    """Raise an error for the fields and splines of FSL's fnirt.

    Args:
        intent_code: of the NIfTI header, in words; "" where there is none.

    Raises:
        InvalidTransform: it is one of them.
    """
    if intent_code.strip().isdigit() and int(intent_code) in _FNIRT:
        raise InvalidTransform(
            "this is a warp of FSL's fnirt, in coordinates of FSL",
            got=f"intent code {int(intent_code)}",
            wanted="displacements in LPS mm, as ITK and ANTs write them",
            remedy="Convert it, for example with wb_command -convert-warpfield -from-fnirt FILE "
            "MOVING -to-itk field.nii.gz",
        )


def _count_numbers(path: Path) -> int:
    """How many numbers a short text holds; 0 where anything else is in it."""
    with path.open("rb") as file:
        words = file.read(4096).split()
    try:
        return len([float(word) for word in words])
    except ValueError:
        return 0
