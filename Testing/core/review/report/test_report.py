"""The report: one file that opens anywhere, the same as PDF, and all numbers as CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
from neuralreg.errors import UnwritableOutput
from neuralreg.io.landmark_files import Pairs
from neuralreg.review.assess import case_of, review
from neuralreg.review.limits import read_profile
from neuralreg.review.report.formats import as_csv, write_report
from neuralreg.review.report.slice_pictures import pictures_of
from neuralreg.review.report_model import QualityReport
from neuralreg.review.workflow.decision import Decision
from neuralreg.review.workflow.provenance import provenance_of
from PIL import Image as Picture

from Testing.support.phantom import CUBE
from Testing.support.reviewed import field, itk, places, wavy


@pytest.fixture(scope="module")
def reviewed(a_case):
    names = ("<b>one</b>", "Größe")
    pairs = Pairs(names, ((0, 0, 0), (5, 5, 5)), ((1, 2, 1), (9, 5, 5)))
    case = case_of(**a_case, landmarks=pairs)
    return case, review(case, read_profile())


@pytest.fixture(scope="module")
def pictures(reviewed):
    return pictures_of(*reviewed)


@pytest.fixture
def written(reviewed, pictures, tmp_path):
    made = Decision("accepted", "Dr. A", reviewed[1].transform_hash, level=1)
    write_report(
        reviewed[1], tmp_path / "out.html", pictures=pictures, decision=made, title="Case 12"
    )
    return tmp_path


class Checked(HTMLParser):
    """Every element that is opened is closed, but those that stand alone."""

    def __init__(self) -> None:
        super().__init__()
        self.open, self.text = [], ""

    def handle_starttag(self, tag, attrs):
        if tag not in ("meta", "img", "col"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_the_html_is_whole_and_says_what_was_found(written, reviewed):
    page = Checked()
    page.feed((written / "out.html").read_text(encoding="utf-8"))
    assert page.open == []
    for line in reviewed[1].lines:
        assert line.title in page.text
    for part in ("Case 12", "Accepted", "Dr. A", "Größe", reviewed[1].transform_hash):
        assert part in page.text


def test_the_html_loads_nothing_from_anywhere(written):
    text = (written / "out.html").read_text(encoding="utf-8")
    sources = re.findall(r'(?:src|href)="([^"]{0,20})', text)
    assert sources
    assert all(source.startswith("data:image/") for source in sources)
    assert "@import" not in text
    assert "<script" not in text


def test_names_from_outside_cannot_become_markup(written):
    assert "<b>one</b>" not in (written / "out.html").read_text(encoding="utf-8")


def test_a_report_has_at_most_5_mb(written):
    for ending in ("html", "pdf", "csv", "json"):
        assert 1000 < (written / f"out.{ending}").stat().st_size < 5e6


def test_the_pdf_opens_with_pages_of_a4(written):
    content = (written / "out.pdf").read_bytes()
    assert content.startswith(b"%PDF-")
    assert b"/MediaBox [0 0 595.28 841.89]" in content
    assert content.count(b"/Subtype /Image") >= 15


def test_the_json_holds_the_whole_report(written, reviewed):
    facts = json.loads((written / "out.json").read_text())
    assert QualityReport.from_record(facts["report"]) == reviewed[1]
    assert facts["decision"]["verdict"] == "accepted"


def test_the_csv_has_every_number(reviewed):
    rows = list(csv.DictReader(io.StringIO(as_csv(reviewed[1]))))
    named = {(row["section"], row["name"], row["region"]): row["value"] for row in rows}
    dice = reviewed[1].overlaps[0].after.dice
    assert float(named["structure", "dice", "Large"]) == pytest.approx(dice, rel=1e-6)
    lines = {row["name"] for row in rows}
    assert {line.name for line in reviewed[1].lines} <= lines


def test_a_decision_about_another_transform_is_shown_as_void(reviewed, tmp_path):
    old = Decision("accepted", "Dr. A", "another hash")
    write_report(reviewed[1], tmp_path / "out.html", decision=old, formats=(".html",))
    assert "void" in (tmp_path / "out.html").read_text()


def test_an_unknown_format_is_an_error(reviewed, tmp_path):
    with pytest.raises(UnwritableOutput, match="format"):
        write_report(reviewed[1], tmp_path / "out.html", formats=(".docx",))


def test_a_closed_folder_is_an_error_and_nothing_is_left(reviewed, tmp_path):
    with pytest.raises(UnwritableOutput):
        write_report(reviewed[1], tmp_path / "nowhere" / "out.html", formats=(".html",))


def test_pictures_show_three_planes_before_and_after(pictures):
    for key in ("before", "after", "grid", "jacobian"):
        for plane in ("axial", "coronal", "sagittal"):
            assert Picture.open(io.BytesIO(pictures[f"{key}/{plane}"])).size[0] > 100


def color(png: bytes) -> float:
    """How far from gray a picture is, on average."""
    pixels = np.asarray(Picture.open(io.BytesIO(png)), float)
    return float((pixels.max(-1) - pixels.min(-1)).mean())


def test_after_is_grayer_than_before(pictures):
    for plane in ("axial", "coronal", "sagittal"):
        assert color(pictures[f"after/{plane}"]) < 0.7 * color(pictures[f"before/{plane}"])


def test_a_linear_transform_leaves_the_grid_straight(a_case):
    turn = np.eye(4)
    turn[:2, :2] = [[0.9, -0.3], [0.3, 1.1]]
    u = (places(CUBE) @ (turn[:3, :3] - np.eye(3)).T).astype(np.float32)
    case = case_of(field(u, CUBE), fixed=a_case["fixed"], moving=a_case["moving"])
    png = pictures_of(case, review(case, read_profile()))["grid/axial"]
    pixels = np.asarray(Picture.open(io.BytesIO(png)).convert("RGB"), float)
    along = (pixels[..., 0] - pixels[..., 2]).mean(0)
    assert along.max() > 150 > 50 > along.min()  # lines run straight down, with room between


def test_a_turned_grid_is_shown_with_the_patient_upright():
    """The same body stored with permuted and flipped axes looks the same."""
    import SimpleITK as sitk

    u = wavy(CUBE)
    fixed = np.where(places(CUBE)[..., 2] > 0, 100.0, 10.0) * (places(CUBE)[..., 0] > -20)
    straight = itk(fixed.astype(np.float32), CUBE)
    other = sitk.Flip(sitk.PermuteAxes(straight, (2, 0, 1)), (True, False, True))
    found = []
    for image in (straight, other):
        case = case_of(field(u, CUBE), fixed=image, moving=image)
        png = pictures_of(case, review(case, read_profile()))["before/coronal"]
        found.append(np.asarray(Picture.open(io.BytesIO(png)).convert("L"), float))
    assert found[0].shape == found[1].shape
    assert np.abs(found[0] - found[1]).mean() < 3
    top, bottom = found[0][: len(found[0]) // 3], found[0][-len(found[0]) // 3 :]
    assert top.mean() > bottom.mean()  # the head is up


def test_inputs_are_told_by_name_hash_and_place_and_never_by_folder(files):
    found = provenance_of({"fixed": files("fixed"), "transform": files("transform")})
    about = found["inputs"]["fixed"]
    assert about["name"] == "fixed.nrrd"
    assert len(about["sha256"]) == 64
    assert about["size"] == list(CUBE.size)
    assert str(files("fixed").parent) not in json.dumps(found)


def test_a_pdf_without_its_package_says_what_to_do(reviewed, tmp_path):
    (tmp_path / "report.json").write_text(json.dumps(reviewed[1].as_record()))
    code = (
        "import sys, json\n"
        "sys.modules['fpdf'] = None\n"
        "from neuralreg.review.report_model import QualityReport\n"
        "from neuralreg.review.report.formats import write_report\n"
        f"report = QualityReport.from_record(json.load(open({str(tmp_path / 'report.json')!r})))\n"
        f"write_report(report, {str(tmp_path / 'out.html')!r}, formats=('.pdf',))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "PackageMissing" in done.stderr
    assert "print the HTML report" in done.stderr
