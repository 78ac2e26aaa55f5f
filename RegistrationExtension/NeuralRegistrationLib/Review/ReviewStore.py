"""What the scene knows about a transform: its review and the decision, in a text node beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import slicer
from neuralreg.review.report_model import QualityReport
from neuralreg.review.workflow.decision import (
    Decision,
    decision_path,
    read_decision,
    write_decision,
)
from slicer.i18n import tr as _

from NeuralRegistrationLib.Register.RegistrationRecord import isForComparison
from NeuralRegistrationLib.Scene import SubjectHierarchy

_ROLE = "neuralRegistrationReview"
_TABLE = "Review worklist"
_OURS = "Review: "  # the beginning of our line in a description
_COLUMNS = ("Transform", "Verdict", "Decision", "By", "Time", "Note")


def _textNode(transformNode):
    return transformNode.GetNodeReference(_ROLE)


def recall(transformNode) -> tuple[QualityReport | None, Decision | None]:
    """The report and the decision that are kept; a decision also beside the transform's file."""
    node = _textNode(transformNode)
    record = json.loads(node.GetText()) if node is not None and node.GetText() else {}
    report = QualityReport.from_record(record["report"]) if record.get("report") else None
    if record.get("decision"):
        return report, Decision(**record["decision"])
    path = fileOf(transformNode)
    return report, read_decision(decision_path(path)) if path is not None else None


def remember(transformNode, report: QualityReport | None, decision: Decision | None) -> None:
    """Keep both in the scene."""
    node = _textNode(transformNode)
    if node is None:
        scene = transformNode.GetScene()
        name = SubjectHierarchy.freeName(scene, f"{transformNode.GetName()}: review")
        node = scene.AddNewNodeByClass("vtkMRMLTextNode", name)
        transformNode.SetNodeReferenceID(_ROLE, node.GetID())
        SubjectHierarchy.placeBeside(node, transformNode)
    record = {
        "report": report and report.as_record(),
        "decision": decision and decision.as_record(),
    }
    node.SetText(json.dumps(record))


def forget(transformNode) -> None:
    """Take what the scene knows about a transform out of it; files stay."""
    node = _textNode(transformNode)
    if node is not None:
        transformNode.GetScene().RemoveNode(node)


def decide(transformNode, report: QualityReport, decision: Decision) -> Path | None:
    """Keep a decision in the scene, in the transform's description, and beside its file.

    The path that was written, if the transform has a file. Raises UnwritableOutput.
    """
    remember(transformNode, report, decision)
    _describe(transformNode, decision.in_words())
    _fillTable(transformNode.GetScene())
    path = fileOf(transformNode)
    if path is None:
        return None
    write_decision(decision, decision_path(path))
    return decision_path(path)


def void(transformNode) -> None:
    """State in the transform's description that a decision is no longer valid."""
    former = next((line for line in _lines(transformNode) if line.startswith(_OURS)), "")
    mark = _("void, the transform was changed. It was: ")
    if former and mark not in former:
        _describe(transformNode, mark + former.removeprefix(_OURS))


def _lines(transformNode) -> list[str]:
    return (transformNode.GetDescription() or "").splitlines()


def _describe(transformNode, words: str) -> None:
    """Put the words in the first line of the description, and leave the others as they are."""
    others = [line for line in _lines(transformNode) if not line.startswith(_OURS)]
    transformNode.SetDescription("\n".join([_OURS + words, *others]))


def fileOf(transformNode) -> Path | None:
    """The file that a transform was read from or saved to, if its folder is there."""
    storage = transformNode.GetStorageNode()
    name = storage.GetFullNameFromFileName() if storage is not None else ""
    return Path(name) if name and Path(name).parent.is_dir() else None


def candidates() -> list:
    """The transform nodes of the scene that a person would review."""
    return [
        node
        for node in slicer.util.getNodesByClass("vtkMRMLTransformNode")
        if not node.GetHideFromEditors()
        and (_textNode(node) is not None or (_isOfPair(node) and not isForComparison(node)))
    ]


def _isOfPair(node) -> bool:
    roles = node.GetFixedNodeReferenceRole(), node.GetMovingNodeReferenceRole()
    return all(node.GetNodeReference(role) is not None for role in roles)


def _fillTable(scene) -> None:
    """All decisions of the scene as a table node, which Slicer saves as CSV."""
    table = scene.GetFirstNodeByName(_TABLE)
    if table is None:
        table = scene.AddNewNodeByClass("vtkMRMLTableNode", _TABLE)
    table.RemoveAllColumns()
    for name in _COLUMNS:
        table.AddColumn().SetName(name)
    for node in candidates():
        report, decision = recall(node)
        row = table.AddEmptyRow()
        for column, text in enumerate(_row(node, report, decision)):
            table.SetCellText(row, column, text)


def _row(node, report, decision) -> tuple[str, ...]:
    facts: Mapping[str, str] = decision.as_record() if decision is not None else {}
    verdict = report.verdict if report is not None else ""
    texts = (facts.get(name) or "" for name in ("verdict", "by", "time", "note"))
    return (node.GetName(), verdict, *texts)
