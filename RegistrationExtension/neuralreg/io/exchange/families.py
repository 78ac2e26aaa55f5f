"""All families of transform files: how each is called, read, written and put in words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import SimpleITK as sitk

from neuralreg.errors import InvalidOption, InvalidTransform, UnwritableOutput
from neuralreg.geometry.grid import Matrix
from neuralreg.io.exchange import (
    afni,
    freesurfer,
    fsl,
    insight,
    mrtrix,
    niftyreg,
    spm,
    voxel_fields,
    x5,
)
from neuralreg.io.exchange.recognition import mark_of, recognize, require_displacements
from neuralreg.io.exchange.sides import Sides
from neuralreg.io.files import require_existing, suffix_of
from neuralreg.io.formats import (
    dicom_registration,
    elastix,
    minc_transforms,
    nifti_header,
    slicer_scene,
)
from neuralreg.io.itk_images import WRITABLE as IMAGE_SUFFIXES
from neuralreg.io.itk_images import check_vectors

Content: TypeAlias = "sitk.Transform | sitk.Image"  # an image holds displacements in LPS mm
_FORWARD = "fixed to moving"


@dataclass(frozen=True)
class Family:
    """How the files of one program are called and read, and what they mean.

    Attributes:
        program: in words.
        linear, field: what a matrix and a warp of it map, in its own coordinates; "" where it has
            none.
        read: the content of a file, fixed to moving in LPS mm.
    """

    program: str
    linear: str
    field: str
    read: Callable[[Path, Sides, list[str]], Content]


@dataclass(frozen=True)
class Writer:
    """How the files of one program are written.

    Attributes:
        linear, field: write a matrix (LPS mm) or displacements, None where there is no such file.
        linear_suffixes, field_suffixes: of these files.
        on_fixed: whether a field has to lie on the voxels of the fixed image.
        use: how the program applies what was written.
    """

    linear: Callable[[Matrix, Path, Sides, list[str]], None] | None
    field: Callable[[sitk.Image, Path, Sides, list[str]], None] | None
    linear_suffixes: tuple[str, ...] = ()
    field_suffixes: tuple[str, ...] = nifti_header.SUFFIXES
    on_fixed: bool = True
    use: str = ""


def _is_nifti(path: Path) -> bool:
    return suffix_of(path) in nifti_header.SUFFIXES


def _read_fsl(path: Path, sides: Sides, notes: list[str]) -> Content:
    return fsl.read_fnirt(path, sides) if _is_nifti(path) else fsl.read_flirt(path, sides)


def _read_afni(path: Path, sides: Sides, notes: list[str]) -> Content:
    return (afni.read_warp if _is_nifti(path) else afni.read_1d)(path, sides, notes)


def _read_niftyreg(path: Path, sides: Sides, notes: list[str]) -> Content:
    return niftyreg.read_nifti(path, sides) if _is_nifti(path) else niftyreg.read_affine(path)


def _read_spm(path: Path, sides: Sides, notes: list[str]) -> Content:
    return spm.read_deformation(path) if _is_nifti(path) else spm.read_mat(path, sides)


def _read_mrtrix(path: Path, sides: Sides, notes: list[str]) -> Content:
    if _is_nifti(path) or path.name.lower().endswith(mrtrix.SUFFIXES):
        return mrtrix.read_warp(path, notes)
    return mrtrix.read_affine(path)


_FSL_FIELD = "fixed to moving, between FSL coordinates of both images"
_VOXELS = "fixed to moving, in voxels of both images"
FAMILIES = {
    "itk": Family("ITK, ANTs or 3D Slicer", f"{_FORWARD}, LPS mm", f"{_FORWARD}, LPS mm",
                  lambda path, sides, notes: insight.read_insight(path, sides)),
    "elastix": Family("elastix", f"{_FORWARD}, LPS mm", f"{_FORWARD}, LPS mm",
                      lambda path, sides, notes: elastix.read_elastix(path)),
    "fsl": Family("FSL", "moving to fixed, between FSL coordinates of both images", _FSL_FIELD,
                  _read_fsl),
    "fsl-relative": Family("FSL", "", f"{_FSL_FIELD}, as displacements",
                           lambda path, sides, notes: fsl.read_fnirt(path, sides, absolute=False)),
    "fsl-absolute": Family("FSL", "", f"{_FSL_FIELD}, as coordinates",
                           lambda path, sides, notes: fsl.read_fnirt(path, sides, absolute=True)),
    "freesurfer": Family("FreeSurfer", "source (moving) to destination (fixed)", "",
                         lambda path, sides, notes: freesurfer.read_freesurfer(path, sides)),
    "minc": Family("MINC or FreeSurfer", "source (moving) to target (fixed), RAS mm",
                   "source (moving) to target (fixed), as displacements in RAS mm",
                   lambda path, sides, notes: minc_transforms.read_xfm(path, notes)),
    "afni": Family("AFNI", "base (fixed) to source (moving), LPS mm of the cardinal axes",
                   "base (fixed) to source (moving), LPS mm of the cardinal axes", _read_afni),
    "niftyreg": Family("NiftyReg", "reference (fixed) to floating (moving), RAS mm",
                       "reference (fixed) to floating (moving), RAS mm", _read_niftyreg),
    "spm": Family("SPM", "voxels of the moving image to the fixed one, RAS mm",
                  "fixed (template) to moving, as positions in RAS mm", _read_spm),
    "mrtrix": Family("MRtrix", f"{_FORWARD}, RAS mm", f"{_FORWARD}, RAS mm", _read_mrtrix),
    "mrtrix-deformation": Family(
        "MRtrix", "", f"{_FORWARD}, as positions in RAS mm",
        lambda path, sides, notes: mrtrix.read_warp(path, notes, positions=True)),
    "mrtrix-displacement": Family(
        "MRtrix", "", f"{_FORWARD}, as displacements in RAS mm",
        lambda path, sides, notes: mrtrix.read_warp(path, notes, positions=False)),
    "voxelmorph": Family("VoxelMorph", "", _VOXELS,
                         lambda path, sides, notes: voxel_fields.read_voxelmorph(path, sides)),
    "learn2reg": Family("Learn2Reg", "", _VOXELS,
                        lambda path, sides, notes: voxel_fields.read_learn2reg(path, sides)),
    "dicom": Family("DICOM", "moving to fixed (registered), LPS mm",
                    "fixed (registered) to moving (source), LPS mm",
                    lambda path, sides, notes: dicom_registration.read_registration(path, notes)),
    "scene": Family("3D Slicer, in a scene", "world to what is below the node, LPS mm",
                    "world to what is below the node, LPS mm",
                    lambda path, sides, notes: slicer_scene.read_scene_transform(
                        path, lambda file: read_content(file, sides, notes=notes)[0])),
    "x5": Family("X5", f"{_FORWARD}, RAS mm", f"{_FORWARD}, RAS mm",
                 lambda path, sides, notes: x5.read_x5(path)),
}  # fmt: skip
_TEXT = (".txt", ".mat")
WRITERS = {
    "fsl": Writer(
        lambda m, path, sides, notes: fsl.write_flirt(m, path, sides),
        lambda f, path, sides, notes: fsl.write_fnirt(f, path, sides, absolute=False),
        _TEXT, use="flirt -in MOVING -ref FIXED -applyxfm -init FILE -out OUT, or applywarp -i "
        "MOVING -r FIXED -w FILE --rel -o OUT"),
    "fsl-relative": Writer(
        None, lambda f, path, sides, notes: fsl.write_fnirt(f, path, sides, absolute=False),
        use="applywarp -i MOVING -r FIXED -w FILE --rel -o OUT"),
    "fsl-absolute": Writer(
        None, lambda f, path, sides, notes: fsl.write_fnirt(f, path, sides, absolute=True),
        use="applywarp -i MOVING -r FIXED -w FILE --abs -o OUT"),
    "freesurfer": Writer(
        lambda m, path, sides, notes: freesurfer.write_lta(m, path, sides), None, (".lta",),
        use="mri_vol2vol --lta FILE --mov MOVING --targ FIXED --o OUT"),
    "minc": Writer(
        lambda m, path, sides, notes: minc_transforms.write_xfm(m, path), None, (".xfm",),
        on_fixed=False, use="mincresample -transformation FILE -like FIXED MOVING OUT"),
    "afni": Writer(
        afni.write_1d, afni.write_warp, (".1d",), use="3dAllineate -1Dmatrix_apply FILE -base "
        "FIXED -source MOVING -prefix OUT, or 3dNwarpApply -nwarp FILE -source MOVING"),
    "niftyreg": Writer(
        lambda m, path, sides, notes: niftyreg.write_affine(m, path),
        lambda f, path, sides, notes: niftyreg.write_deformation(f, path),
        _TEXT, use="reg_resample -ref FIXED -flo MOVING -trans FILE -res OUT"),
    "spm": Writer(
        None, lambda f, path, sides, notes: spm.write_deformation(f, path), (), (".nii",),
        use="Deformations, or Normalise (Write), with this file as the deformation field"),
    "mrtrix": Writer(
        lambda m, path, sides, notes: mrtrix.write_affine(m, path),
        lambda f, path, sides, notes: mrtrix.write_warp(f, path, positions=True),
        (".txt",), (".mif", *nifti_header.SUFFIXES), on_fixed=False,
        use="mrtransform MOVING OUT -template FIXED -linear FILE, or -warp FILE"),
    "mrtrix-deformation": Writer(
        None, lambda f, path, sides, notes: mrtrix.write_warp(f, path, positions=True),
        (), (".mif", *nifti_header.SUFFIXES), on_fixed=False,
        use="mrtransform MOVING OUT -template FIXED -warp FILE"),
    "mrtrix-displacement": Writer(
        None, lambda f, path, sides, notes: mrtrix.write_warp(f, path, positions=False),
        (), (".mif", *nifti_header.SUFFIXES), on_fixed=False,
        use="warpconvert FILE displacement2deformation OUT"),
    "learn2reg": Writer(
        None, lambda f, path, sides, notes: voxel_fields.write_learn2reg(f, path, sides),
        (), (".npz", *nifti_header.SUFFIXES), use="the evaluation of Learn2Reg"),
    "dicom": Writer(
        lambda m, path, sides, notes: dicom_registration.write_linear(m, path, sides),
        lambda f, path, sides, notes: dicom_registration.write_deformable(f, path, sides),
        (".dcm",), (".dcm",), on_fixed=False,
        use="any program that reads DICOM registration objects, such as SlicerRT"),
    "x5": Writer(
        lambda m, path, sides, notes: x5.write_linear(m, path, sides),
        lambda f, path, sides, notes: x5.write_field(f, path),
        (".x5",), (".x5",), on_fixed=False, use="nitransforms"),
    "elastix": Writer(
        lambda m, path, sides, notes: elastix.write_linear(m, path, sides),
        lambda f, path, sides, notes: elastix.write_field(f, path),
        (".txt",), (".txt",), on_fixed=False, use="transformix -in MOVING -tp FILE -out FOLDER"),
}  # fmt: skip
_ALIASES = {"ants": "itk", "slicer": "itk", "flirt": "fsl", "fnirt": "fsl", "lta": "freesurfer"}


def family_name(name: str) -> str:
    """The family of a name that a user gave.

    Raises:
        InvalidOption: there is none.
    """
    known = _ALIASES.get(name.lower(), name.lower())
    if known not in FAMILIES:
        raise InvalidOption("unknown format of a transform", got=name, wanted=", ".join(FAMILIES))
    return known


def writer_name(name: str) -> str:
    """The family of a name for writing; "itk" is written by `io.transform_files`.

    Raises:
        InvalidOption: it cannot be written.
    """
    known = family_name(name)
    if known != "itk" and known not in WRITERS:
        raise InvalidOption(
            "this format is read and not written", got=name,
            wanted=", ".join(("itk", *WRITERS)),
        )  # fmt: skip
    return known


def read_content(
    path: Path,
    sides: Sides | None = None,
    *,
    source: str | None = None,
    notes: list[str] | None = None,
) -> tuple[Content, str]:
    """What a transform file of any family holds, and the family.

    Args:
        path: of the file.
        sides: the images that it is between, as far as they are known.
        source: the family; by content unless given.
        notes: what had to be assumed is appended in words.

    Returns:
        A transform of ITK or an image of displacements, fixed to moving in LPS mm.

    Raises:
        UnreadableFile: it is missing or damaged.
        InvalidTransform: it cannot be used, can be read in several ways, or needs an image that was
            not given.
        InvalidOption: there is no such family.
    """
    path = require_existing(Path(path))
    notes = [] if notes is None else notes
    name = family_name(source) if source else recognize(path)
    if source:
        _note_contradiction(path, name, notes)
    try:
        content = FAMILIES[name].read(path, sides or Sides(), notes)
        if isinstance(content, sitk.Image):
            check_vectors(content)
            if name == "itk" and not source:
                require_displacements(content, path)
    except InvalidTransform as error:
        raise (error if error.where else error.at(str(path))) from error
    return content, name


def _note_contradiction(path: Path, name: str, notes: list[str]) -> None:
    """Say where a file bears the mark of another program than the one that was named."""
    mark = mark_of(path)
    if mark and FAMILIES[mark].program != FAMILIES[name].program:
        notes.append(
            f"{path} bears the mark of {FAMILIES[mark].program}, and was read as a file of "
            f"{FAMILIES[name].program} because --from says so"
        )


def written_kind(path: Path, name: str, linear: bool) -> bool:
    """Whether a file of this family and ending holds a field (True) or a matrix.

    Raises:
        UnwritableOutput: the family has no such file, or another ending.
    """
    writer, suffix = WRITERS[name], suffix_of(path)
    if linear and writer.linear is not None and suffix in writer.linear_suffixes:
        return False
    if writer.field is not None and suffix in writer.field_suffixes:
        return True
    program = FAMILIES[name].program
    if not linear and writer.field is None:
        raise UnwritableOutput(
            f"{program} has no file for a transform that is not linear", got=str(path),
            remedy="Choose another format.",
        )  # fmt: skip
    wanted = (*(writer.linear_suffixes if linear else ()),
              *(writer.field_suffixes if writer.field else ()))  # fmt: skip
    raise UnwritableOutput(
        f"{path} has no ending of such a file of {program}", wanted=" ".join(wanted)
    )


def format_of_suffix(path: Path) -> str:
    """The family that an ending alone decides, else "itk" for those of images and ITK.

    Raises:
        UnwritableOutput: the ending is that of none.
    """
    suffix = suffix_of(path)
    only = {".lta": "freesurfer", ".xfm": "minc", ".1d": "afni", ".x5": "x5", ".mif": "mrtrix",
            ".npz": "learn2reg", ".dcm": "dicom"}  # fmt: skip
    if suffix in only:
        return only[suffix]
    if suffix in (*IMAGE_SUFFIXES, ".h5", ".tfm", ".txt", ".mat"):
        return "itk"
    raise UnwritableOutput(
        f"{path} has no ending of a transform format",
        wanted=" ".join((*IMAGE_SUFFIXES, ".h5 .tfm .txt .mat", *only)),
    )
