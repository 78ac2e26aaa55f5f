"""Maps of positions, as SPM and NiftyReg write them with the intent code of a displacement field.

Sources: spm_dartel_integrate and spm_deformations of SPM12 (y_*.nii), _reg_tools.h of NiftyReg.
"""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from neuralreg.errors import InvalidTransform
from neuralreg.geometry.grid import Grid

_SPM, _NIFTYREG = "Mapping", "NREG_TRANS"  # names of NIfTI's intent
_POSITIONS, _DISPLACEMENTS = 0, 1  # kinds of NiftyReg, in NIfTI's intent_p1
_OTHER_KINDS = {
    2: "spline grid",
    3: "velocity",
    4: "velocity",
    5: "velocity grid",
    6: "spline grid",
}


def displacements_of_map(vectors: sitk.Image) -> sitk.Image:
    """The displacements in LPS mm of a map of positions in RAS mm; another image as it is.

    Args:
        vectors: as read by ITK, one vector per voxel, with the tags of the file.

    Raises:
        InvalidTransform: a file of NiftyReg that holds neither positions nor displacements.
    """
    name = _tag(vectors, "intent_name").strip("\0 ")
    if name not in (_SPM, _NIFTYREG):
        return vectors
    kind = int(float(_tag(vectors, "intent_p1") or 0)) if name == _NIFTYREG else _POSITIONS
    if kind not in (_POSITIONS, _DISPLACEMENTS):
        raise InvalidTransform(
            "this file of NiftyReg holds no displacements",
            got=_OTHER_KINDS.get(kind, f"kind {kind}"),
            wanted="a deformation field",
            remedy="Let `reg_transform -def` or `-disp` write one.",
        )
    grid = Grid.of(vectors)
    values = sitk.GetArrayFromImage(vectors).astype(float)
    values[..., :2] *= -1  # RAS to LPS
    if kind == _POSITIONS:
        index = np.moveaxis(np.indices(grid.shape, float)[::-1], 0, -1)
        values -= grid.points_at(index)
    field = sitk.GetImageFromArray(values, isVector=True)
    field.CopyInformation(vectors)
    return field


def _tag(image: sitk.Image, key: str) -> str:
    return str(image.GetMetaData(key)) if image.HasMetaDataKey(key) else ""
