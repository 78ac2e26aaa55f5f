"""Transform files: displacement fields as images, everything else as ITK keeps it."""

from __future__ import annotations

from pathlib import Path

import SimpleITK as sitk

from neuralreg.errors import (
    InvalidImage,
    InvalidTransform,
    RegistrationError,
    UnreadableFile,
    UnwritableOutput,
)
from neuralreg.geometry import nifti_file
from neuralreg.geometry.field import DisplacementField
from neuralreg.geometry.files import existing, itk_reason, quiet_itk, suffix_of, written_whole
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.image_io import WRITABLE as IMAGE_SUFFIXES
from neuralreg.geometry.image_io import open_image, read_itk_image, write_itk_image
from neuralreg.geometry.itk_io import (
    field_from_itk,
    field_to_itk,
    from_itk,
    linear_from_itk,
    linear_to_itk,
    to_itk,
)
from neuralreg.geometry.linear import LinearTransform

TRANSFORM_SUFFIXES = (".h5", ".tfm", ".txt", ".mat")
_DISPLACEMENT = "1006"  # NIfTI's DISPVECT, which 3D Slicer also writes into NRRD and MetaImage


def read_transform(
    path: str | Path, grid: Grid | None = None
) -> DisplacementField | LinearTransform:
    """The transform in a file: a field on the grid it is stored on, or a linear transform.

    Images of vectors (NIfTI with intent 1007 in LPS or 1006 in RAS, NRRD, MetaImage) and ITK's
    transform files (.h5 .tfm .txt .mat), also with several transforms in a row.
    grid: for transforms that have none of their own: splines, and chains that begin with a linear
    transform and bend later. Everything else comes as it is stored.

    Raises UnreadableFile when the file is missing or damaged, and InvalidTransform when what it
    holds is not finite, points the other way, or needs a grid.
    """
    path = existing(Path(path))
    try:
        if suffix_of(path) in IMAGE_SUFFIXES:
            return _from_image(path)
        return _from_itk_file(read_itk_transform(path), grid)
    except (InvalidTransform, InvalidImage) as error:
        raise InvalidTransform(
            error.what, where=str(path), got=error.got, wanted=error.wanted, remedy=error.remedy
        ) from error


def read_itk_transform(path: str | Path) -> sitk.Transform:
    """The transform in a file, as ITK has it: nothing is sampled or joined."""
    path = existing(Path(path))
    if suffix_of(path) in IMAGE_SUFFIXES:
        return to_itk(_from_image(path))
    try:
        with quiet_itk():
            transform: sitk.Transform = sitk.ReadTransform(str(path)).Downcast()
    except RuntimeError as error:
        raise _unreadable(path, error) from error
    return transform


def holds_transform(path: str | Path) -> bool:
    """Whether a file is a transform: by its name, or because it holds one real vector per voxel."""
    path = Path(path)
    if suffix_of(path) in TRANSFORM_SUFFIXES:
        return True
    if suffix_of(path) not in IMAGE_SUFFIXES:
        return False
    reader = open_image(path)
    real = (sitk.sitkVectorFloat32, sitk.sitkVectorFloat64)
    return reader.GetPixelID() in real and reader.GetNumberOfComponents() in (2, 3)


def applied_first(transform: sitk.Transform) -> sitk.Transform:
    """ITK applies the last of a composite first."""
    while isinstance(transform, sitk.CompositeTransform):
        transform = transform.GetNthTransform(transform.GetNumberOfTransforms() - 1).Downcast()
    return transform


def write_transform(
    transform: DisplacementField | LinearTransform | sitk.Transform, path: str | Path
) -> None:
    """Write a transform so that ITK, ANTs and 3D Slicer read the same; never a half file.

    .nii.gz .nii .nrrd .nhdr .mha .mhd: a displacement field in LPS mm (NIfTI intent 1007; NRRD and
    MetaImage marked as displacements the way 3D Slicer does). A NIfTI field of one slice gets the
    same slice before and behind, because ITK reads NIfTI vectors of one slice as 2D.
    .h5 .tfm .txt .mat: any transform.

    Raises UnwritableOutput when the format is unknown or the folder cannot be written to, and
    InvalidTransform when an image format is asked to keep something that is not a field.
    """
    path = Path(path)
    if suffix_of(path) in IMAGE_SUFFIXES:
        write_itk_image(_as_image(transform, path), path)
    elif suffix_of(path) in TRANSFORM_SUFFIXES:
        _write_itk_file(_as_itk(transform), path)
    else:
        raise UnwritableOutput(
            f"{path} has no ending of a transform format",
            wanted=" ".join((*IMAGE_SUFFIXES, *TRANSFORM_SUFFIXES)),
        )


