"""assess() as a whole: what it says, where, and what it says it cannot say."""

from __future__ import annotations

import json
import subprocess
import sys

import neuralreg
import numpy as np
import pytest
import torch
from neuralreg.errors import Cancelled, InvalidImage, InvalidOption, InvalidTransform
from neuralreg.geometry.field import DisplacementField
from neuralreg.geometry.grid import Grid
from neuralreg.io.landmark_files import Pairs
from neuralreg.review.assess import assess, steering_kinds, steering_notes
from neuralreg.review.geometry.consistency import invert
from neuralreg.review.geometry.deformation import Deformation
from neuralreg.review.report_model import QualityReport

from Testing.support.known_results import known_result
from Testing.support.phantom import CUBE, landmarks
from Testing.support.reviewed import field, itk, places, wavy


def verdicts(report: QualityReport) -> dict[str, str]:
    return {line.name: line.verdict for line in report.lines}


def with_fault(case: dict, added: np.ndarray) -> dict:
    u = case["transform"].vectors + added
    return {**case, "transform": field(u, CUBE)}


@pytest.fixture(scope="module")
def the_truth(a_case):
    true = a_case["transform"]
    fixed = landmarks(3, 40)
    names = tuple(f"F-{n}" for n in range(40))
    pairs = Pairs(names, tuple(map(tuple, fixed.tolist())), tuple(map(tuple, true(fixed).tolist())))
    back, _ = invert(true, CUBE)
    return assess(**a_case, landmarks=pairs, inverse=back)


def test_a_right_deformation_needs_no_attention(the_truth):
    assert the_truth.verdict == "pass", [
        line.words for line in the_truth.lines if line.verdict in ("fail", "attention")
    ]


def test_every_quantity_of_tg132_is_measured_where_all_is_given(the_truth):
    found = verdicts(the_truth)
    for name in (
        "tre_mean",
        "surface_distance_mean",
        "dice_value",
        "folding_percent",
        "consistency_mean",
    ):
        assert found[name] == "pass"


def test_every_line_says_where_on_how_many_and_why(the_truth):
    for line in the_truth.lines:
        assert line.words
        assert line.source
        if line.verdict in ("pass", "fail", "attention") and line.value is not None:
            assert line.where
            assert line.count > 0


def test_numbers_that_have_no_tolerance_never_pass_or_fail(the_truth):
    for line in the_truth.lines:
        if line.group in ("agreement", "deformation"):
            assert line.verdict == "shown"
        if line.group == "suspicion":
            assert line.verdict in ("shown", "attention")


def test_before_is_worse_than_after(the_truth):
    tre, dice = the_truth.line("tre_mean"), the_truth.line("dice_value")
    assert tre.value < 0.01 < tre.before
    assert dice.before < dice.value


def test_a_report_survives_json(the_truth):
    again = QualityReport.from_record(json.loads(json.dumps(the_truth.as_record())))
    assert again == the_truth


def test_what_is_not_given_is_said_to_be_not_measured(a_case):
    report = assess(a_case["transform"])
    found = verdicts(report)
    for name in ("tre_mean", "dice_value", "surface_distance_mean", "consistency_mean"):
        assert found[name] == "not measured"
    assert "both images are needed" in report.line("residual").words
    assert found["folding_percent"] == "pass"


def test_folding_fails_and_the_place_is_found(a_case):
    center = np.array([8.0, -6.0, 2.0])
    offset = places(CUBE) - center
    near = np.exp(-0.5 * (np.linalg.norm(offset, axis=-1) / 7) ** 2)[..., None]
    report = assess(**with_fault(a_case, -2.0 * near * offset))
    assert verdicts(report)["folding_percent"] == "fail"
    assert report.worst[0].kind == "folding"
    assert np.linalg.norm(np.subtract(report.worst[0].point_lps, center)) < 12


def test_folding_outside_of_the_mask_does_not_count(a_case):
    at = places(CUBE)
    center = np.array([28.0, 34.0, 26.0])  # a corner, in the air
    offset = at - center
    near = np.exp(-0.5 * (np.linalg.norm(offset, axis=-1) / 5) ** 2)[..., None]
    mask = itk((np.linalg.norm(at, axis=-1) < 20).astype(np.uint8), CUBE)
    report = assess(**with_fault(a_case, -2.0 * near * offset), mask=mask)
    whole = next(one for one in report.jacobian if one.region == "the whole image")
    assert whole.folding_percent > 0
    assert verdicts(report)["folding_percent"] == "pass"
    assert "the mask" in report.line("folding_percent").where


