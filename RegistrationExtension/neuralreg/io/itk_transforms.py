"""Transform files as ITK has them; nothing here needs torch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import SimpleITK as sitk

from neuralreg.errors import InvalidTransform, PackageMissing, RegistrationError, UnreadableFile
from neuralreg.io.files import itk_reason, quiet_itk, require_existing, suffix_of
from neuralreg.io.formats import nifti_header
from neuralreg.io.formats.coordinate_maps import displacements_of_map
from neuralreg.io.formats.elastix import is_elastix, read_elastix
from neuralreg.io.formats.foreign_transforms import SUFFIXES as FOREIGN_SUFFIXES
from neuralreg.io.formats.foreign_transforms import refuse_fnirt, refuse_foreign
from neuralreg.io.itk_images import WRITABLE as IMAGE_SUFFIXES
from neuralreg.io.itk_images import check_vectors, open_image, read_itk_image

VELOCITY = "stationary velocity field, LPS mm per unit of time"
VELOCITY_KEYS = ("ITK_FileNotes", "descrip")  # how NIfTI's description is written, and read
TRANSFORM_SUFFIXES = (".h5", ".tfm", ".txt", ".mat")


def read_itk_transform(path: str | Path) -> sitk.Transform:
    """The transform in a file, as ITK has it: nothing is sampled or joined.

    Args:
        path: an image of vectors, a transform file of ITK, or a parameter file of elastix.

    Raises:
        UnreadableFile: when the file is missing, damaged or of an unknown kind.
        InvalidTransform: when it holds something that cannot be used, see `read_vectors`.
    """
    path = require_existing(Path(path))
    if suffix_of(path) in IMAGE_SUFFIXES:
        vectors = sitk.Cast(read_vectors(path), sitk.sitkVectorFloat64)
        return sitk.DisplacementFieldTransform(vectors)
    refuse_foreign(path, suffix_of(path))
    if suffix_of(path) == ".txt" and is_elastix(path):
        return read_elastix(path)
    said = _Words()
    try:
        with quiet_itk(), said.listen():
            transform: sitk.Transform = sitk.ReadTransform(str(path)).Downcast()
    except RuntimeError as error:
        raise _unreadable(path, error) from error
    if any("more than one transform" in text for text in said.texts):
        raise InvalidTransform(
            "this file holds several transforms and does not say how they are joined",
            where=str(path),
            wanted="one transform, or one CompositeTransform",
            remedy="Give each in a file of its own; `warp` takes several, the first moves the "
            "fixed points first.",
        )
    return transform


class _Words(sitk.LoggerBase):  # type: ignore[misc]
    """What ITK says while it reads, which no exception tells."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def DisplayWarningText(self, text: str) -> None:  # noqa: N802 - ITK's name
        self.texts.append(text)

    @contextmanager
    def listen(self) -> Iterator[None]:
        """Take ITK's words instead of the terminal."""
        before = self.SetAsGlobalITKLogger()
        display = sitk.ProcessObject.GetGlobalWarningDisplay()
        sitk.ProcessObject.SetGlobalWarningDisplay(True)
        try:
            yield
        finally:
            sitk.ProcessObject.SetGlobalWarningDisplay(display)
            before.SetAsGlobalITKLogger()


def holds_transform(path: str | Path) -> bool:
    """Whether a file is a transform: by its name, or because it holds one real vector per voxel."""
    path = Path(path)
    if suffix_of(path) in (*TRANSFORM_SUFFIXES, *FOREIGN_SUFFIXES):
        return True
    if suffix_of(path) not in IMAGE_SUFFIXES:
        return False
    if path.name.lower().endswith(nifti_header.SUFFIXES):
        header = nifti_header.read_header(require_existing(path))
        if header.content != "vectors" or header.is_version_2:
            return False
    reader = open_image(path)
    real = (sitk.sitkVectorFloat32, sitk.sitkVectorFloat64)
    return reader.GetPixelID() in real and reader.GetNumberOfComponents() in (2, 3)


def innermost_transform(transform: sitk.Transform) -> sitk.Transform:
    """The transform that points pass first: ITK applies the last of a composite first."""
    while isinstance(transform, sitk.CompositeTransform):
        transform = transform.GetNthTransform(transform.GetNumberOfTransforms() - 1).Downcast()
    return transform


def read_vectors(path: Path) -> sitk.Image:
    """The displacements (LPS mm, fixed to moving) in an image file: a vector of reals per voxel.

    Those that a velocity causes, where the file is marked as one (`write_velocity`), and those of
    the maps of positions that SPM and NiftyReg write (`displacements_of_map`).

    Raises:
        UnreadableFile: when the file is missing or damaged.
        InvalidTransform: when it holds something else, points the other way, or is not finite.
    """
    try:
        return _displacements(path, read_itk_image(path))
    except InvalidTransform as error:
        raise error.at(str(path)) from error


def _displacements(path: Path, vectors: sitk.Image) -> sitk.Image:
    """What an image of ITK means as displacements in LPS mm."""
    refuse_fnirt(_meta(vectors, "intent_code"))
    if _meta(vectors, "displacement field type") == "modeling":
        raise InvalidTransform(
            "this displacement field moves points the other way, from moving to fixed",
            got="3D Slicer's mark 'displacement field type: modeling'",
            wanted="'resampling'",
            remedy="Invert the transform in 3D Slicer and save it again.",
        )
    is_velocity = any(_meta(vectors, key).strip() == VELOCITY for key in VELOCITY_KEYS)
    if vectors.GetDimension() == 2 and vectors.GetNumberOfComponentsPerPixel() == 3:
        vectors = _with_third_axis(vectors, path)
    check_vectors(vectors)
    vectors = displacements_of_map(vectors)
    if vectors.GetPixelID() not in (sitk.sitkVectorFloat32, sitk.sitkVectorFloat64):
        vectors = sitk.Cast(vectors, sitk.sitkVectorFloat32)
    return _integrate(vectors, path) if is_velocity else vectors


def _integrate(velocity: sitk.Image, path: Path) -> sitk.Image:
    """The displacements that a stationary velocity causes in a unit of time."""
    try:
        from neuralreg.geometry.velocity import exponentiate
        from neuralreg.io.itk import field_from_itk, field_to_itk
    except ModuleNotFoundError as error:
        raise PackageMissing(
            "a velocity is integrated with PyTorch, which is not installed",
            where=str(path),
            remedy="Use the displacement field next to it.",
        ) from error
    return field_to_itk(exponentiate(field_from_itk(velocity)))


def _meta(image: sitk.Image, key: str) -> str:
    return str(image.GetMetaData(key)) if image.HasMetaDataKey(key) else ""


def _with_third_axis(vectors: sitk.Image, path: Path) -> sitk.Image:
    """A one-slice NIfTI field with the place that its header gives it; ITK drops the third axis."""
    header = nifti_header.read_header(path)
    matrix = header.sform if header.sform is not None else header.qform
    if matrix is None:
        raise InvalidTransform(
            "a field of one slice has no position in space", got="neither qform nor sform"
        )
    matrix = matrix * [[-1], [-1], [1], [1]]
    spacing = (matrix[:3, :3] ** 2).sum(0) ** 0.5
    volume = sitk.JoinSeries(vectors)
    volume.SetSpacing(spacing.tolist())
    volume.SetOrigin(matrix[:3, 3].tolist())
    volume.SetDirection((matrix[:3, :3] / spacing).ravel().tolist())
    return volume


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
