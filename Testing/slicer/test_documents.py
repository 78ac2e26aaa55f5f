"""What the pages show for Slicer's Python console runs as it stands, on two shifted bodies."""

from __future__ import annotations

import pytest
import slicer

from Testing.support.pages import IN_SLICER, run_snippets, snippets_of
from Testing.support.paths import DOCS, ROOT
from Testing.support.shifted_body import a_body

PAGES = [
    page
    for page in sorted([*DOCS.rglob("*.md"), *ROOT.glob("*.md")])
    if any(IN_SLICER in text for _, text in snippets_of(page))
    and page.name != "tutorial-console.md"  # test_tutorial has its scene
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_page_runs_as_it_stands(page, a_scene, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    a_body("fixed", 0.0)
    a_body("moving", 6.0)
    for name in ("segmentation", "segmentation of the moving side"):
        points = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", name)
        points.AddControlPoint(6.0, 0.0, 0.0)
    before = slicer.mrmlScene.GetNumberOfNodes()
    names = {"__name__": page.name, "getNode": slicer.util.getNode}
    run_snippets(page, names, lambda text: IN_SLICER in text)
    assert names["done"].result.outcome.similarity_final > 0.5
    assert slicer.mrmlScene.GetNumberOfNodes() == before  # the last line takes all of it away


def test_the_page_and_the_readme_are_among_them():
    assert {page.name for page in PAGES} >= {"README.md", "slicer.md"}