def test_a_shifted_part_is_found_without_labels_and_landmarks(a_case):
    center = np.array([9.0, -12.0, 4.0])
    near = np.exp(-0.5 * (np.linalg.norm(places(CUBE) - center, axis=-1) / 12) ** 4)[..., None]
    spoiled = with_fault(a_case, near * [0.0, 7.0, 0.0])
    images = {name: spoiled[name] for name in ("transform", "fixed", "moving")}
    report = assess(**images)
    assert verdicts(report)["residual"] == "attention"
    found = [np.array(p.point_lps) for p in report.worst if p.kind == "residual"]
    assert min(np.linalg.norm(point - center) for point in found) < 16


def test_a_shifted_part_is_found_in_a_mouse_as_well(a_case):
    """A tenth of the size: nothing that is looked for has a length of its own."""
    import SimpleITK as sitk

    small = Grid(CUBE.size, (0.2,) * 3, tuple(0.1 * o for o in CUBE.origin), CUBE.direction)
    images = {n: itk(sitk.GetArrayFromImage(a_case[n]), small) for n in ("fixed", "moving")}
    center = np.array([0.9, -1.2, 0.4])
    near = np.exp(-0.5 * (np.linalg.norm(places(small) - center, axis=-1) / 1.2) ** 4)[..., None]
    right = 0.1 * a_case["transform"].vectors
    assert assess(field(right, small), **images).verdict == "pass"
    report = assess(field(right + near * [0.0, 0.7, 0.0], small), **images)
    found = [np.array(p.point_lps) for p in report.worst if p.kind == "residual"]
    assert min(np.linalg.norm(point - center) for point in found) < 1.6


def test_a_jump_in_the_field_is_found(a_case):
    beyond = places(CUBE)[..., 0] > 3.0
    report = assess(**with_fault(a_case, beyond[..., None] * np.array([0.0, 6.0, 0.0])))
    assert verdicts(report)["roughness"] == "attention"
    nearest = min(abs(p.point_lps[0] - 3.0) for p in report.worst if p.kind == "roughness")
    assert nearest < 4.0


def test_a_jump_at_a_border_that_may_slide_is_no_seam_but_one_elsewhere_is(a_case):
    beyond = places(CUBE)[..., 0] > 3.0
    torn = with_fault(a_case, beyond[..., None] * np.array([0.0, 6.0, 0.0]))
    mask = itk(beyond.astype(np.uint8), CUBE)
    assert verdicts(assess(**torn, sliding=mask))["roughness"] == "shown"
    other = itk((places(CUBE)[..., 0] > -19.0).astype(np.uint8), CUBE)
    assert verdicts(assess(**torn, sliding=other))["roughness"] == "attention"


def test_what_drove_a_registration_is_said_to_be_no_proof():
    kept = {"labels": (1, 2), "surfaces": None, "sliding": {"kept": True}}
    assert steering_kinds(kept) == ["labels", "sliding"]
    assert steering_kinds({"sliding": {"kept": False}, "surfaces": {"count": 1}}) == ["surfaces"]
    assert steering_kinds({}) == []
    overlap, border = steering_notes(["labels", "sliding"], has_labels=True, has_mask=False)
    assert overlap.startswith("labels drove")
    assert "seam" in border
    assert steering_notes(["labels", "sliding"], has_labels=False, has_mask=True) == []


def test_the_other_direction_is_recognized(a_case):
    far = field(2.0 * wavy(CUBE), CUBE)
    at = places(CUBE)
    from Testing.support.phantom import body

    moving = itk((100 * body(at)).astype(np.float32), CUBE)
    fixed = itk((100 * body(at + far.vectors)).astype(np.float32), CUBE)
    back, _ = invert(far, CUBE)
    report = assess(back, fixed=fixed, moving=moving)
    assert verdicts(report)["similarity"] == "attention"
    assert "wrong direction" in report.line("similarity").words


def test_a_field_that_does_not_cover_the_body_is_found(a_case):
    small = Grid(CUBE.size, (1.0, 1.0, 1.0), CUBE.origin, CUBE.direction)
    wrong = field(a_case["transform"].vectors, small)
    report = assess(wrong, fixed=a_case["fixed"], moving=a_case["moving"])
    assert verdicts(report)["coverage"] == "attention"


def test_a_structure_without_a_partner_needs_attention(a_case):
    import SimpleITK as sitk

    only_one = sitk.Cast(a_case["moving_labels"] == 1, sitk.sitkUInt8)
    report = assess(**{**a_case, "moving_labels": only_one})
    assert verdicts(report)["segments_missing"] == "attention"
    assert "Small" in report.line("segments_missing").words


def test_places_are_ranked_by_severity(a_case):
    jump = (places(CUBE)[..., 0] > 3.0)[..., None] * np.array([0.0, 6.0, 0.0])
    severities = [place.severity for place in assess(**with_fault(a_case, jump)).worst]
    assert severities == sorted(severities, reverse=True)