def _from_image(path: Path) -> DisplacementField:
    vectors = read_itk_image(path)
    if _meta(vectors, "displacement field type") == "modeling":
        raise InvalidTransform(
            "this displacement field moves points the other way, from moving to fixed",
            got="3D Slicer's mark 'displacement field type: modeling'",
            wanted="'resampling'",
            remedy="Invert the transform in 3D Slicer and save it again.",
        )
    if vectors.GetDimension() == 2 and vectors.GetNumberOfComponentsPerPixel() == 3:
        vectors = _with_third_axis(vectors, path)
    return field_from_itk(vectors)


def _meta(image: sitk.Image, key: str) -> str:
    return str(image.GetMetaData(key)) if image.HasMetaDataKey(key) else ""


def _with_third_axis(vectors: sitk.Image, path: Path) -> sitk.Image:
    """A one-slice NIfTI field with the place that its header gives it; ITK drops the third axis."""
    header = nifti_file.read_header(path)
    matrix = None if header is None else header.sform if header.sform is not None else header.qform
    if matrix is None:
        raise InvalidTransform(
            "a field of one slice has no place in space", got="neither qform nor sform"
        )
    matrix = matrix * [[-1], [-1], [1], [1]]
    spacing = (matrix[:3, :3] ** 2).sum(0) ** 0.5
    volume = sitk.JoinSeries(vectors)
    volume.SetSpacing(spacing.tolist())
    volume.SetOrigin(matrix[:3, 3].tolist())
    volume.SetDirection((matrix[:3, :3] / spacing).ravel().tolist())
    return volume


def _from_itk_file(
    transform: sitk.Transform, grid: Grid | None
) -> DisplacementField | LinearTransform:
    if transform.IsLinear():
        return linear_from_itk(transform)
    first = applied_first(transform)
    if isinstance(first, sitk.DisplacementFieldTransform):
        field = field_from_itk(first.GetDisplacementField())
        return field if first is transform else from_itk(transform, field.grid)
    if grid is not None:
        return from_itk(transform, grid)
    raise InvalidTransform(
        "this transform has no grid of its own",
        got=f"{transform.GetName()} that begins with {first.GetName()}",
        remedy="Say on which image's grid it is wanted (reference).",
    )


def _unreadable(path: Path, error: RuntimeError) -> RegistrationError:
    if "InverseDisplacementFieldTransform" in str(error):
        return InvalidTransform(
            "this file holds the inverse of a displacement field, which only 3D Slicer reads",
            where=str(path),
            remedy="Invert the transform in 3D Slicer and save it again.",
        )
    return UnreadableFile(
        f"{path} cannot be read as a transform",
        got=itk_reason(error),
        wanted="an ITK transform file or an image of displacement vectors",
    )


def _as_image(
    transform: DisplacementField | LinearTransform | sitk.Transform, path: Path
) -> sitk.Image:
    if isinstance(transform, sitk.Transform):
        transform = transform.Downcast()
        if isinstance(transform, sitk.DisplacementFieldTransform):
            transform = field_from_itk(transform.GetDisplacementField())
    if not isinstance(transform, DisplacementField):
        raise InvalidTransform(
            "an image file keeps only a displacement field",
            where=str(path),
            got=type(transform).__name__,
            remedy="Write it as .h5 or .tfm, or sample it on a grid first.",
        )
    nifti = suffix_of(path) in nifti_file.SUFFIXES
    if nifti and transform.grid.dimension == 3 and transform.grid.size[2] == 1:
        transform = transform.resampled(transform.grid.padded((0, 0, 1)))
    image = field_to_itk(transform)
    if not nifti:
        image.SetMetaData("intent_code", _DISPLACEMENT)
        image.SetMetaData("displacement field type", "resampling")
    return image


def _as_itk(transform: DisplacementField | LinearTransform | sitk.Transform) -> sitk.Transform:
    if isinstance(transform, DisplacementField):
        return to_itk(transform)
    return linear_to_itk(transform) if isinstance(transform, LinearTransform) else transform


def _write_itk_file(transform: sitk.Transform, path: Path) -> None:
    with written_whole(path) as draft:
        try:
            sitk.WriteTransform(transform, str(draft))
        except RuntimeError as error:
            raise UnwritableOutput(f"{path} cannot be written", got=itk_reason(error)) from error
