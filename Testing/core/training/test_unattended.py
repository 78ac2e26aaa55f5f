"""Small samples of the benchmark `training_runs`: kills at random moments, odd data sets."""

from __future__ import annotations

from benchmarks.training_runs import folders, kills


def test_a_killed_training_ends_with_the_weights_and_curves_of_an_unbroken_one(tmp_path):
    """SIGKILL, in one of two runs once more after it was resumed."""
    result = kills(2, tmp_path)
    assert result["equal"] == result["runs"]
    assert result["half_files"] == []


def test_check_and_training_take_just_what_a_data_set_was_made_of(tmp_path):
    result = folders(12, tmp_path)
    assert result["differences"] == {}
    assert result["to_be_refused"] > 0
    assert result["damaged"] > 0
