"""One door for files of points: which kinds there are, and how they are read."""

from __future__ import annotations

from pathlib import Path

from neuralreg.errors import UnreadableFile, UnwritableOutput
from neuralreg.io.files import require_existing, suffix_of
from neuralreg.io.point_sets import landmark_lists, meshes, streamlines
from neuralreg.io.point_sets.point_set import PointSet

_READERS = {
    landmark_lists.SUFFIXES: landmark_lists.read_list,
    meshes.SUFFIXES: meshes.read_mesh,
    streamlines.SUFFIXES: streamlines.read_streamlines,
}
SUFFIXES = tuple(suffix for suffixes in _READERS for suffix in suffixes)


def is_point_file(path: Path) -> bool:
    """Whether a file holds points instead of voxels, by its name."""
    return suffix_of(path) in SUFFIXES


def require_writable(path: Path, source: Path) -> None:
    """Check, before anything is computed, that a file of points is written as one of its kind.

    Raises:
        UnwritableOutput: the ending is that of something else.
    """
    kind = next(suffixes for suffixes in _READERS if suffix_of(source) in suffixes)
    if suffix_of(path) not in kind:
        raise UnwritableOutput(
            f"what {source} holds is written with an ending of its kind",
            got=path.name,
            wanted=" ".join(kind),
        )


def read_points(path: Path, notes: list[str]) -> PointSet:
    """The points of a file of landmarks, of a mesh, or of streamlines.

    Args:
        path: .mrk.json, .fcsv, .csv, .tsv; .vtk, .vtp, .vtu, .ply, .stl; .trk, .tck.
        notes: what had to be assumed is appended in words.

    Raises:
        UnreadableFile: it is missing, damaged, or of another kind.
        PackageMissing: meshes are read by VTK.
    """
    suffix = suffix_of(require_existing(path))
    for suffixes, read in _READERS.items():
        if suffix in suffixes:
            return read(path, notes)
    raise UnreadableFile(f"{path} is no file of points", wanted=" ".join(SUFFIXES))
