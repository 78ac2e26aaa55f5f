"""Dice, HD95, TRE and the Jacobian equal those of an independent program, where that is at hand."""

from __future__ import annotations

import pytest

from Testing.support import independent_scorer
from Testing.support.paths import SHARED


@pytest.mark.needs_shared(independent_scorer.SCORER)
@pytest.mark.parametrize(
    ("name", "measured"),
    [
        ("d05_hippocampus", {"dice", "hd95", "folding_pct_mask", "sdlogj"}),
        ("d11_prostate_hbv_adc", {"tre_mean", "tre_p95", "detj_min_mask"}),
        ("d15_2d_oasis_dkt", {"dice", "hd95", "sdlogj_mask"}),
    ],
)
def test_both_programs_agree_to_a_thousandth(tmp_path, name, measured):
    scorer = independent_scorer.load_scorer()
    pair = scorer.load_manifest(str(SHARED / "data"))[name]
    transform = independent_scorer.write_transform_of(pair, tmp_path)
    scored = scorer.evaluate(pair, [str(transform)])
    report = independent_scorer.review(pair, transform)
    gaps = independent_scorer.differences(pair, scored, report)
    assert measured <= set(gaps)
    assert max(gaps.values()) <= independent_scorer.TOLERANCE, gaps
