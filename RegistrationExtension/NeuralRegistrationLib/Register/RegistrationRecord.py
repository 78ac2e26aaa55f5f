"""How a transform was made, kept with its node, so that the same can be done again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from neuralreg.registration.options import USUAL, RegistrationOptions

from NeuralRegistrationLib.Scene.Transforms import OWN_ROLES, RECORD

OTHER_WAY = "otherWayOf"  # in the record of a transform that is only there to be compared with
_LABELS = ("fixedLabels", "movingLabels", "rigidParts")
_NODES = ("fixedMask", "movingMask", "initialTransform", *_LABELS)
_PAIRS = {
    "channels": ("fixedChannels", "movingChannels"),
    "surfaces": ("fixedSurfaces", "movingSurfaces"),
}
_SEGMENTS = ("fixedMaskSegments", "movingMaskSegments")


@dataclass(frozen=True)
class Record:
    """What was asked for. nodes: see `Settings`.

    segments: of the masks, by the names that `Settings` gives them; None for all.
    """

    options: RegistrationOptions = USUAL
    nodes: Mapping[str, Any] = field(default_factory=dict)
    segments: Mapping[str, Any] = field(default_factory=dict)


def write(node, request, facts) -> None:
    """Write into a transform node how a request was answered: facts of the core's registration."""
    settings = request.settings
    record = {
        "model": facts.model,
        "inputs": [request.fixed.GetName(), request.moving.GetName()],
        "warnings": list(facts.warnings),
        "asked": request.options.as_record(),
        "segments": {name: getattr(settings, name) for name in _SEGMENTS},
        **dict(facts.provenance),
    }
    node.SetAttribute(RECORD, json.dumps(record, default=str))
    for name in _NODES:
        other = getattr(settings, name)
        node.SetNodeReferenceID(OWN_ROLES + name, other.GetID() if other is not None else None)
    for name, roles in _PAIRS.items():
        for side, role in enumerate(roles):
            node.RemoveNodeReferenceIDs(OWN_ROLES + role)
            for pair in getattr(settings, name):
                node.AddNodeReferenceID(OWN_ROLES + role, pair[side].GetID())


def read(node) -> Record | None:
    """What a transform node knows about how it was made; None without a record of ours."""
    record = json.loads(node.GetAttribute(RECORD) or "{}")
    if not record.get("model"):
        return None
    options = RegistrationOptions.from_record({**record.get("asked", {}), "model": record["model"]})
    nodes = {name: node.GetNodeReference(OWN_ROLES + name) for name in _NODES}
    for name, roles in _PAIRS.items():
        nodes[name] = tuple(zip(*(_references(node, role) for role in roles), strict=True))
    return Record(options, nodes, record.get("segments", {}))


def _references(node, role: str) -> list:
    role = OWN_ROLES + role
    return [node.GetNthNodeReference(role, n) for n in range(node.GetNumberOfNodeReferences(role))]


def steeringPoints(node) -> list[tuple[float, ...]]:
    """Landmarks of the fixed image that steered the registration of a transform, LPS mm."""
    landmarks = json.loads(node.GetAttribute(RECORD) or "{}").get("landmarks") or {}
    return [tuple(point) for point in landmarks.get("fixed", ())]


def isForComparison(node) -> bool:
    """Whether a transform was only registered to be compared with one of the other direction."""
    return OTHER_WAY in json.loads(node.GetAttribute(RECORD) or "{}")


def areOfOne(first, second) -> bool:
    """Whether two transform nodes come out of one registration: one is the other's inverse."""
    record = first.GetAttribute(RECORD)
    return bool(record) and record == second.GetAttribute(RECORD)
