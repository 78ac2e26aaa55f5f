"""DICOM files made with pydicom: slices, doses and files with several frames."""

from __future__ import annotations

from collections.abc import Sequence as Numbers
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

PET = "1.2.840.10008.5.1.4.1.1.128"
DOSE = "1.2.840.10008.5.1.4.1.1.481.2"
ENHANCED_MR = "1.2.840.10008.5.1.4.1.1.4.1"
ACROSS_DOWN = [1, 0, 0, 0, 1, 0]


def new_file(kind: str, values: np.ndarray, name: str) -> FileDataset:
    """A file of one series; values (y, x) or (frames, y, x) of 16 bits."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = kind
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[name])
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    made.SOPClassUID, made.SOPInstanceUID = kind, meta.MediaStorageSOPInstanceUID
    for element in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
        setattr(made, element, generate_uid(entropy_srcs=[element]))
    made.SeriesNumber = made.InstanceNumber = made.SamplesPerPixel = 1
    made.PhotometricInterpretation = "MONOCHROME2"
    made.BitsAllocated = made.BitsStored = 16
    made.HighBit, made.PixelRepresentation = 15, int(values.dtype.kind == "i")
    made.Rows, made.Columns = values.shape[-2:]
    made.PixelData = np.ascontiguousarray(values).tobytes()
    return made


def write_slices(
    folder: Path, stored: np.ndarray, slopes: Numbers[float], **elements: object
) -> Path:
    """A series of one file per slice (z, y, x), 3 mm apart, each with its own rescale slope."""
    for k, (values, slope) in enumerate(zip(stored, slopes, strict=True)):
        made = new_file(PET, values, f"slice {k}")
        made.PixelSpacing, made.SliceThickness = [3, 3], 3
        made.ImagePositionPatient, made.ImageOrientationPatient = [0, 0, 3 * k], ACROSS_DOWN
        made.InstanceNumber = k + 1
        made.RescaleSlope, made.RescaleIntercept = f"{slope:.8g}", "0"
        for name, value in elements.items():
            setattr(made, name, value)
        made.save_as(folder / f"{k:03}.dcm", enforce_file_format=True)
    return folder


def write_dose(path: Path, stored: np.ndarray, *, scaling: str, step: float) -> Path:
    """A dose of (z, y, x) whole numbers; the factor makes Gy of them."""
    made = new_file(DOSE, stored, "dose")
    made.Modality, made.NumberOfFrames = "RTDOSE", len(stored)
    made.ImagePositionPatient, made.ImageOrientationPatient = [-15, -15, -15], ACROSS_DOWN
    made.PixelSpacing, made.SliceThickness = [2, 2], ""
    made.DoseGridScaling, made.DoseUnits, made.DoseType = scaling, "GY", "PHYSICAL"
    made.FrameIncrementPointer = 0x3004000C
    made.GridFrameOffsetVector = [step * k for k in range(len(stored))]
    made.save_as(path, enforce_file_format=True)
    return path


def write_multiframe(
    path: Path,
    stored: np.ndarray,
    places: Numbers[float],
    shared: dict[str, object] | None = None,
    own: Numbers[dict[str, object]] = (),
    **elements: object,
) -> Path:
    """An enhanced MR file whose frames (n, y, x) are at places along z, mm.

    shared, own: elements of the transformation of values of all frames, or of each; elements: of
    the file.
    """
    made = new_file(ENHANCED_MR, stored, "frames")
    made.Modality, made.NumberOfFrames = "MR", len(stored)
    made.SharedFunctionalGroupsSequence = _item(
        PlaneOrientationSequence=_item(ImageOrientationPatient=ACROSS_DOWN),
        PixelMeasuresSequence=_item(PixelSpacing=[2, 2], SliceThickness=2),
    )
    made.PerFrameFunctionalGroupsSequence = Sequence(
        [
            _item(PlanePositionSequence=_item(ImagePositionPatient=[-15, -15, place]))[0]
            for place in places
        ]
    )
    if shared:
        group = made.SharedFunctionalGroupsSequence[0]
        group.PixelValueTransformationSequence = _item(**shared)
    for group, values in zip(made.PerFrameFunctionalGroupsSequence, own, strict=False):
        group.PixelValueTransformationSequence = _item(**values)
    for name, value in elements.items():
        setattr(made, name, value)
    made.save_as(path, enforce_file_format=True)
    return path


def _item(**elements: object) -> Sequence:
    made = Dataset()
    for name, value in elements.items():
        setattr(made, name, value)
    return Sequence([made])
