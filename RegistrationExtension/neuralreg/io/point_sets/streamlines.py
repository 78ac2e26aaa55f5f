"""Streamlines of tractography: .trk and .tck, by nibabel."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from neuralreg.errors import UnreadableFile, UnwritableOutput
from neuralreg.geometry.grid import Grid, Matrix
from neuralreg.io.files import suffix_of, write_whole
from neuralreg.io.point_sets.point_set import PointSet, flip_ras

SUFFIXES = (".trk", ".tck")
_FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])


def read_streamlines(path: Path, notes: list[str]) -> PointSet:
    """All points of the streamlines of a file.

    Args:
        path: .trk (TrackVis) or .tck (MRtrix).
        notes: nothing has to be assumed: both formats say where their points are.

    Raises:
        UnreadableFile: it is damaged, or holds no streamline.
    """
    from nibabel import streamlines

    try:
        file = streamlines.load(path)
        points = np.asarray(file.streamlines.get_data(), float)
    except Exception as error:
        raise UnreadableFile(f"{path} cannot be read as streamlines", got=str(error)) from error
    if not len(points):
        raise UnreadableFile(f"{path} holds no streamlines")
    return PointSet(flip_ras(points), partial(_write, file))


def _write(file: Any, points: Matrix, path: Path, grid: Grid | None) -> None:
    """The same lines through other points, with what the file says of each point and line."""
    from nibabel import streamlines

    if suffix_of(path) == ".trk" and grid is None and not isinstance(file, streamlines.TrkFile):
        raise UnwritableOutput(
            f"{path} says of which image its streamlines are", got="no image",
            remedy="Name it (--reference), or write a .tck.",
        )  # fmt: skip
    lengths = [len(line) for line in file.streamlines]
    lines = np.split(flip_ras(points).astype(np.float32), np.cumsum(lengths)[:-1])
    tractogram = streamlines.Tractogram(
        streamlines=lines,
        data_per_streamline=file.tractogram.data_per_streamline,
        data_per_point=file.tractogram.data_per_point,
        affine_to_rasmm=np.eye(4),
    )
    header = dict(file.header) if type(file) is streamlines.detect_format(path) else {}
    if suffix_of(path) == ".trk" and grid is not None:
        header |= _space_of(grid)
    with write_whole(path) as draft:
        streamlines.save(tractogram, str(draft), header=header)


def _space_of(grid: Grid) -> dict[str, Any]:
    """What a .trk says of its image."""
    from nibabel import aff2axcodes
    from nibabel.streamlines import Field

    affine = _FLIP @ grid.index_to_world
    return {
        Field.VOXEL_TO_RASMM: affine,
        Field.DIMENSIONS: grid.size,
        Field.VOXEL_SIZES: grid.spacing,
        Field.VOXEL_ORDER: "".join(aff2axcodes(affine)),
    }
