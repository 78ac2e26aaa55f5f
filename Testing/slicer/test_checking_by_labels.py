"""The check by structures on real nodes, with a network that knows bands of a phantom."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
from neuralreg.geometry.grid import Grid
from neuralreg.review.findings.label_check import add_finding, label_finding
from neuralreg.review.report_model import Agreement, SegmentOverlap
from NeuralRegistrationLib import review
from NeuralRegistrationLib.Review.LabelCheck import checkLabels
from NeuralRegistrationLib.Scene import Scripting
from NeuralRegistrationLib.Worker import RunJob

from Testing.support.band_network import phantom, write_band_network

GRID = Grid((46, 56, 46), (2.9, 2.9, 2.9), (-65, -75, -70), tuple(np.eye(3).ravel()))


def test_a_shift_of_equal_heads_makes_their_structures_worse_in_one_row(
    a_scene, tmp_path, monkeypatch
):
    write_band_network(tmp_path / "own")
    monkeypatch.setenv("NEURALREG_MODELS", str(tmp_path / "own"))
    # In this process, which sees that folder, also where tests of the panels left a worker behind.
    monkeypatch.setattr(RunJob, "applicationRuns", lambda: False)
    image = phantom(GRID)[0]
    fixed, moving = (Scripting.volumeNodeFromImage(image, name) for name in ("fixed", "moving"))
    node = a_scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "shift")
    matrix = np.eye(4)
    matrix[0, 3] = 12.0
    node.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    node.SetNodeReferenceID(node.GetFixedNodeReferenceRole(), fixed.GetID())
    node.SetNodeReferenceID(node.GetMovingNodeReferenceRole(), moving.GetID())
    pair = (Agreement(dice, *[None] * 6) for dice in (0.1, 0.2))
    earlier = label_finding([SegmentOverlap(1, "Thalamus", "measured", *pair)])
    checked = checkLabels(node, add_finding(review(node, detail="quick").report, earlier))
    (row,) = [line for line in checked.report.lines if line.name == "label_check"]
    assert row.verdict == checked.report.verdict == "attention"
    assert row.before == pytest.approx(1.0)
    assert row.value < 0.6
    names, before, after = zip(*checked.structures, strict=True)
    assert len(names) > 1
    assert np.allclose(before, 1.0)
    assert np.mean(after) == pytest.approx(row.value, abs=1e-6)
