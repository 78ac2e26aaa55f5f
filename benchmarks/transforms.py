"""How far our reading and writing of transform files is from the programs that they come from.

`python -m benchmarks.transforms [--write docs/transforms.md]`: every family against its published
definition on images of every orientation, and against nitransforms, fslpy, antspyx, itk-elastix
and slicer-core where these are installed (`pip install nitransforms fslpy antspyx itk-elastix`, in
an environment of its own: itk does not go into Slicer's, so rows of packages that are missing stay
as the page has them). Torch is not needed.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import re
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from neuralreg.io.exchange.families import FAMILIES, WRITERS, read_content
from neuralreg.io.exchange.sides import Sides
from neuralreg.io.itk_output import write_field, write_transform_file
from neuralreg.io.itk_transforms import as_transform
from neuralreg.io.transform_chains import Link, join, read_chain

from benchmarks.spm_and_scenes import by_scipy, by_slicer
from benchmarks.transform_rows import Bench, Row, gap, make_bench
from Testing.support import foreign_transforms as foreign
from Testing.support.itk_points import transform_points

PAIRS = [("RAS", "LAS"), ("PIR", "oblique"), ("oblique left", "RAS"), ("oblique", "oblique left")]
BEGIN, END = "<!-- table of benchmarks.transforms -->\n", "<!-- end of the table -->\n"
DEFINITION = "its definition, {} pairs of orientations"
MATRICES = {
    "fsl": ("t.mat", "fsl", "flirt matrix"),
    "afni": ("t.1D", "afni", ".1D matrix"),
    "niftyreg": ("t.txt", "niftyreg", "reg_aladin matrix"),
    "mrtrix": ("t.txt", "mrtrix", "mrregister matrix"),
    "lta-ras": ("t.lta", "freesurfer", ".lta, RAS"),
    "lta-voxels": ("t.lta", "freesurfer", ".lta, voxels"),
    "minc": ("t.xfm", "minc", ".xfm"),
    "register.dat": ("register.dat", "freesurfer", "register.dat"),
}
WARPS = {  # file, family to read as, family and form that are written
    "fsl-relative": ("w.nii.gz", "fsl", ("fsl", "fsl-relative"), "fnirt warp, relative"),
    "fsl-absolute": ("w.nii.gz", "fsl", ("fsl-absolute", "fsl-absolute"), "fnirt warp, absolute"),
    "afni": ("w.nii", "afni", ("afni", "afni"), "3dQwarp warp (NIfTI)"),
    "niftyreg-deformation": ("w.nii", "niftyreg", ("niftyreg", "niftyreg"), "deformation"),
    "niftyreg-displacement": ("w.nii", "niftyreg", None, "displacement"),
    "spm": ("y_w.nii", "spm", ("spm", "spm"), "y_*.nii"),
    "mrtrix-deformation": ("w.nii", "mrtrix", ("mrtrix", "mrtrix-deformation"), "deformation"),
    "mrtrix-displacement": (
        "w.nii", "mrtrix", ("mrtrix-displacement", "mrtrix-displacement"), "displacement"),
    "minc-grid": ("w.xfm", "minc", None, "grid in .xfm, inverted"),
    "voxelmorph": ("w.nii.gz", "voxelmorph", None, "warp (NIfTI)"),
    "voxelmorph-npz": ("w.npz", "voxelmorph", None, "warp (.npz)"),
    "learn2reg": ("w.nii.gz", "learn2reg", ("learn2reg", "learn2reg"), "disp_*.nii.gz"),
    "learn2reg-npz": ("w.npz", "learn2reg", ("learn2reg", "learn2reg"), "disp_*.npz"),
}  # fmt: skip


def by_definition(folder: Path) -> Iterator[Row]:
    """Every family against its published definition; the worst of all pairs of orientations."""
    benches = [make_bench(Path(tempfile.mkdtemp(dir=folder)), *pair) for pair in PAIRS]
    oracle = DEFINITION.format(len(PAIRS))
    for form, (name, family, kind) in MATRICES.items():
        read, written = [], []
        for bench in benches:
            path = bench.path(name)
            foreign.write_matrix(form, bench.fixed, bench.moving, foreign.MATRIX, path)
            read.append(gap(bench.ours(path, family), foreign.linear(bench.points)))
            if form not in ("lta-voxels", "register.dat"):
                WRITERS[family].linear(foreign.MATRIX, path, bench.sides, [])
                numbers = _numbers(path)
                written.append(
                    gap(_apply_matrix(form, bench, numbers), foreign.linear(bench.points))
                )
        row_written = max(written) if written else None
        yield Row(FAMILIES[family].program, kind, max(read), row_written, oracle)
    for form, (name, family, target, kind) in WARPS.items():
        read, written = [], []
        for bench in benches:
            path = bench.path(name)
            foreign.write_warp(form, bench.fixed, bench.moving, foreign.bent, path)
            source = None if family in ("fsl", "afni", "niftyreg", "spm") else family
            content, _ = read_content(path, bench.sides, source=source)
            ours = bench.fixed.points() + sitk.GetArrayFromImage(content).transpose(2, 1, 0, 3)
            read.append(gap(ours, foreign.bent(bench.fixed.points())))
            if target:
                path = bench.path(name)
                WRITERS[target[0]].field(bench.field(foreign.bent), path, bench.sides, [])
                theirs = foreign.apply_warp(target[1], bench.fixed, bench.moving, path)
                written.append(gap(theirs, foreign.bent(bench.fixed.points())))
        row_written = max(written) if written else None
        yield Row(FAMILIES[family].program, kind, max(read), row_written, oracle)


def _numbers(path: Path) -> np.ndarray:
    text = path.read_text()
    for begin, end in (("1 4 4\n", "src"), ("Linear_Transform =", ";")):
        text = text.split(begin)[-1].split(end)[0]
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    numbers = np.array([float(word) for line in lines for word in line.split()]).reshape(-1, 4)
    return numbers if len(numbers) == 4 else np.vstack([numbers, [0, 0, 0, 1]])


def _apply_matrix(form: str, bench: Bench, numbers: np.ndarray) -> np.ndarray:
    """Where the numbers of a matrix file take the points, by the definition."""
    identity = foreign.matrix_of(form, bench.fixed, bench.moving, np.eye(4))
    if form in ("fsl", "lta-ras", "minc"):  # numbers = inv(to_moving @ matrix @ from_fixed)
        world = _solve(form, bench, np.linalg.inv(numbers), np.linalg.inv(identity))
    else:
        world = _solve(form, bench, numbers, identity)
    return foreign.apply(world, bench.points)


def _solve(form: str, bench: Bench, numbers: np.ndarray, identity: np.ndarray) -> np.ndarray:
    """The map in LPS mm of numbers that are linear in it: `numbers = L @ map @ R`."""
    if form in ("niftyreg", "mrtrix", "lta-ras", "minc"):
        return foreign.FLIP @ numbers @ foreign.FLIP
    own = bench.moving.fsl if form == "fsl" else bench.moving.cardinal
    left = own @ np.linalg.inv(foreign.FLIP @ bench.moving.affine)
    right = np.linalg.inv(left) @ identity
    return np.linalg.inv(left) @ numbers @ np.linalg.inv(right)


def by_nitransforms(folder: Path) -> Iterator[Row]:
    import nibabel
    import nitransforms
    from nitransforms.io import x5

    oracle = f"nitransforms {nitransforms.__version__}, {len(PAIRS)} pairs of orientations"
    ras = foreign.FLIP @ foreign.MATRIX @ foreign.FLIP
    benches = [make_bench(Path(tempfile.mkdtemp(dir=folder)), *pair) for pair in PAIRS]
    for fmt, name, family in (("fsl", "t.mat", "fsl"), ("afni", "t.1D", "afni"),
                              ("fs", "t.lta", "freesurfer"), ("itk", "t.tfm", "itk")):  # fmt: skip
        read, written = [], []
        for bench in benches:
            images = [nibabel.load(side.path) for side in (bench.fixed, bench.moving)]
            path, affine = bench.path(name), nitransforms.linear.Affine(ras, reference=images[0])
            affine.to_filename(path, fmt=fmt, moving=images[1])
            expected = foreign.in_ras(affine.map(foreign.in_ras(bench.points)))
            read.append(gap(bench.ours(path, family), expected))
            if family == "itk":
                write_transform_file(_affine(), bench.path(name))
            else:
                WRITERS[family].linear(foreign.MATRIX, bench.path(name), bench.sides, [])
            sides = dict(zip(("reference", "moving"), images, strict=True))
            back = nitransforms.linear.load(path, fmt=fmt, **sides)
            written.append(gap(foreign.in_ras(back.map(foreign.in_ras(bench.points))), expected))
        yield Row(FAMILIES[family].program, "matrix", max(read), max(written), oracle)
    bench = benches[-1]
    reference = nibabel.load(bench.fixed.path)
    deltas = foreign.in_ras(foreign.bent(bench.fixed.points()) - bench.fixed.points())
    dense = nitransforms.nonlinear.DenseFieldTransform(
        nibabel.Nifti1Image(deltas.astype(np.float32), bench.fixed.affine), reference=reference
    )
    path = bench.path("t.x5")
    x5.to_filename(path, [dense.to_x5()])
    expected = foreign.bent(bench.points)
    read_mm = gap(bench.ours(path), expected)
    WRITERS["x5"].field(bench.field(foreign.bent), bench.path("t.x5"), bench.sides, [])
    back = nitransforms.nonlinear.DenseFieldTransform.from_filename(path, fmt="X5")
    theirs = foreign.in_ras(back.map(foreign.in_ras(bench.points)))
    yield Row("X5", "dense field", read_mm, gap(theirs, expected),
              f"nitransforms {nitransforms.__version__}")  # fmt: skip


def _affine() -> sitk.AffineTransform:
    affine = sitk.AffineTransform(3)
    affine.SetMatrix(foreign.MATRIX[:3, :3].ravel().tolist())
    affine.SetTranslation(foreign.MATRIX[:3, 3].tolist())
    return affine


def by_fslpy(folder: Path) -> Iterator[Row]:
    import nibabel
    from fsl.data.image import Image
    from fsl.transform.fnirt import readFnirt
    from fsl.version import __version__

    oracle = f"fslpy {__version__}"
    bench = make_bench(Path(tempfile.mkdtemp(dir=folder)), "oblique left", "LAS")
    images = [Image(str(side.path)) for side in (bench.moving, bench.fixed)]
    index = bench.fixed.indices().reshape(-1, 3)

    def theirs(path: Path, kind: str) -> np.ndarray:
        warp = readFnirt(str(path), *images, defType=kind)
        return foreign.in_ras(warp.transform(index, from_="voxel", to="world"))

    def ours(path: Path) -> np.ndarray:
        content, _ = read_content(path, bench.sides)
        vectors = sitk.GetArrayFromImage(content).transpose(2, 1, 0, 3)
        return (bench.fixed.points() + vectors).reshape(-1, 3)

    for kind in ("relative", "absolute"):
        path = bench.path("w.nii.gz")
        foreign.write_warp(f"fsl-{kind}", bench.fixed, bench.moving, foreign.bent, path)
        read_mm = gap(ours(path), theirs(path, kind))
        path = bench.path("v.nii.gz")
        WRITERS[f"fsl-{kind}"].field(bench.field(foreign.bent), path, bench.sides, [])
        expected = foreign.bent(bench.fixed.points()).reshape(-1, 3)
        yield Row("FSL", f"fnirt warp, {kind}", read_mm, gap(theirs(path, kind), expected), oracle)
    shape = tuple(int(np.ceil(n / 4)) + 3 for n in bench.fixed.size)
    values = np.random.default_rng(3).normal(0, 1.5, (*shape, 3)).astype(np.float32)
    image = nibabel.Nifti1Image(values, np.eye(4))
    image.set_sform(foreign.matrix_of("fsl", bench.fixed, bench.moving, foreign.MATRIX), 1)
    image.header["pixdim"][1:4], image.header["intent_code"] = 4, 2007
    for k, spacing in enumerate(bench.fixed.spacing, start=1):
        image.header[f"intent_p{k}"] = spacing
    nibabel.save(image, bench.path("coef.nii.gz"))
    path = bench.folder / "coef.nii.gz"
    yield Row("FSL", "fnirt coefficients", gap(ours(path), theirs(path, "relative")), None, oracle)


def by_antspyx(folder: Path) -> Iterator[Row]:
    import ants
    import pandas as pd

    oracle = f"antspyx {ants.__version__}"
    bench = make_bench(Path(tempfile.mkdtemp(dir=folder)), "oblique left", "LAS")
    points = bench.fixed.points()[4:-4, 4:-4, 4:-4].reshape(-1, 3)
    frame = pd.DataFrame(points, columns=list("xyz"))
    affine = ants.new_ants_transform(dimension=3, transform_type="AffineTransform")
    affine.set_parameters(_affine().GetParameters())
    affine.set_fixed_parameters((1.0, 2.0, 3.0))
    ants.write_transform(affine, str(bench.path("0GenericAffine.mat")))
    write_field(bench.field(foreign.bent), bench.path("1Warp.nii.gz"))
    write_transform_file(_affine(), bench.path("ours.tfm"))
    chains = {
        "0GenericAffine.mat": [("0GenericAffine.mat", False)],
        "[0GenericAffine.mat,1]": [("0GenericAffine.mat", True)],
        "1Warp.nii.gz": [("1Warp.nii.gz", False)],
        "1Warp, 0GenericAffine": [("1Warp.nii.gz", False), ("0GenericAffine.mat", False)],
        "0GenericAffine, .tfm": [("0GenericAffine.mat", False), ("ours.tfm", False)],
    }
    for kind, files in chains.items():
        paths = [str(bench.folder / name) for name, _ in files]
        inverted = [flag for _, flag in files]
        theirs = ants.apply_transforms_to_points(3, frame, paths, whichtoinvert=inverted)
        links = [Link(Path(path), flag) for path, flag in zip(paths, inverted, strict=True)]
        content = join(read_chain(links, Sides(), [], [])[0])
        difference = gap(
            transform_points(as_transform(content), points), theirs[list("xyz")].to_numpy()
        )
        written = difference if "Warp" in kind or ".tfm" in kind else None
        yield Row("ITK, ANTs", kind, difference, written, oracle)


def by_transformix(folder: Path) -> Iterator[Row]:
    import itk

    oracle = f"itk-elastix {importlib.metadata.version('itk-elastix')} (transformix)"
    bench = make_bench(Path(tempfile.mkdtemp(dir=folder)), "oblique left", "LAS")
    image = itk.imread(str(bench.fixed.path), itk.F)
    points = bench.fixed.points()[3:-3:2, 3:-3:2, 3:-3:2].reshape(-1, 3)
    listing = bench.path("points.txt")
    rows = "\n".join(" ".join(f"{v:.9f}" for v in point) for point in points)
    listing.write_text(f"point\n{len(points)}\n{rows}\n")

    def theirs(path: Path) -> np.ndarray:
        parameters = itk.ParameterObject.New()
        parameters.AddParameterFile(str(path))
        itk.transformix_filter(
            image, parameters, fixed_point_set_file_name=str(listing),
            output_directory=str(bench.folder), log_to_console=False,
        )  # fmt: skip
        text = (bench.folder / "outputpoints.txt").read_text()
        found = re.findall(r"OutputPoint = \[ ([^\]]*) \]", text)
        return np.array([[float(v) for v in row.split()] for row in found])

    def difference(path: Path) -> float:
        return gap(transform_points(as_transform(read_content(path)[0]), points), theirs(path))

    path = bench.path("affine.txt")
    WRITERS["elastix"].linear(foreign.MATRIX, path, bench.sides, [])
    yield Row("elastix", "affine", difference(path),
              gap(theirs(path), foreign.linear(points)), oracle)  # fmt: skip
    head = path.read_text()
    path = bench.path("field.txt")
    WRITERS["elastix"].field(bench.field(foreign.bent), path, bench.sides, [])
    yield Row("elastix", "deformation field", difference(path),
              gap(theirs(path), foreign.bent(points)), oracle)  # fmt: skip
    landmarks = points[:: max(1, len(points) // 9)]
    ends = foreign.bent(landmarks)
    spline = re.sub(r'"AffineTransform"', '"SplineKernelTransform"', head)
    spline = re.sub(r"\(NumberOfParameters.*\)", f"(NumberOfParameters {ends.size})", spline)
    numbers = " ".join(map(str, ends.ravel()))
    spline = re.sub(r"\(TransformParameters.*\)", f"(TransformParameters {numbers})", spline)
    spline += (
        '(SplineKernelType "ThinPlateSpline")\n(SplinePoissonRatio 0.3)\n'
        "(SplineRelaxationFactor 0)\n"
        f"(FixedImageLandmarks {' '.join(map(str, landmarks.ravel()))})\n"
    )
    path = bench.path("tps.txt")
    path.write_text(spline)
    yield Row("elastix", "thin-plate spline", difference(path), None, oracle)


ORACLES = {  # package: what its rows are compared with begins so, and how
    "nitransforms": ("nitransforms", by_nitransforms),
    "fsl": ("fslpy", by_fslpy),
    "ants": ("antspyx", by_antspyx),
    "itk": ("itk-elastix", by_transformix),
    "slicer": ("Slicer's nodes", by_slicer),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", type=Path, help="page whose table is replaced")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    page = arguments.write.read_text(encoding="utf-8") if arguments.write else f"{BEGIN}{END}"
    head, rest = page.split(BEGIN)
    before, tail = rest.split(END)
    with tempfile.TemporaryDirectory() as scratch:
        rows = [str(row) for row in (*by_definition(Path(scratch)), *by_scipy(Path(scratch)))]
        for package, (name, check) in ORACLES.items():
            if importlib.util.find_spec(package) is None:
                print(f"{package} is not installed: not compared with")
                rows += [row for row in before.splitlines() if f"| {name}" in row]
            else:
                rows += map(str, check(Path(scratch)))
    lines = ["| program | file | read, mm | written, mm | compared with |",
             "|---|---|---|---|---|", *rows]  # fmt: skip
    table = "\n".join(lines) + "\n"
    print(table)
    if arguments.write:
        arguments.write.write_text(head + BEGIN + table + END + tail, encoding="utf-8")


if __name__ == "__main__":
    main()
