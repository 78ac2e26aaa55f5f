"""The Review panel with a worker whose answers are known, and views for it."""

from __future__ import annotations

import pytest

from Testing.gui.standin.slice_views import SliceViews
from Testing.support.review_scene import a_grid_transform


@pytest.fixture
def a_transform(a_pair, a_scene):
    node = a_grid_transform(a_scene)
    for role, volume in zip(
        (node.GetFixedNodeReferenceRole(), node.GetMovingNodeReferenceRole()), a_pair, strict=True
    ):
        node.SetNodeReferenceID(role, volume.GetID())
    return node


@pytest.fixture
def panel(known_reviewer, a_transform, a_panel):
    a_panel.openReview(a_transform)
    return a_panel.reviewPanel


@pytest.fixture
def review(panel, wait_until):
    """Presses Review and waits; the report."""

    def press():
        panel.ui.reviewButton.click()
        wait_until(lambda: not panel.jobs)
        return panel.findings.report

    return press


@pytest.fixture
def views(a_headless_scene):
    """The slice views of the application: those of the usual layout, and more when asked for."""
    made = SliceViews(a_headless_scene)
    yield made
    made.close()
