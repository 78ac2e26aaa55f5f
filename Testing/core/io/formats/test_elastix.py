"""Parameter files of elastix, as elastix writes them, against the transforms of SimpleITK."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from neuralreg.errors import InvalidTransform, UnreadableFile
from neuralreg.io.itk_transforms import read_itk_transform

from Testing.support.itk_points import transform_points

POINTS = np.random.default_rng(0).uniform(-20, 60, (40, 3))
CENTER = (10.5, 12.0, -8.0)


def text(kind: str, numbers, *, initial: str = "NoInitialTransform", **more: object) -> str:
    lines = [
        f'(Transform "{kind}")',
        f"(NumberOfParameters {len(numbers)})",
        f"(TransformParameters {' '.join(f'{n:.9f}' for n in numbers)})",
        f'(InitialTransformParameterFileName "{initial}")',
        '(HowToCombineTransforms "Compose")',
        "",
        "// Image specific",
        "(FixedImageDimension 3)",
        "(MovingImageDimension 3)",
    ]
    for name, values in more.items():
        words = [f'"{v}"' if isinstance(v, str) else f"{v}" for v in values]
        lines.append(f"({name} {' '.join(words)})")
    return "\n".join(lines) + "\n"


def moved(transform: sitk.Transform) -> np.ndarray:
    return transform_points(transform, POINTS)


def written(tmp_path, name: str, content: str):
    (tmp_path / name).write_text(content)
    return tmp_path / name


def test_a_rigid_transform_turns_about_its_center(tmp_path):
    numbers = (0.1, -0.2, 0.3, 4.0, 5.0, -6.0)
    path = written(
        tmp_path,
        "r.txt",
        text("EulerTransform", numbers, CenterOfRotationPoint=CENTER, ComputeZYX=["false"]),
    )
    theirs = sitk.Euler3DTransform(CENTER, *numbers[:3], numbers[3:])
    assert moved(read_itk_transform(path)) == pytest.approx(moved(theirs), abs=1e-6)


def test_an_affine_transform_is_read_row_by_row(tmp_path):
    matrix = (1.1, 0.2, 0.0, -0.1, 0.9, 0.05, 0.0, 0.1, 1.2)
    path = written(
        tmp_path,
        "a.txt",
        text("AffineTransform", (*matrix, 3.0, -2.0, 1.0), CenterOfRotationPoint=CENTER),
    )
    theirs = sitk.AffineTransform(matrix, (3.0, -2.0, 1.0), CENTER)
    assert moved(read_itk_transform(path)) == pytest.approx(moved(theirs), abs=1e-6)


def a_spline() -> sitk.BSplineTransform:
    image = sitk.Image((20, 22, 18), sitk.sitkUInt8)
    image.SetSpacing((2, 2.5, 3))
    image.SetOrigin((-5, -3, 2))
    turned = sitk.Euler3DTransform((0, 0, 0), 0.2, -0.1, 0.3).GetMatrix()
    image.SetDirection(turned)
    spline = sitk.BSplineTransformInitializer(image, [3, 4, 3])
    moves = np.random.default_rng(1).normal(0, 3, len(spline.GetParameters()))
    spline.SetParameters(moves.tolist())
    return spline


def spline_text(spline: sitk.BSplineTransform, **more: str) -> str:
    fixed = spline.GetFixedParameters()
    direction = np.reshape(fixed[9:], (3, 3)).T.ravel()  # elastix writes columns
    return text(
        "BSplineTransform",
        spline.GetParameters(),
        GridSize=[int(n) for n in fixed[:3]],
        GridIndex=(0, 0, 0),
        GridOrigin=fixed[3:6],
        GridSpacing=fixed[6:9],
        GridDirection=direction,
        BSplineTransformSplineOrder=[3],
        **more,
    )


def test_a_spline_on_a_turned_grid_bends_as_itk_does(tmp_path):
    spline = a_spline()
    path = written(tmp_path, "b.txt", spline_text(spline))
    assert moved(read_itk_transform(path)) == pytest.approx(moved(spline), abs=1e-5)
    assert np.abs(moved(spline) - POINTS).max() > 1


def test_the_initial_transform_comes_first_and_is_found_beside_the_file(tmp_path):
    shift = (7.0, -3.0, 2.0)
    written(tmp_path, "t0.txt", text("TranslationTransform", shift))
    path = written(tmp_path, "t1.txt", spline_text(a_spline(), initial="/gone/t0.txt"))
    expected = moved(sitk.CompositeTransform([a_spline(), sitk.TranslationTransform(3, shift)]))
    assert moved(read_itk_transform(path)) == pytest.approx(expected, abs=1e-5)


def test_an_unknown_kind_says_what_to_do(tmp_path):
    path = written(tmp_path, "s.txt", text("WeightedCombinationTransform", (1.0,)))
    with pytest.raises(InvalidTransform, match="transformix"):
        read_itk_transform(path)


def test_a_file_that_misses_a_part_says_so(tmp_path):
    path = written(tmp_path, "a.txt", text("AffineTransform", (1.0,) * 12))
    with pytest.raises(UnreadableFile, match="CenterOfRotationPoint"):
        read_itk_transform(path)


def test_files_that_name_each_other_do_not_go_on_for_ever(tmp_path):
    path = written(tmp_path, "t.txt", text("TranslationTransform", (1, 2, 3), initial="t.txt"))
    with pytest.raises(UnreadableFile, match="form a circle"):
        read_itk_transform(path)


def test_a_text_file_of_itk_is_still_read(tmp_path):
    sitk.WriteTransform(sitk.TranslationTransform(3, (1, 2, 3)), str(tmp_path / "i.txt"))
    assert moved(read_itk_transform(tmp_path / "i.txt")) == pytest.approx(POINTS + [1, 2, 3])


@pytest.mark.parametrize(
    "name", ["first.txt", "/elsewhere/first.txt", "C:\\study\\out\\first.txt", "..\\first.txt"]
)
def test_a_chain_is_found_beside_the_file_that_names_it(tmp_path, name):
    written(tmp_path, "first.txt", text("TranslationTransform", (6.0, 0.0, 0.0)))
    last = text("TranslationTransform", (0.0, 4.0, 0.0), initial=name)
    path = written(tmp_path, "last.txt", last)
    assert moved(read_itk_transform(path)) == pytest.approx(POINTS + [6, 4, 0])


@pytest.mark.parametrize("encoding", ["utf-8-sig", "cp1252", "utf-16"])
def test_a_file_of_a_windows_editor_is_read(tmp_path, encoding):
    text = (
        '(Transform "TranslationTransform")\n(FixedImageDimension 3)\n'
        "(TransformParameters 5 0 0)\n// für Jürgen\n"
        '(InitialTransformParametersFileName "NoInitialTransform")\n'
    )
    path = tmp_path / "TransformParameters.0.txt"
    path.write_bytes(text.encode(encoding))
    if encoding == "utf-16":
        with pytest.raises(UnreadableFile, match="as a transform"):
            read_itk_transform(path)
    else:
        assert read_itk_transform(path).TransformPoint((0, 0, 0)) == (5, 0, 0)
