"""The door for volumes that were handed over: as a file with the same content comes in.

Nothing here needs torch.
"""

from __future__ import annotations

from dataclasses import replace

from neuralreg.geometry.remarks import Remark, RemarkKind
from neuralreg.io.formats.dicom_padding import fill_padding
from neuralreg.io.in_memory.loaded_files import FileFacts, facts_of
from neuralreg.io.volume import not_finite_remarks, units_remarks
from neuralreg.worker.messages import Voxels


def canonical_voxels(voxels: Voxels) -> Voxels:
    """The record with values in their canonical form, and remarks on them and on their files.

    A scanner's padding becomes background; NaN and infinite values stay, with a remark, as in
    `neuralreg.read_image`. Labels stay as they are.
    """
    if voxels.remarks:
        return voxels
    name, facts = voxels.name, _facts(voxels)
    if voxels.labels:
        return replace(voxels, remarks=facts.remarks)
    remarks: list[Remark] = [*not_finite_remarks(name, voxels.data), *facts.remarks]
    values = voxels.data
    if len(set(facts.paddings)) > 1:  # which slice of the volume came from where is not known
        remarks.append(Remark(RemarkKind.PADDING_BY_FRAME, name))
    else:
        values, padded = fill_padding(name, values, facts.paddings[:1])
        remarks += padded
    units = facts.units if voxels.units is None else voxels.units
    return replace(voxels, data=values, remarks=(*remarks, *units_remarks(name, units)))


def _facts(voxels: Voxels) -> FileFacts:
    origin = voxels.origin
    if origin is None:
        return FileFacts()
    return facts_of(voxels.name, origin.files, origin.grid, edited=origin.edited)
