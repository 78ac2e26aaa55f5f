"""Landmarks that steered a registration are no proof of it."""

from __future__ import annotations

import numpy as np
from neuralreg.io.landmark_files import Pairs
from neuralreg.review.measures.target_registration_error import independent_pairs

PAIRS = Pairs(("A", "B", "C"), ((1, 2, 3), (4, 5, 6), (7, 8, 9)), ((0, 0, 0),) * 3)


def test_pairs_that_steered_are_left_out_and_named():
    steering = {"landmarks": {"fixed": [[4.0, 5.001, 6.0], [70, 80, 90]]}}
    others = independent_pairs(PAIRS, steering)
    assert others.names == ("A", "C")
    np.testing.assert_array_equal(others.fixed, [[1, 2, 3], [7, 8, 9]])
    assert others.notes[-1].startswith("1 pair of landmarks steered")
    assert others.notes[-1].endswith(": B")


def test_pairs_of_a_registration_without_landmarks_all_count():
    for provenance in ({}, {"landmarks": None}, {"landmarks": {"fixed": []}}):
        assert independent_pairs(PAIRS, provenance) is PAIRS
