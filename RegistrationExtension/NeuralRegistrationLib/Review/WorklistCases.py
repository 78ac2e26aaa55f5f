"""The cases of a worklist: the transforms of the scene, or files that a CSV names."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import slicer
import vtk
from neuralreg.errors import UnreadableFile

from NeuralRegistrationLib.Review import ReviewStore
from NeuralRegistrationLib.Scene import Geometry, Revert

_RISK = ("error", "fail", "attention", "", "pass")  # "" was not reviewed yet


@dataclass(frozen=True)
class Case:
    """key: names the case for its list. verdict: of the review, decision: of a person, or ""."""

    key: str
    name: str
    verdict: str
    decision: str


class SceneCases:
    """The transform nodes of the scene."""

    title = ""

    def cases(self) -> list[Case]:
        """All of them, those at risk first."""
        records = [(node, *ReviewStore.recall(node)) for node in ReviewStore.candidates()]
        cases = [
            Case(
                node.GetID(),
                node.GetName(),
                report.verdict if report is not None else "",
                decision.verdict if decision is not None else "",
            )
            for node, report, decision in records
        ]
        return sorted(cases, key=lambda case: (_RISK.index(case.verdict), case.name))

    def take(self, key: str) -> dict:
        """The parameters that show a case."""
        return {"transform": slicer.mrmlScene.GetNodeByID(key)}

    def keyOf(self, transformNode) -> str:
        """The case that a transform node belongs to."""
        return transformNode.GetID()

    def keep(self, transformNode, report, decision) -> None:
        """The scene remembers by itself."""

    def leave(self) -> None:
        """The nodes stay."""


class FileCases:
    """The cases of a CSV, as `neuralreg worklist` writes it: each is loaded when its turn comes.

    Decisions are written into the CSV at once, so that work resumes where it was stopped.
    Raises RegistrationError when the CSV cannot be read.
    """

    def __init__(self, path: Path) -> None:
        from neuralreg.review.workflow.worklist import WorklistFile, read_worklist

        self.title = path.name
        known = read_worklist(path)
        self._file = WorklistFile(path, known)
        self._entries = {entry.case: entry for entry in known}
        self._changes: Revert.Changes | None = None
        self._current, self._transform = "", None

    def cases(self) -> list[Case]:
        """Those that are not decided yet, and among them those at risk, first."""
        from neuralreg.review.workflow.worklist import sort_by_risk

        entries = sort_by_risk(self._entries.values())
        return [Case(e.case, e.case, e.verdict, e.decision) for e in entries]

    def take(self, key: str) -> dict:
        """Load a case's files in place of the former ones; gives the parameters that show it."""
        self.leave()
        entry, self._current = self._entries[key], key
        self._changes = Revert.Changes(slicer.mrmlScene)
        loaded = {
            "transform": self._load(slicer.util.loadTransform, entry.transform),
            "fixedVolume": self._load(slicer.util.loadVolume, entry.fixed),
            "movingVolume": self._load(slicer.util.loadVolume, entry.moving),
            "fixedSegments": self._load(slicer.util.loadSegmentation, entry.fixed_seg),
            "movingSegments": self._load(slicer.util.loadSegmentation, entry.moving_seg),
            "mask": self._load(slicer.util.loadSegmentation, entry.mask),
        }
        transform = self._transform = loaded["transform"]
        roles = transform.GetFixedNodeReferenceRole(), transform.GetMovingNodeReferenceRole()
        for role, side in zip(roles, ("fixedVolume", "movingVolume"), strict=True):
            if loaded[side] is not None:
                transform.SetNodeReferenceID(role, loaded[side].GetID())
        landmarks = self._landmarks(entry.landmarks)
        self._changes.complete()
        return {**loaded, **landmarks}

    def _load(self, load, path: str):
        """The node in a file; None without one. Raises UnreadableFile."""
        if not path:
            return None
        try:
            node = load(path)
        except RuntimeError as error:  # as Slicer's loaders do
            raise UnreadableFile("a case cannot be loaded", where=path, got=str(error)) from error
        if node is None:
            raise UnreadableFile("a case cannot be loaded", where=path)
        return self._changes.rememberNew(node)

    def _landmarks(self, path: str) -> dict:
        nodes = {"fixedPoints": None, "movingPoints": None}
        if path:
            from neuralreg.io.landmark_files import read_pairs

            pairs = read_pairs(path)
            for parameter, points in zip(nodes, (pairs.fixed, pairs.moving), strict=True):
                kind = "vtkMRMLMarkupsFiducialNode"
                node = self._changes.rememberNew(
                    slicer.mrmlScene.AddNewNodeByClass(kind, parameter)
                )
                node.CreateDefaultDisplayNodes()
                for name, point in zip(pairs.names, points, strict=True):
                    node.AddControlPointWorld(vtk.vtkVector3d(*Geometry.flip(point)), name)
                nodes[parameter] = node
        return nodes

    def keyOf(self, transformNode) -> str:
        """The case that is loaded; "" for another transform."""
        return self._current if transformNode is self._transform else ""

    def keep(self, transformNode, report, decision) -> None:
        """Write the review and the decision into the CSV."""
        from neuralreg.review.workflow.worklist import record_review

        key = self.keyOf(transformNode)
        if not key:
            return
        entry = record_review(self._entries[key], report)
        decided = decision is not None and decision.transform_hash == report.transform_hash
        if decided:
            facts = {"by": decision.by, "note": decision.note, "time": decision.time}
            entry = replace(entry, decision=decision.verdict, **facts)
        self._entries[key] = entry
        entries = self._file.write(list(self._entries.values()), entry if decided else None)
        self._entries = {each.case: each for each in entries}

    def leave(self) -> None:
        """Take the loaded case out of the scene; what the reviewer changed in it stays there."""
        if self._transform is not None and self._transform.GetScene() is not None:
            ReviewStore.forget(self._transform)
        if self._changes is not None:
            self._changes.revert()
        self._changes, self._current, self._transform = None, "", None
