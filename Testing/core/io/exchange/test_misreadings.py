"""A fixed sample of `benchmarks.exchange`: no file is misread without a word."""

from __future__ import annotations

from benchmarks.exchange import WAYS, run_all


def test_no_made_file_is_misread_without_a_word():
    cases = run_all(len(WAYS), seed=1)
    assert [case for case in cases if case.outcome == "silently wrong"] == []
    right = next(case for case in cases if case.way == "as it should be")
    assert (right.outcome, right.words) == ("right", "")
    assert {case.outcome for case in cases} >= {"right", "question", "warning"}
