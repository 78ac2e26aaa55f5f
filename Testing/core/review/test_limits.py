"""Limits, the verdicts that come of them, and what may never pass or fail."""

from __future__ import annotations

import json

import pytest
from neuralreg.errors import InvalidOption, UnreadableFile
from neuralreg.review.findings.verdicts import Judge
from neuralreg.review.limits import QUANTITIES, default_profile, read_profile

TG132 = read_profile()


def verdict(quantity: str, statistic: str, value: float, voxel_mm: float = 2.5) -> str:
    return Judge(TG132, voxel_mm).verdict(quantity, statistic, value)[0]


@pytest.mark.parametrize(
    ("quantity", "statistic", "value", "expected"),
    [
        ("tre", "mean", 2.4, "pass"),
        ("tre", "mean", 2.6, "fail"),
        ("tre", "maximum", 5.1, "attention"),
        ("surface_distance", "mean", 2.6, "fail"),
        ("dice", "value", 0.79, "fail"),
        ("dice", "value", 0.85, "attention"),
        ("dice", "value", 0.95, "pass"),
        ("folding", "percent", 0.0, "pass"),
        ("folding", "percent", 1e-6, "fail"),
        ("compression", "p1", 0.2, "attention"),
        ("expansion", "p99", 3.5, "attention"),
        ("consistency", "mean", 2.6, "fail"),
        ("consistency", "mean", float("nan"), "fail"),
    ],
)
def test_a_value_is_held_against_its_limit(quantity, statistic, value, expected):
    assert verdict(quantity, statistic, value) == expected


@pytest.mark.parametrize(("voxel_mm", "bound"), [(1.0, 2.0), (2.5, 2.5), (10.0, 3.0)])
def test_the_voxel_limit_stays_between_2_and_3_mm(voxel_mm, bound):
    """As TG-132 has it: the largest voxel dimension, about 2 to 3 mm."""
    assert TG132.bound(TG132.of("tre", "mean")[0], voxel_mm) == bound


def test_only_the_quantities_of_tg132_have_limits():
    assert {limit.quantity for limit in TG132.limits} <= set(QUANTITIES)
    for shown in ("similarity", "hd95", "bending", "residual", "roughness"):
        assert shown not in QUANTITIES


def test_every_limit_names_its_source():
    assert all(len(limit.source) > 20 for limit in TG132.limits)
    assert "10.1002/mp.12256" in TG132.source


def changed(tmp_path, **limit):
    content = json.loads(default_profile().read_text())
    content["limits"][0] |= limit
    path = tmp_path / "own.json"
    path.write_text(json.dumps(content))
    return path


def test_a_clinic_may_edit_a_limit(tmp_path):
    own = read_profile(changed(tmp_path, bound=1.0))
    assert Judge(own, 2.5).verdict("tre", "mean", 1.2)[0] == "fail"


@pytest.mark.parametrize(
    "limit",
    [
        {"quantity": "hd95"},
        {"statistic": "maximum2"},
        {"otherwise": "perhaps"},
        {"quantity": "dice", "statistic": "value"},
        {"bound": "wide"},
    ],
)
def test_a_limit_that_means_nothing_is_an_error(tmp_path, limit):
    with pytest.raises(InvalidOption, match=r"own\.json"):
        read_profile(changed(tmp_path, **limit))


def test_a_file_that_is_no_profile_says_so(tmp_path):
    (tmp_path / "own.json").write_text("{]")
    with pytest.raises(UnreadableFile, match="no profile"):
        read_profile(tmp_path / "own.json")


def test_a_profile_without_limits_shows_and_never_judges(tmp_path):
    path = tmp_path / "own.json"
    content = {"name": "none", "source": "nobody", "voxel_mm": {"least": 2, "most": 3}}
    path.write_text(json.dumps({**content, "limits": []}))
    assert Judge(read_profile(path), 1.0).verdict("dice", "value", 0.0)[0] == "shown"
