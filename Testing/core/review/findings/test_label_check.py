"""What a network's labels say about a deformation: information, or a reason to look."""

from __future__ import annotations

import json

import numpy as np
import pytest
import SimpleITK as sitk
from neuralreg.errors import InvalidImage
from neuralreg.geometry.grid import Grid
from neuralreg.io.image_files import write_image
from neuralreg.review.findings.label_check import label_finding
from neuralreg.review.report_model import Agreement, SegmentOverlap

from Testing.support.band_network import phantom, write_band_network
from Testing.support.command_line import neuralreg

GRID = Grid((46, 56, 46), (2.9, 2.9, 2.9), (-65, -75, -70), tuple(np.eye(3).ravel()))


def overlap(name: str, before: float, after: float) -> SegmentOverlap:
    pair = (Agreement(dice, *[None] * 6) for dice in (before, after))
    return SegmentOverlap(1, name, "measured", *pair)


def test_structures_that_come_together_are_shown_without_a_verdict():
    finding = label_finding([overlap("Thalamus", 0.4, 0.8), overlap("Caudate", 0.5, 0.46)])
    assert finding.verdict == "shown"
    assert finding.value == pytest.approx(0.63)
    assert finding.before == pytest.approx(0.45)
    assert "Dice 0.8" in finding.source


def test_a_structure_that_a_deformation_makes_worse_asks_for_a_look_by_name():
    finding = label_finding([overlap("Thalamus", 0.4, 0.8), overlap("Caudate", 0.7, 0.5)])
    assert finding.verdict == "attention"
    assert "Caudate 0.50 (0.70 before)" in finding.words
    assert "Thalamus" not in finding.words


def test_images_without_a_common_structure_are_no_result():
    with pytest.raises(InvalidImage, match="nothing in common"):
        label_finding([SegmentOverlap(1, "a", "missing in the fixed segmentation", None, None)])


def test_a_review_labels_both_images_and_adds_the_row(tmp_path, monkeypatch):
    write_band_network(tmp_path / "own")
    monkeypatch.setenv("NEURALREG_MODELS", str(tmp_path / "own"))
    head, transform = tmp_path / "head.nii.gz", tmp_path / "shift.tfm"
    write_image(phantom(GRID)[0], head)
    sitk.WriteTransform(sitk.TranslationTransform(3, (12.0, 0, 0)), transform)
    images = ("--fixed", str(head), "--moving", str(head))
    outcome = neuralreg("review", str(transform), *images, "--label-check", "--json", "--quiet")
    assert outcome.exit_code == 1, outcome.stderr
    (row,) = [r for r in json.loads(outcome.stdout)["lines"] if r["name"] == "label_check"]
    assert row["verdict"] == "attention"
    assert row["before"] == pytest.approx(1.0)
    assert row["value"] < 0.6


def test_a_check_by_labels_without_both_images_is_refused(tmp_path):
    transform = tmp_path / "shift.tfm"
    sitk.WriteTransform(sitk.TranslationTransform(3, (1.0, 0, 0)), transform)
    outcome = neuralreg("review", str(transform), "--label-check")
    assert outcome.exit_code == 2
    assert "--fixed and --moving" in outcome.stderr
