"""The row that a network's labels of both brains add to a review."""

from __future__ import annotations

import pytest
import slicer


@pytest.fixture
def network(monkeypatch):
    """Says whether the weights are on this computer."""
    from NeuralRegistrationLib.Models import ModelList

    here = {"available": True}
    monkeypatch.setattr(ModelList, "isAvailable", lambda card: here["available"])
    return here


@pytest.fixture
def questions(monkeypatch):
    """Records what the person is asked; the answer is in its only key."""
    asked, answer = [], {"ok": True}
    monkeypatch.setattr(
        slicer.util,
        "confirmOkCancelDisplay",
        lambda text, *more: asked.append(text) or answer["ok"],
        raising=False,
    )
    return asked, answer


def rows(panel):
    table = panel.ui.reviewLinesTable
    return [table.item(n, 0).text().split("\n")[0] for n in range(table.rowCount)]


def test_the_check_is_there_once_a_review_is_and_adds_its_row(
    panel, review, network, questions, wait_until, a_transform
):
    from NeuralRegistrationLib.Review import ReviewStore

    ui = panel.ui
    assert not ui.reviewLabelCheckButton.enabled
    review()
    assert ui.reviewLabelCheckButton.enabled
    assert "Label_check" not in rows(panel)
    ui.reviewLabelCheckButton.click()
    assert not ui.reviewLabelCheckButton.enabled
    assert ui.reviewCancelButton.enabled
    wait_until(lambda: not panel.jobs)
    assert questions[0] == []
    ui.reviewLinesTable.selectRow(rows(panel).index("Label_check"))
    assert "Thalamus is worse in moving" in ui.reviewLineLabel.text
    assert "0.80 → 0.60" in ui.reviewLineLabel.text
    kept, _decision = ReviewStore.recall(a_transform)  # saved with the scene
    assert kept.lines[-1].name == "label_check"
    assert panel.reviewed.report.lines[-1].name == "label_check"  # and printed in a report


@pytest.mark.parametrize("agrees", [True, False])
def test_a_network_that_is_not_there_is_fetched_only_with_consent(
    panel, review, network, questions, wait_until, agrees
):
    asked, answer = questions
    answer["ok"], network["available"] = agrees, False
    review()
    succeeds = panel._succeeds

    def follow(job):
        network["available"] = network["available"] or job.kind == "download"
        return succeeds(job)

    panel._succeeds = follow
    panel.ui.reviewLabelCheckButton.click()
    assert "Download it now?" in asked[0]
    wait_until(lambda: not panel.jobs)
    assert ("Label_check" in rows(panel)) is agrees
    assert agrees or "not downloaded" in panel.ui.reviewStatusLabel.text
    assert len(asked) == 1


def test_cancelling_leaves_the_report_as_it_was(panel, review, network, wait_until):
    review()
    before = rows(panel)
    panel.ui.reviewLabelCheckButton.click()
    panel.ui.reviewCancelButton.click()
    wait_until(lambda: not panel.jobs)
    assert rows(panel) == before
    assert panel.ui.reviewStatusLabel.text == "Cancelled."
