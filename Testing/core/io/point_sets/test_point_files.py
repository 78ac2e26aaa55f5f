"""Points through transforms by `neuralreg warp`: streamlines, tables, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
import SimpleITK as sitk
from neuralreg.io.point_sets.point_files import read_points
from nibabel import streamlines

from Testing.support.command_line import neuralreg
from Testing.support.itk_points import transform_points

RAS = np.array([-1.0, -1.0, 1.0])


@pytest.fixture(scope="module")
def bend(tmp_path_factory):
    """A displacement field as a file and as ITK has it; smooth, of up to 4 mm."""
    z, y, x = np.indices((24, 22, 20))
    waves = np.stack([np.sin(y / 4), np.cos(z / 5), np.sin((x + y) / 6)], -1)
    field = sitk.GetImageFromArray(4.0 * waves, isVector=True)
    field.SetSpacing((5.0, 5.0, 5.0))
    field.SetOrigin((-50.0, -55.0, -60.0))
    path = tmp_path_factory.mktemp("bend") / "bend.nrrd"
    sitk.WriteImage(field, str(path))
    return path, sitk.DisplacementFieldTransform(field)


@pytest.fixture(scope="module")
def points(bend):
    """Points of the fixed image (LPS mm), and where they lie in the moving one."""
    fixed = np.random.default_rng(0).uniform(-35, 35, (60, 3))
    return fixed, transform_points(bend[1], fixed)


def write_lines(path, points, **header):
    """Streamlines of 10, 20 and 30 points, with a number for each point and each line."""
    lines = np.split((points * RAS).astype(np.float32), [10, 30])
    tractogram = streamlines.Tractogram(
        lines,
        data_per_streamline={"length": [[10.0], [20.0], [30.0]]} if path.suffix == ".trk" else None,
        data_per_point=(
            {"fa": [np.full((len(line), 1), 0.5) for line in lines]}
            if path.suffix == ".trk"
            else None
        ),
        affine_to_rasmm=np.eye(4),
    )
    streamlines.save(tractogram, str(path), header=header or None)


@pytest.mark.parametrize("suffix", [".tck", ".trk"])
def test_streamlines_come_to_the_fixed_image_with_their_values(bend, points, tmp_path, suffix):
    fixed, moving = points
    write_lines(tmp_path / f"moving{suffix}", moving)
    image = sitk.Image((30, 31, 32), sitk.sitkUInt8)
    image.SetSpacing((2.0, 2.5, 3.0))
    image.SetOrigin((-30.0, -40.0, -45.0))
    sitk.WriteImage(image, str(tmp_path / "fixed.nii.gz"))
    out = tmp_path / f"fixed{suffix}"
    options = "-r", tmp_path / "fixed.nii.gz", "-o", out
    done = neuralreg("warp", tmp_path / f"moving{suffix}", bend[0], *options)
    assert done.exit_code == 0, done.stderr
    moved = streamlines.load(out)
    assert [len(line) for line in moved.streamlines] == [10, 20, 30]
    assert np.abs(moved.streamlines.get_data() * RAS - fixed).max() < 2e-3
    if suffix == ".trk":
        assert moved.tractogram.data_per_streamline["length"][1] == 20.0
        assert moved.tractogram.data_per_point["fa"][0][3] == 0.5
        assert tuple(moved.header["dimensions"]) == (30, 31, 32)
        assert tuple(moved.header["voxel_sizes"]) == (2.0, 2.5, 3.0)
        affine = np.diag([-2.0, -2.5, 3.0, 1.0])
        affine[:3, 3] = 30.0, 40.0, -45.0
        np.testing.assert_allclose(moved.header["voxel_to_rasmm"], affine, atol=1e-5)


def test_fixed_points_go_to_the_moving_image_and_back(bend, points, tmp_path):
    fixed, moving = points
    table = tmp_path / "fixed.csv"
    rows = [";".join(["p", *(f"{v:.6f}".replace(".", ",") for v in point)]) for point in fixed]
    table.write_text("name;x;y;z\n" + "\n".join(rows))  # as a spreadsheet in German writes it
    there, back = tmp_path / "moving.csv", tmp_path / "again.csv"
    done = neuralreg("warp", table, bend[0], "-o", there, "--to-moving")
    assert done.exit_code == 0, done.stderr
    found = np.loadtxt(there, delimiter=",", skiprows=1, usecols=(1, 2, 3))
    np.testing.assert_allclose(found, moving, atol=1e-4)
    assert neuralreg("warp", there, bend[0], "-o", back).exit_code == 0
    again = np.loadtxt(back, delimiter=",", skiprows=1, usecols=(1, 2, 3))
    np.testing.assert_allclose(again, fixed, atol=2e-3)


def test_points_beyond_the_field_are_counted(bend, tmp_path):
    (tmp_path / "p.csv").write_text("x,y,z\n0,0,0\n500,0,0\n")
    done = neuralreg("warp", tmp_path / "p.csv", bend[0], "-o", tmp_path / "q.csv", "--json")
    assert done.exit_code == 0, done.stderr
    (note,) = json.loads(done.stdout)["warnings"]
    assert note.startswith("1 of 2 points lie beyond the field")


def test_points_where_the_transform_folds_are_counted(tmp_path):
    x = np.indices((20, 20, 20), float)[2]
    fold = 12 * np.exp(-((x - 9.5) ** 2) / 8)[..., None] * [1.0, 0.0, 0.0]
    field = sitk.GetImageFromArray(fold, isVector=True)
    sitk.WriteImage(field, str(tmp_path / "fold.nrrd"))
    (tmp_path / "p.csv").write_text("x,y,z\n3,10,10\n18,10,10\n")
    out = tmp_path / "q.csv"
    done = neuralreg("warp", tmp_path / "p.csv", tmp_path / "fold.nrrd", "-o", out, "--json")
    assert done.exit_code == 0, done.stderr
    moved = np.loadtxt(out, delimiter=",", skiprows=1, usecols=(1, 2, 3))
    back = transform_points(sitk.DisplacementFieldTransform(field), moved)
    off = np.linalg.norm(back - [[3, 10, 10], [18, 10, 10]], axis=1) > 2e-3
    notes = [note for note in json.loads(done.stdout)["warnings"] if "folds" in note]
    assert [note.split()[0] for note in notes] == [str(off.sum())] * bool(off.any())


REFUSED = {
    "an image without its reference": (["moving.nii.gz", "-o", "out.nii.gz"], "--reference"),
    "points as an image": (["p.csv", "-o", "out.nii.gz"], "ending of its kind"),
    "an image the other way": (
        ["moving.nii.gz", "-r", "moving.nii.gz", "-o", "out.nii.gz", "--to-moving"], "--to-moving",
    ),
    "a damaged mesh": (["broken.vtk", "-o", "out.vtk"], "cannot be read as a mesh"),
    "damaged streamlines": (["broken.trk", "-o", "out.trk"], "cannot be read as streamlines"),
    "a list without points": (["empty.csv", "-o", "out.csv"], "empty.csv"),
    "points of the plane": (["flat.csv", "-o", "out.csv"], "2 coordinates and 3 axes"),
}  # fmt: skip


BROKEN = {
    "a.vtp": b'<VTKFile type="PolyData"><PolyData><Piece NumberOfPoints="4"',
    "empty.vtu": b"",
    "a.ply": b"ply\nformat binary_little_endian 1.0\nelement vertex 1000\nproperty float x\n",
    "cut.stl": b"solid x\nfacet normal 0 0",
    "noise.stl": bytes(range(256)) * 3,
    "noise.vtk": bytes(range(255, 0, -1)) * 2,
    "image.vtk": b"# vtk DataFile Version 3.0\nx\nASCII\nDATASET STRUCTURED_POINTS\n",
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_mesh_is_one_error_and_not_lines_of_vtk(bend, tmp_path, capfd, name):
    pytest.importorskip("vtkmodules", reason="VTK reads meshes")
    (tmp_path / name).write_bytes(BROKEN[name])
    done = neuralreg("warp", tmp_path / name, bend[0], "-o", tmp_path / f"out_{name}")
    assert done.exit_code == 1
    assert done.stderr.startswith("UnreadableFile")
    assert done.stderr.count("\n") <= 3
    assert "ERR|" not in capfd.readouterr().err
    assert not list(tmp_path.glob("out*"))


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_moved_is_one_error_and_nothing_is_written(
    bend, tmp_path, monkeypatch, name
):
    pytest.importorskip("vtkmodules", reason="VTK reads meshes")
    monkeypatch.chdir(tmp_path)
    sitk.WriteImage(sitk.Image((8, 8, 8), sitk.sitkUInt8), "moving.nii.gz")
    (tmp_path / "p.csv").write_text("x,y,z\n0,0,0\n")
    (tmp_path / "flat.csv").write_text("x,y\n0,0\n")
    (tmp_path / "empty.csv").write_text("x,y,z\n")
    (tmp_path / "broken.vtk").write_bytes(b"# vtk DataFile Version 4.2\nx\nASCII\nDATASET POLY")
    (tmp_path / "broken.trk").write_bytes(b"TRACK\0" + bytes(300))
    (file, *options), words = REFUSED[name]
    done = neuralreg("warp", file, bend[0], *options)
    assert done.exit_code in (1, 2, 4)
    assert words in " ".join(done.output.split())
    assert "Traceback" not in done.output
    assert not list(tmp_path.glob("out*"))


def test_a_surface_is_what_cells_of_a_file_show(tmp_path):
    """Neither a point of no cell, as clipping leaves it, nor the inside of a volumetric mesh."""
    vtk = pytest.importorskip("vtkmodules.all")
    triangle = vtk.vtkPolyData()
    triangle.SetPoints(vtk.vtkPoints())
    for point in ((0, 0, 0), (500, 500, 500), (1, 0, 0), (0, 1, 0)):
        triangle.GetPoints().InsertNextPoint(point)
    triangle.SetPolys(vtk.vtkCellArray())
    triangle.GetPolys().InsertNextCell(3, (0, 2, 3))
    image, box = vtk.vtkImageData(), vtk.vtkAppendFilter()
    image.SetDimensions(4, 4, 4)
    box.AddInputData(image)
    box.Update()
    writers = {"a.vtp": vtk.vtkXMLPolyDataWriter(), "b.vtu": vtk.vtkXMLUnstructuredGridWriter()}
    for (name, writer), mesh in zip(writers.items(), (triangle, box.GetOutput()), strict=True):
        writer.SetFileName(str(tmp_path / name))
        writer.SetInputData(mesh)
        writer.Write()
    flat, full = (read_points(tmp_path / name, []) for name in writers)
    assert sorted(map(tuple, flat.surface)) == [(0, 0, 0), (0, 1, 0), (1, 0, 0)]
    assert (len(flat.points), len(full.points), len(full.surface)) == (4, 64, 64 - 8)