def test_places_name_the_structure_that_they_lie_in(a_case):
    offset = places(CUBE) - [10.0, -10.0, 4.0]
    near = np.exp(-0.5 * (np.linalg.norm(offset, axis=-1) / 6) ** 2)[..., None]
    report = assess(**with_fault(a_case, -2.0 * near * offset))
    assert report.worst[0].region == "Large"


def test_a_quick_look_agrees_in_kind_and_says_that_it_was_quick(a_case, the_truth):
    quick = assess(**a_case, detail="quick")
    assert quick.detail == "quick"
    assert quick.transform_hash == the_truth.transform_hash
    assert quick.line("folding_percent").verdict == "pass"
    assert quick.line("surface_distance_mean").verdict == "not measured"


def test_a_large_image_is_measured_on_a_coarser_grid_and_the_line_says_so(a_case):
    big = Grid((400, 330, 270), (0.2, 0.25, 0.28), CUBE.origin, CUBE.direction)
    import SimpleITK as sitk

    fixed = sitk.Resample(
        a_case["fixed"],
        big.size,
        sitk.Transform(3, sitk.sitkIdentity),
        sitk.sitkLinear,
        big.origin,
        big.spacing,
        big.direction,
    )
    report = assess(a_case["transform"], fixed=fixed, detail="quick")
    assert report.line("folding_percent").count < 600_000
    assert "0.2 x" not in report.line("folding_percent").where


def test_a_plane_is_reviewed_too():
    grid = Grid((60, 50), (1.5, 1.5), (-45, -37.5), (1, 0, 0, 1))
    at = places(grid)
    value = np.exp(-((at[..., 0] / 25) ** 2 + (at[..., 1] / 20) ** 2)) * (
        2 + np.sin(at[..., 0] / 4)
    )
    image = itk(value.astype(np.float32), grid)
    report = assess(field(np.zeros((*grid.shape, 2)), grid), fixed=image, moving=image)
    assert report.verdict == "pass"
    assert len(report.jacobian[0].region) > 0


def test_an_image_of_another_dimension_is_an_error(a_case):
    plane = itk(np.zeros((9, 9), np.float32), Grid((9, 9), (1, 1), (0, 0), (1, 0, 0, 1)))
    with pytest.raises(InvalidTransform, match="axes"):
        assess(a_case["transform"], fixed=plane)


def test_a_matrix_without_an_image_says_what_is_missing():
    with pytest.raises(InvalidImage, match="fixed image"):
        assess(Deformation(3, matrix=np.eye(4)))


def test_something_else_than_a_transform_is_an_error():
    with pytest.raises(InvalidTransform, match="no transform"):
        assess(42)


def test_an_unknown_grid_to_compare_on_is_an_error(a_case):
    with pytest.raises(InvalidOption, match="finer or fixed"):
        assess(**a_case, compare_on="coarse")


def test_a_result_of_a_registration_brings_its_inverse(a_case):
    true = a_case["transform"]
    core = DisplacementField(torch.from_numpy(true.vectors).movedim(-1, 0).contiguous(), CUBE)
    result = known_result(core, neuralreg.invert(core))
    report = neuralreg.assess(result)
    assert report.line("inverse_maximum").verdict == "shown"
    assert report.line("inverse_maximum").value < 1.0
    assert report.line("consistency_mean").verdict == "not measured"  # it was computed, not found
    given = neuralreg.assess(result, inverse=result.inverse_field)
    assert given.line("consistency_mean").verdict == "pass"
    assert report.transform_hash == true.sha256


def test_whoever_wants_to_stop_is_heard(a_case):
    def stop(fraction: float, message: str) -> None:
        if fraction > 0.2:
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        assess(**a_case, progress=stop)


def test_inputs_are_not_changed(a_case):
    import SimpleITK as sitk

    before = sitk.GetArrayFromImage(a_case["fixed"]), a_case["transform"].vectors.copy()
    assess(**a_case, detail="quick")
    assert np.array_equal(sitk.GetArrayFromImage(a_case["fixed"]), before[0])
    assert np.array_equal(a_case["transform"].vectors, before[1])


def test_a_review_needs_neither_torch_nor_pydantic(files):
    code = (
        "import sys\n"
        "class Refuse:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in ('torch', 'pydantic', 'monai'):\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Refuse())\n"
        "import neuralreg\n"
        f"report = neuralreg.assess({str(files('transform'))!r}, fixed={str(files('fixed'))!r}, "
        f"moving={str(files('moving'))!r})\n"
        "print(report.verdict)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() in ("pass", "attention", "fail")


@pytest.mark.parametrize(
    "module",
    [
        "review.report_model",
        "review.workflow.decision",
        "io.landmark_files",
        "review.limits",
        "review.workflow.worklist",
    ],
)
def test_what_a_panel_imports_is_light(module):
    heavy = ("torch", "SimpleITK", "scipy", "pydantic", "PIL", "fpdf")
    code = f"import sys, neuralreg.{module}; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
