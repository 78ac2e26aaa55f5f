"""What a study brings along besides images: landmarks, meshes, streamlines, segmentations."""

from __future__ import annotations

import json

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from neuralreg.progress import silent
from neuralreg.registration.options import FieldRefinement, RegistrationOptions
from neuralreg.worker.file_jobs.pair_job import register_files
from scipy import ndimage

from Testing.core.studies.test_batch_command import QUICK, save_image
from Testing.support.command_line import neuralreg

POINTS = np.array([[-2.0, 28, 25], [0, 30, 22], [2, 26, 27]])  # in the moving body, LPS mm
RAS = POINTS * [-1, -1, 1]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """One pair with files of every kind; `--bring` for all rows, and a column for one."""
    folder = tmp_path_factory.mktemp("bring")
    z, y, x = np.mgrid[:16, :18, :20]
    noise = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=x.shape), 2) * 400
    inside = ((z - 8) / 6) ** 2 + ((y - 9) / 7) ** 2 + ((x - 9) / 7) ** 2 < 1
    image = (inside * (200 + noise)).astype(np.int16)
    save_image(image, folder / "f.nii.gz")
    save_image(np.roll(image, 1, 2), folder / "m.nii.gz")
    np.savetxt(folder / "points.csv", POINTS, delimiter=",", header="x,y,z", comments="")
    control = [{"id": str(n), "label": f"F-{n}", "position": list(p)} for n, p in enumerate(POINTS)]
    markup = {"type": "Fiducial", "coordinateSystem": "LPS", "controlPoints": control}
    (folder / "points.mrk.json").write_text(json.dumps({"markups": [markup]}))
    lines = [np.asarray(RAS, np.float32)]
    tractogram = nibabel.streamlines.Tractogram(lines, affine_to_rasmm=np.eye(4))
    nibabel.streamlines.save(tractogram, str(folder / "lines.tck"))
    corners = "".join(f"v {x} {y} {z}\n" for x, y, z in POINTS)
    (folder / "surface.ply").write_text(
        "ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nproperty float y\n"
        "property float z\nelement face 1\nproperty list uchar int vertex_indices\nend_header\n"
        + corners.replace("v ", "") + "3 0 1 2\n"
    )  # fmt: skip
    labels = sitk.GetImageFromArray(np.roll(inside, 1, 2).astype(np.uint8))
    labels.CopyInformation(sitk.ReadImage(str(folder / "m.nii.gz")))
    for key, value in {"Segment0_ID": "one", "Segment0_Name": "Body", "Segment0_LabelValue": "1",
                       "Segment0_Layer": "0", "Segment0_Color": "1 0 0"}.items():  # fmt: skip
        labels.SetMetaData(key, value)
    sitk.WriteImage(labels, str(folder / "body.seg.nrrd"))
    (folder / "t.csv").write_text("id,fixed,moving,bring_labels\none,f.nii.gz,m.nii.gz,"
                                  "body.seg.nrrd\n")  # fmt: skip
    files = ("points.csv", "points.mrk.json", "lines.tck", "surface.ply")
    bring = ";".join(str(folder / name) for name in files)
    done = neuralreg("batch", folder / "t.csv", "-o", folder / "study", "--workers", 1,
                     "--bring", bring, *QUICK, "--quiet")  # fmt: skip
    assert done.exit_code == 0, done.stderr
    return folder / "study" / "one"


def read_csv(path):
    return np.loadtxt(path, delimiter=",", skiprows=1, usecols=(-3, -2, -1))


def read_markup(path):
    (markup,) = json.loads(path.read_text())["markups"]
    return np.array([point["position"] for point in markup["controlPoints"]])


def read_lines(path):
    return np.asarray(nibabel.streamlines.load(str(path)).streamlines[0]) * [-1, -1, 1]


def read_surface(path):
    import vtk
    from vtk.util.numpy_support import vtk_to_numpy

    reader = vtk.vtkPLYReader()
    reader.SetFileName(str(path))
    reader.Update()
    return vtk_to_numpy(reader.GetOutput().GetPoints().GetData())


@pytest.mark.parametrize(
    ("name", "read"),
    [("points_warped.csv", read_csv), ("points_warped.mrk.json", read_markup),
     ("lines_warped.tck", read_lines), ("surface_warped.ply", read_surface)],
)  # fmt: skip
def test_points_go_where_the_transform_takes_them_back(study, name, read):
    moved = read(study / name)
    assert np.abs(moved - POINTS).max() > 0.5
    field = sitk.ReadImage(str(study / "fixed_to_moving.nii.gz"), sitk.sitkVectorFloat64)
    transform = sitk.DisplacementFieldTransform(field)
    back = [transform.TransformPoint(point.tolist()) for point in moved.astype(float)]
    np.testing.assert_allclose(back, POINTS, atol=0.01)


def test_a_segmentation_keeps_its_names_on_the_fixed_grid(study):
    image = sitk.ReadImage(str(study / "body_warped.seg.nrrd"))
    assert image.GetMetaData("Segment0_Name") == "Body"
    fixed = sitk.ReadImage(str(study.parent.parent / "f.nii.gz"))
    assert image.GetSize() == fixed.GetSize()
    ours = sitk.GetArrayFromImage(image) > 0
    body = sitk.GetArrayFromImage(fixed) > 0
    assert 2 * (ours & body).sum() / (ours.sum() + body.sum()) > 0.9


def test_a_file_that_is_no_landmarks_leaves_the_result_and_says_so(study, tmp_path):
    folder = study.parent.parent
    (tmp_path / "broken.mrk.json").write_text("{")
    inputs = {"fixed": folder / "f.nii.gz", "moving": folder / "m.nii.gz",
              "bring 1": tmp_path / "broken.mrk.json"}  # fmt: skip
    options = RegistrationOptions(linear="none", refinement=FieldRefinement(steps=1))
    arguments = {
        "inputs": {role: str(path) for role, path in inputs.items()},
        "options": options.as_record(), "initial_format": None, "folder": str(tmp_path / "out"),
        "overwrite": False, "thumbnails": None, "review": False,
    }  # fmt: skip
    facts = register_files(arguments, silent)
    assert "broken.mrk.json" in facts["failures"][0]
    assert (tmp_path / "out" / "fixed_to_moving.nii.gz").exists()
