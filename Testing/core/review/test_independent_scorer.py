"""Dice, HD95, TRE and the Jacobian equal those of an independent program, where that is at hand."""

from __future__ import annotations

import importlib.util
from types import ModuleType

import pytest

from Testing.support.paths import ROOT

BENCHMARK = ROOT / "benchmarks" / "review_agreement.py"


@pytest.fixture(scope="module")
def the_comparison() -> ModuleType:
    spec = importlib.util.spec_from_file_location("review_agreement", BENCHMARK)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not (module.SHARED / "data" / "evaluate.py").is_file():
        pytest.skip("the independent scorer does not stand beside the repository")
    return module


@pytest.mark.parametrize(
    ("name", "measured"),
    [
        ("d05_hippocampus", {"dice", "hd95", "folding_pct_mask", "sdlogj"}),
        ("d11_prostate_hbv_adc", {"tre_mean", "tre_p95", "detj_min_mask"}),
        ("d15_2d_oasis_dkt", {"dice", "hd95", "sdlogj_mask"}),
    ],
)
def test_both_programs_agree_to_a_thousandth(the_comparison, tmp_path, name, measured):
    scorer = the_comparison.evaluator()
    pair = scorer.load_manifest(str(the_comparison.SHARED / "data"))[name]
    transform = the_comparison.made_transform(pair, tmp_path)
    scored = scorer.evaluate(pair, [str(transform)])
    gaps = the_comparison.differences(pair, scored, the_comparison.review(pair, transform))
    assert measured <= set(gaps)
    assert max(gaps.values()) <= the_comparison.TOLERANCE, gaps
