"""The door for volumes that were handed over: as a file with the same content comes in.

Nothing here needs torch.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from neuralreg.geometry.remarks import Remark, RemarkKind
from neuralreg.io.formats.dicom import HEADER_TAGS, units_of
from neuralreg.io.formats.dicom_header import number_of, read_header
from neuralreg.io.formats.dicom_padding import fill_padding, paddings_of
from neuralreg.io.volume import not_finite_remarks, units_remarks
from neuralreg.worker.messages import Voxels


def canonical_voxels(voxels: Voxels) -> Voxels:
    """The record with values in their canonical form, and remarks on them.

    A scanner's padding becomes background; NaN and infinite values stay, with a remark, as in
    `neuralreg.read_image`. Labels stay as they are.

    Raises:
        UnreadableFile: the DICOM file that is named has no readable header.
    """
    if voxels.labels or voxels.remarks:
        return voxels
    values, name, header = voxels.data, voxels.name, _header_of(voxels)
    remarks: list[Remark] = not_finite_remarks(name, values)
    paddings = paddings_of(header, int(number_of(header, "NumberOfFrames", 1)))
    if len(set(paddings)) > 1:  # which frame a slice of the node came from is not known
        remarks.append(Remark(RemarkKind.PADDING_BY_FRAME, name))
    else:
        values, padded = fill_padding(name, values, paddings[:1])
        remarks += padded
    units = units_of(header) if voxels.units is None else voxels.units
    return replace(voxels, data=values, remarks=(*remarks, *units_remarks(name, units)))


def _header_of(voxels: Voxels) -> Any:
    return read_header(Path(voxels.dicom_file), HEADER_TAGS) if voxels.dicom_file else {}
