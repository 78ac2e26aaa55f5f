"""Image files and DICOM folders as ITK has them; nothing here needs torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from neuralreg.errors import (
    InvalidImage,
    InvalidTransform,
    RegistrationError,
    UnreadableFile,
    UnwritableOutput,
)
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.remarks import Remark, RemarkKind
from neuralreg.io.encodings.packed_files import is_packed
from neuralreg.io.encodings.raw_sizes import has_checksum_of, is_packed_image, require_whole
from neuralreg.io.encodings.text_headers import placement_remarks
from neuralreg.io.files import (
    container_of,
    itk_reason,
    quiet_itk,
    require_existing,
    require_no_pointer,
    suffix_of,
    write_whole,
    writing_error,
)
from neuralreg.io.formats import neuroimaging, nifti, nifti_header, ome_zarr
from neuralreg.io.formats.dicom import is_dicom, read_dicom
from neuralreg.io.volume import Volume, frame_remarks, grid_of_affine, not_finite_remarks

_ABOUT_PLACEMENT = (
    RemarkKind.NO_PLACEMENT,
    RemarkKind.PLACEMENTS_DISAGREE,
    RemarkKind.SHIFTED_SLICES,
    RemarkKind.SINGLE_SLICE,
    RemarkKind.SPACING_CONTRADICTS,
    RemarkKind.LENGTH_UNIT,
    RemarkKind.NO_SPACING,
    RemarkKind.HEADER_REPAIRED,
    RemarkKind.AXES_ASSUMED,
)
_START_BYTES = 100
_SUBMATRIX = sitk.ExtractImageFilter.DIRECTIONCOLLAPSETOSUBMATRIX
WRITABLE = (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd")


def write_itk_image(image: sitk.Image, path: Path) -> None:
    """Write an ITK image, packed where the format can; never a half file."""
    if suffix_of(path) not in WRITABLE:
        raise UnwritableOutput(
            f"{path} has no ending of an image format", wanted=" ".join(WRITABLE)
        )
    with write_whole(path) as draft:
        known = draft.with_name(draft.name[: -len(suffix_of(path))] + suffix_of(path))
        try:
            with quiet_itk():  # which knows some endings in small letters only
                sitk.WriteImage(image, str(known), useCompression=suffix_of(path) != ".nii")
        except RuntimeError as error:
            raise writing_error(path, error) from error
        _require_stored(known, path)
        known.rename(draft)


def _require_stored(draft: Path, path: Path) -> None:
    """Check that a draft is as long as its header says: ITK does not tell of every full disk."""
    try:
        if _is_nifti(draft):
            nifti.require_whole(nifti_header.read_header(draft))
        require_whole(draft)
    except UnreadableFile as error:
        raise writing_error(path, error) from error


def read_itk_image(path: Path) -> sitk.Image:
    """The whole content of an image file as ITK has it, with several frames and components.

    Raises:
        UnreadableFile: the file is missing or damaged.
        InvalidImage: a NIfTI file holds NaN or infinite values, which ITK would turn into 0.
    """
    if _is_nifti(require_existing(path)):
        bad = nifti.count_stored_not_finite(nifti_header.read_header(path))
        if bad:
            raise InvalidImage("values are finite", where=str(path), got=f"{bad} NaN or infinite")
    return _execute(path, _open(path))


def open_image(path: Path) -> sitk.ImageFileReader:
    """A reader that knows the file's size, number type and tags, without its values.

    Raises:
        UnreadableFile: the file is missing or no image.
        InvalidImage: it is sheared.
    """
    return _open(require_existing(path))


def open_volume(path: Path, frame: int = 0) -> Volume:
    """The door: the volume in a file of any format, or in a folder with one DICOM series.

    Each family of formats is decoded by the library that reads it rightly: NIfTI by nibabel's
    header, FreeSurfer, MINC, AFNI, ECAT and Philips by nibabel, DICOM by pydicom and ITK, the rest
    by ITK.

    Args:
        path: a file or a folder.
        frame: of a file with several.

    Raises:
        UnreadableFile: it is missing, damaged, or of an unknown kind.
        InvalidImage: it holds colors or vectors, or its axes are not at right angles.
    """
    with name_in_errors(path):
        return _read_frames(path, frame)[0]


def open_frames(path: Path) -> tuple[list[Volume], float, float]:
    """Every frame of what `open_volume` takes, the time of the first and that between frames."""
    with name_in_errors(path):
        volumes = [_without_choice(volume) for volume in _read_frames(path, None)]
    return volumes, *volumes[0].time


def _read_frames(path: Path, frame: int | None) -> list[Volume]:
    """One frame, or all of them."""
    if container_of(require_existing(path)).is_dir():
        if ome_zarr.is_ome_zarr(path):
            return ome_zarr.read_ome_zarr(path, frame)
        return read_dicom(path, frame)
    if path.name.lower().endswith(neuroimaging.SUFFIXES):
        return neuroimaging.read_neuroimaging(path, frame)
    if _is_nifti(path):
        header = nifti_header.read_header(path)
        return nifti.read_nifti(path, header, lambda: _nifti_grid(path, header), frame)
    if is_dicom(path):
        return read_dicom(path, frame)
    return _read_by_itk(path, frame)


def _read_by_itk(path: Path, frame: int | None) -> list[Volume]:
    reader = _open(path)
    _require_gray(path, reader)
    axes, frames = len(reader.GetSize()), int(np.prod(reader.GetSize()[3:]))
    time = (reader.GetOrigin()[3], reader.GetSpacing()[3]) if frames > 1 else (0.0, 1.0)
    chosen = range(frames) if frame is None else [frame]
    volumes = []
    for k, image in zip(chosen, _execute_frames(path, reader, frame), strict=True):
        remarks = not_finite_remarks(path, sitk.GetArrayViewFromImage(image))
        remarks += placement_remarks(path)
        remarks += frame_remarks(path, axes, k, frames)
        volumes.append(Volume(image, tuple(remarks), frames, time=time))
    return volumes


def _execute_frames(
    path: Path, reader: sitk.ImageFileReader, frame: int | None
) -> list[sitk.Image]:
    """One frame, or all of them, cut out of one reading: a packed file is unpacked once."""
    size = reader.GetSize()
    if len(size) > 3 and frame is None:
        whole = _execute(path, reader)
        regions = (_frame_region(size, k) for k in range(int(np.prod(size[3:]))))
        return [sitk.Extract(whole, *region, _SUBMATRIX) for region in regions]
    if len(size) > 3 and frame is not None:
        extent, index = _frame_region(size, frame)
        reader.SetExtractSize(extent)
        reader.SetExtractIndex(index)
    return [_execute(path, reader)]


def open_grid(path: Path) -> tuple[Grid, list[Remark]]:
    """Where the voxels of a file lie, whatever they hold, and what is doubted about it.

    Only headers are read where the format allows it.

    Raises:
        UnreadableFile: it is missing, damaged, or of an unknown kind.
        InvalidImage: its axes are not at right angles.
    """
    if ome_zarr.is_ome_zarr(require_existing(path)):
        return ome_zarr.ome_zarr_grid(path)
    if path.is_file() and not path.name.lower().endswith(neuroimaging.SUFFIXES):
        with name_in_errors(path):
            if _is_nifti(path):
                header = nifti_header.read_header(path)
                return _nifti_grid(path, header), nifti_header.placement_remarks(path, header)
            if not is_dicom(path):
                return _frame_grid(_open(path)), [
                    r for r in placement_remarks(path) if r.kind in _ABOUT_PLACEMENT
                ]
    volume = open_volume(path)
    return Grid.of(volume.image), [r for r in volume.remarks if r.kind in _ABOUT_PLACEMENT]


def read_volume(path: Path, notes: list[str]) -> sitk.Image:
    """The image of `open_volume`, its remarks in words appended to `notes`."""
    volume = open_volume(path)
    notes.extend(map(str, volume.remarks))
    return volume.image


@contextmanager
def name_in_errors(path: Path) -> Iterator[None]:
    """Errors about an image, with the file that it is in."""
    try:
        yield
    except InvalidImage as error:
        if error.where:
            raise
        raise error.at(str(path)) from error


def _is_nifti(path: Path) -> bool:
    return path.name.lower().endswith((*nifti_header.SUFFIXES, *nifti_header.PAIR_SUFFIXES))


def _without_choice(volume: Volume) -> Volume:
    kept = (remark for remark in volume.remarks if remark.kind != RemarkKind.FRAME_CHOSEN)
    return replace(volume, remarks=tuple(kept))


def _nifti_grid(path: Path, header: nifti_header.NiftiHeader) -> Grid:
    """Where ITK and 3D Slicer place the image; by the sform where pixdim contradicts it."""
    axes = min(max(header.dim[0], 2), 3)
    shape = (*header.shape, 1, 1)
    if header.is_turned_plane:  # of which a matrix in 2D would be no rotation
        spacing = tuple(abs(step) or 1.0 for step in header.pixdim[:2])
        return Grid(shape[:2], spacing, (0.0, 0.0), (1.0, 0.0, 0.0, 1.0))
    known = path.name.endswith((suffix_of(path), suffix_of(path).upper()))
    known &= suffix_of(path) != ".nii" or not is_packed(path)
    if not known or header.sform_spacing is not None or header.is_version_2 or header.oddities:
        return _grid_by_matrix(path, header, shape[:axes])
    return _frame_grid(_open(path))


def _frame_grid(reader: sitk.ImageFileReader) -> Grid:
    """The grid of one frame."""
    axes = len(reader.GetSize())
    d = min(axes, 3)
    cosines = np.reshape(reader.GetDirection(), (axes, axes))[:d, :d]
    return Grid(
        reader.GetSize()[:d],
        reader.GetSpacing()[:d],
        reader.GetOrigin()[:d],
        tuple(cosines.ravel().tolist()),
    )


def _require_gray(path: Path, reader: sitk.ImageFileReader) -> None:
    complex_numbers = reader.GetPixelID() in (sitk.sitkComplexFloat32, sitk.sitkComplexFloat64)
    if reader.GetNumberOfComponents() > 1 or complex_numbers:
        kind = sitk.GetPixelIDValueAsString(reader.GetPixelID())
        raise InvalidImage(
            "only images with one value per voxel can be registered",
            where=str(path),
            got=f"{kind} with {reader.GetNumberOfComponents()} components",
            remedy="Extract one channel, or convert to gray or magnitude first.",
        )


def _grid_by_matrix(path: Path, header: nifti_header.NiftiHeader, size: tuple[int, ...]) -> Grid:
    try:
        grid = grid_of_affine((*size, 1)[:3], header.matrix)
    except InvalidImage as error:
        raise _shear_error(path) from error
    d = len(size)
    cosines = np.reshape(grid.direction, (3, 3))[:d, :d]
    return Grid(size, grid.spacing[:d], grid.origin[:d], tuple(cosines.ravel().tolist()))


def _open(path: Path) -> sitk.ImageFileReader:
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    if path.suffix != path.suffix.lower() and path.suffix.lower() in (".mha", ".mhd"):
        reader.SetImageIO("MetaImageIO")  # which does not know its endings in capitals
    try:
        with quiet_itk():
            reader.ReadImageInformation()
    except RuntimeError as error:
        raise _reading_error(path, error) from error
    return reader


def _execute(path: Path, reader: sitk.ImageFileReader) -> sitk.Image:
    packed = is_packed_image(path)
    if not packed:
        require_whole(path)
    try:
        with quiet_itk():
            image: sitk.Image = reader.Execute()
    except RuntimeError as error:
        require_whole(path)
        raise _reading_error(path, error) from error
    if packed and not has_checksum_of(path, sitk.GetArrayViewFromImage(image)):
        require_whole(path)  # unpacks it once more
    return image


def _reading_error(path: Path, error: RuntimeError) -> RegistrationError:
    with path.open("rb") as file:
        require_no_pointer(path, file.read(_START_BYTES))
    if "orthonormal" in str(error):
        return _shear_error(path)
    return UnreadableFile(
        f"{path} cannot be read as an image",
        got=itk_reason(error),
        wanted="NIfTI, NRRD, MetaImage, DICOM, MGH, MINC, AFNI, OME-Zarr, or a folder with one "
        "DICOM series",
        remedy="Open the file in another program to see whether it is damaged.",
    )


def _shear_error(path: Path) -> InvalidImage:
    return InvalidImage(
        "the axes of an image are at right angles",
        where=str(path),
        got="a sheared placement (sform), as gantry tilt makes it, and no usable qform",
        remedy="Straighten the volume first, for example by loading and saving it in 3D Slicer.",
    )


def _frame_region(size: Sequence[int], frame: int) -> tuple[list[int], list[int]]:
    """Extent and first index of one frame; an axis of extent 0 is dropped."""
    rest = size[3:]
    index = [int(i) for i in np.unravel_index(frame, rest[::-1])][::-1]
    return [*size[:3], *[0] * len(rest)], [0, 0, 0, *index]


def check_vectors(image: sitk.Image) -> None:
    """Raise InvalidTransform when there is not one finite vector per voxel."""
    components, axes = image.GetNumberOfComponentsPerPixel(), image.GetDimension()
    if axes not in (2, 3) or components != axes:
        raise InvalidTransform(
            "a displacement field has one vector per voxel",
            got=f"{axes} axes and {components} numbers per voxel",
            wanted="3 and 3, or 2 and 2 (in NIfTI along the fifth axis, with intent code 1007)",
        )
    finite = np.isfinite(sitk.GetArrayViewFromImage(image))
    if not finite.all():
        raise InvalidTransform(
            "displacements are finite", got=f"{int((~finite).sum())} NaN or infinite numbers"
        )
