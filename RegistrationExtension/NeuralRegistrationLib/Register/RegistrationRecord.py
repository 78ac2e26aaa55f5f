"""How a transform was made, kept with its node, so that the same can be done again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from neuralreg.registration.options import USUAL, RegistrationOptions

from NeuralRegistrationLib.Scene import Transforms
from NeuralRegistrationLib.Scene.Transforms import OWN_ROLES, RECORD

OTHER_WAY = "otherWayOf"  # in the record of a transform that is only there to be compared with
_LABELS = ("fixedLabels", "movingLabels", "rigidParts")
_NODES = ("fixedMask", "movingMask", "initialTransform", "slidingMask", *_LABELS)
_PAIRS = {
    "channels": ("fixedChannels", "movingChannels"),
    "surfaces": ("fixedSurfaces", "movingSurfaces"),
}
_CORRECTED = ("corrections", "repair")  # in a record: what was done by hand since
_SEGMENTS = (
    "fixedMaskSegments",
    "movingMaskSegments",
    "rigidPartsSegments",
    "slidingMaskSegments",
)
_OF_SURFACES = "surfaces"  # in the record of segments: of each pair, None for a whole node


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
        "warnings": [*facts.warnings, *request.notes],
        "asked": request.options.as_record(),
        "segments": {
            **{name: getattr(settings, name) for name in _SEGMENTS},
            _OF_SURFACES: [[_split(side)[1] for side in pair] for pair in settings.surfaces],
        },
        **dict(facts.provenance),
    }
    node.SetAttribute(RECORD, json.dumps(record, default=str))
    isInverse = Transforms.pairOf(node)[0] is request.moving  # which knows no part that slid
    for name in _NODES:
        other = None if isInverse and name == "slidingMask" else getattr(settings, name)
        node.SetNodeReferenceID(OWN_ROLES + name, other.GetID() if other is not None else None)
    for name, roles in _PAIRS.items():
        for side, role in enumerate(roles):
            node.RemoveNodeReferenceIDs(OWN_ROLES + role)
            for pair in getattr(settings, name):
                node.AddNodeReferenceID(OWN_ROLES + role, _split(pair[side])[0].GetID())


def read(node) -> Record | None:
    """What a transform node knows about how it was made; None without a record of ours."""
    record = _facts(node)
    if not record.get("model"):
        return None
    options = RegistrationOptions.from_record({**record.get("asked", {}), "model": record["model"]})
    nodes = {name: node.GetNodeReference(OWN_ROLES + name) for name in _NODES}
    for name, roles in _PAIRS.items():
        nodes[name] = tuple(zip(*(_references(node, role) for role in roles), strict=True))
    segments = dict(record.get("segments", {}))
    ofSurfaces = segments.pop(_OF_SURFACES, None) or [(None, None)] * len(nodes["surfaces"])
    nodes["surfaces"] = tuple(
        tuple(node if each is None else (node, each) for node, each in zip(*pair, strict=True))
        for pair in zip(nodes["surfaces"], ofSurfaces, strict=True)
    )
    return Record(options, nodes, segments)


def _split(side) -> tuple:
    """A node and the segment of it that is meant, or None."""
    return side if isinstance(side, tuple) else (side, None)


def _references(node, role: str) -> list:
    role = OWN_ROLES + role
    return [node.GetNthNodeReference(role, n) for n in range(node.GetNumberOfNodeReferences(role))]


def steeringPoints(node) -> list[tuple[float, ...]]:
    """Landmarks of the fixed image that steered the registration of a transform, LPS mm."""
    landmarks = _facts(node).get("landmarks") or {}
    return [tuple(point) for point in landmarks.get("fixed", ())]


def steeringKinds(node) -> list[str]:
    """Kinds of guides beside landmarks that steered, as the core's review names them."""
    from neuralreg.review.assess import steering_kinds

    return steering_kinds(_facts(node))


def slidingMask(node) -> tuple:
    """The node of the part of the fixed image that slid, and the ids of its segments.

    None twice where nothing slid; None for all segments.
    """
    mask, facts = node.GetNodeReference(f"{OWN_ROLES}slidingMask"), _facts(node)
    if mask is None or not (facts.get("sliding") or {}).get("kept"):
        return None, None
    return mask, facts.get("segments", {}).get("slidingMaskSegments")


def corrections(node) -> list[dict[str, Any]]:
    """Records of the corrections of a transform by hand, in the order of their numbers."""
    return list(_facts(node).get("corrections", ()))


def repairOf(node) -> dict[str, Any]:
    """What else is known of these corrections. sha256: of the field that the last one left.

    reversed: they were made in the other direction, which this one follows.
    """
    return dict(_facts(node).get("repair", {}))


def writeCorrections(node, corrections, output: Mapping[str, Any], isInverse: bool) -> None:
    """Write the corrections of a result into one of its directions.

    output: of the worker's job. isInverse: whether the corrections were made in the other one.
    """
    facts = {name: part for name, part in _facts(node).items() if name not in _CORRECTED}
    if corrections:
        if isInverse:
            corrections = [
                {**each, "fixed": each["moving"], "moving": each["fixed"]} for each in corrections
            ]
        named = ("before_mm", "after_mm", "largest_change_mm")
        repair = {"reversed": isInverse, **{name: output[name] for name in named}}
        if not isInverse:
            repair["sha256"] = output["sha256"]
        facts.update(corrections=corrections, repair=repair)
    node.SetAttribute(RECORD, json.dumps(facts, default=str) if facts else None)


def correctionWords(node) -> str:
    """That a transform was corrected by hand, where and by whom; "" for one that was not."""
    from neuralreg.registration.corrections.correction import Correction, in_words

    made = [Correction.from_record(each) for each in corrections(node)]
    return in_words(made) if made else ""


def isForComparison(node) -> bool:
    """Whether a transform was only registered to be compared with one of the other direction."""
    return OTHER_WAY in _facts(node)


def areOfOne(first, second) -> bool:
    """Whether two transform nodes come out of one registration: one is the other's inverse."""
    one, two = (
        {name: part for name, part in _facts(node).items() if name not in _CORRECTED}
        for node in (first, second)
    )
    return bool(one) and one == two


def _facts(node) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(node.GetAttribute(RECORD) or "{}")
    return facts
