"""Surfaces and other meshes, by VTK, in the coordinate systems that 3D Slicer writes.

Source: Slicer's `vtkMRMLModelStorageNode`: the coordinate system stands as SPACE=LPS or SPACE=RAS
in the header, comment or field data; a file without it is in LPS.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from neuralreg.errors import PackageMissing, UnreadableFile
from neuralreg.geometry.grid import Grid, Matrix
from neuralreg.io.files import suffix_of, write_whole, writing_error
from neuralreg.io.point_sets.point_set import PointSet, flip_ras

SUFFIXES = (".vtk", ".vtp", ".vtu", ".ply", ".stl")
_TAG = "SPACE"
_LEGACY_VERSION = 42  # the newest that programs with an older VTK read


def read_mesh(path: Path, notes: list[str]) -> PointSet:
    """The points of a mesh.

    Args:
        path: .vtk, .vtp, .vtu, .ply or .stl.
        notes: a sentence is appended where the file does not say its coordinate system.

    Raises:
        UnreadableFile: it is damaged, of another kind, or holds no points.
        PackageMissing: VTK is not installed.
    """
    try:
        from vtkmodules.util.numpy_support import vtk_to_numpy
    except ModuleNotFoundError as error:
        raise PackageMissing(
            "meshes are read by VTK, which is not installed", remedy="Type: pip install vtk"
        ) from error
    with _errors_of_vtk(path, "read"):
        mesh, system = _read(path)
    if mesh is None or not mesh.GetNumberOfPoints():
        raise UnreadableFile(f"{path} cannot be read as a mesh", got="no points")
    if not system:
        notes.append(f"{path} does not say its coordinate system: LPS, as 3D Slicer takes it")
    stored = vtk_to_numpy(mesh.GetPoints().GetData())  # type: ignore[no-untyped-call]
    points: Matrix = np.array(stored, np.float64)
    ras = system == "RAS"
    write = partial(_write, mesh, "RAS" if ras else "LPS")
    return PointSet(flip_ras(points) if ras else points, write, _on_surface(mesh))


def _on_surface(mesh: Any) -> Matrix | None:
    """Indices of the points that cells of a surface, or of the outside of a mesh, belong to."""
    from vtkmodules.util.numpy_support import vtk_to_numpy
    from vtkmodules.vtkFiltersGeometry import vtkDataSetSurfaceFilter

    if not mesh.GetNumberOfCells():
        return None
    if not mesh.IsA("vtkPolyData"):
        outside = vtkDataSetSurfaceFilter()
        outside.PassThroughPointIdsOn()
        outside.SetInputData(mesh)
        outside.Update()
        ids = outside.GetOutput().GetPointData().GetArray(outside.GetOriginalPointIdsName())
        return np.unique(vtk_to_numpy(ids))  # type: ignore[no-untyped-call]
    kinds = (mesh.GetVerts(), mesh.GetLines(), mesh.GetPolys(), mesh.GetStrips())
    ids = [vtk_to_numpy(cells.GetConnectivityArray()) for cells in kinds]  # type: ignore[no-untyped-call]
    return np.unique(np.concatenate(ids))


def _read(path: Path) -> tuple[Any, str]:
    """The mesh of a file, and its coordinate system: "" where the file does not say it."""
    from vtkmodules import vtkIOGeometry, vtkIOLegacy, vtkIOPLY, vtkIOXML

    suffix = suffix_of(path)
    reader: Any
    if suffix == ".vtk":
        reader = vtkIOLegacy.vtkPolyDataReader()
        reader.SetFileName(str(path))
        if not reader.IsFilePolyData():
            reader = vtkIOLegacy.vtkUnstructuredGridReader()
    else:
        reader = {
            ".vtp": vtkIOXML.vtkXMLPolyDataReader,
            ".vtu": vtkIOXML.vtkXMLUnstructuredGridReader,
            ".ply": vtkIOPLY.vtkPLYReader,
            ".stl": vtkIOGeometry.vtkSTLReader,
        }[suffix]()
    reader.SetFileName(str(path))
    reader.Update()
    return reader.GetOutput(), _system_of(reader, suffix)


@contextmanager
def _errors_of_vtk(path: Path, what: str) -> Iterator[None]:
    """Let VTK work, with its complaints as an error of ours instead of lines in the terminal.

    Raises:
        UnreadableFile: VTK complained.
    """
    from vtkmodules.vtkCommonCore import vtkLogger, vtkOutputWindow, vtkStringOutputWindow

    former, own = vtkOutputWindow.GetInstance(), vtkStringOutputWindow()
    verbosity = vtkLogger.GetCurrentVerbosityCutoff()
    vtkOutputWindow.SetInstance(own)
    vtkLogger.SetStderrVerbosity(vtkLogger.VERBOSITY_OFF)
    try:
        yield
    finally:
        vtkOutputWindow.SetInstance(former)
        vtkLogger.SetStderrVerbosity(verbosity)
    text = own.GetOutput()
    if not isinstance(text, str):  # VTK repeats the bytes that it did not understand
        text = "" if text is None else "ERROR"
    if "ERROR" in text:
        reasons = [line.partition("): ")[2] for line in text.splitlines() if "): " in line]
        reason = reasons[0] if reasons and reasons[0].isprintable() else "its format is damaged"
        raise UnreadableFile(f"{path} cannot be {what} as a mesh", got=reason)


def _system_of(reader: Any, suffix: str) -> str:
    """LPS or RAS, where the file says so."""
    if suffix in (".vtp", ".vtu"):
        array = reader.GetOutput().GetFieldData().GetAbstractArray(_TAG)
        lines = [str(array.GetValue(0))] if array is not None and array.GetNumberOfValues() else []
        return next((line for line in lines if line in ("LPS", "RAS")), "")
    if suffix == ".ply":
        comments = reader.GetComments()
        lines = [str(comments.GetValue(n)) for n in range(comments.GetNumberOfValues())]
    else:
        lines = [_header_of(reader)]
    return next((s for s in ("LPS", "RAS") for line in lines if f"{_TAG}={s}" in line), "")


def _header_of(reader: Any) -> str:
    header = reader.GetHeader()
    return header if isinstance(header, str) else ""  # bytes, where it is no text


def _write(mesh: Any, system: str, points: Matrix, path: Path, grid: Grid | None) -> None:
    with write_whole(path) as draft:
        writer = _writer(_move(mesh, flip_ras(points) if system == "RAS" else points),
                         suffix_of(path), f"{_TAG}={system}")  # fmt: skip
        writer.SetFileName(str(draft))
        with _errors_of_vtk(path, "written"):
            writer.Write()
        if not draft.exists():
            raise writing_error(path, EOFError())


def _move(mesh: Any, points: Matrix) -> Any:
    """The same cells and values on other points; normals are those of the new shape."""
    from vtkmodules.util.numpy_support import numpy_to_vtk
    from vtkmodules.vtkCommonCore import vtkPoints

    changed = mesh.NewInstance()
    changed.DeepCopy(mesh)
    positions = vtkPoints()
    kind = mesh.GetPoints().GetDataType()
    dtype = np.float64 if kind == 11 else np.float32  # VTK_DOUBLE
    values = numpy_to_vtk(np.ascontiguousarray(points, dtype), deep=True)  # type: ignore[no-untyped-call]
    positions.SetData(values)
    changed.SetPoints(positions)
    had_normals = changed.GetPointData().GetNormals() is not None
    for data in (changed.GetPointData(), changed.GetCellData()):
        if data.GetNormals() is not None:
            data.RemoveArray(data.GetNormals().GetName())
    if had_normals and changed.IsA("vtkPolyData"):
        from vtkmodules.vtkFiltersCore import vtkPolyDataNormals

        normals = vtkPolyDataNormals()
        normals.SetInputData(changed)
        normals.SplittingOff()
        normals.ConsistencyOff()
        normals.Update()
        return normals.GetOutput()
    return changed


def _writer(mesh: Any, suffix: str, tag: str) -> Any:
    """VTK's writer of a format, which says the coordinate system where 3D Slicer looks for it."""
    from vtkmodules import vtkIOGeometry, vtkIOLegacy, vtkIOPLY, vtkIOXML

    surface = mesh.IsA("vtkPolyData")
    writer: Any
    if suffix == ".vtk":
        writer = (
            vtkIOLegacy.vtkPolyDataWriter() if surface else vtkIOLegacy.vtkUnstructuredGridWriter()
        )
        writer.SetFileVersion(_LEGACY_VERSION)
        writer.SetFileTypeToBinary()
        writer.SetHeader(f"neuralreg. {tag}")
    elif suffix in (".vtp", ".vtu"):
        writer = (
            vtkIOXML.vtkXMLPolyDataWriter() if surface else vtkIOXML.vtkXMLUnstructuredGridWriter()
        )
        _tag_field_data(mesh, tag.partition("=")[2])
    elif suffix == ".ply":
        writer = vtkIOPLY.vtkPLYWriter()
        writer.AddComment(tag)
        _keep_colors(mesh, writer)
    else:
        writer = vtkIOGeometry.vtkSTLWriter()
        writer.SetFileTypeToBinary()
        writer.SetHeader(f"neuralreg. {tag}")
    writer.SetInputData(_triangles(mesh) if suffix in (".ply", ".stl") else mesh)
    return writer


def _tag_field_data(mesh: Any, system: str) -> None:
    from vtkmodules.vtkCommonCore import vtkStringArray

    array = vtkStringArray()
    array.SetName(_TAG)
    array.InsertNextValue(system)
    mesh.GetFieldData().RemoveArray(_TAG)
    mesh.GetFieldData().AddArray(array)


def _keep_colors(mesh: Any, writer: Any) -> None:
    """A .ply has one array of colors."""
    data = mesh.GetPointData()
    for n in range(data.GetNumberOfArrays()):
        array = data.GetArray(n)
        if array is None or not array.IsA("vtkUnsignedCharArray") or not array.GetName():
            continue
        if array.GetNumberOfComponents() in (3, 4):
            writer.SetArrayName(array.GetName())
            writer.SetEnableAlpha(array.GetNumberOfComponents() == 4)
            return


def _triangles(mesh: Any) -> Any:
    """A surface of triangles, which these formats hold."""
    from vtkmodules.vtkFiltersCore import vtkTriangleFilter

    triangles = vtkTriangleFilter()
    triangles.SetInputData(mesh)
    triangles.Update()
    return triangles.GetOutput()
