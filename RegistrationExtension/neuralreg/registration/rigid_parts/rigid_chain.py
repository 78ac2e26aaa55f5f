"""Rigid parts in the whole chain of a registration."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

from neuralreg.errors import InvalidOption
from neuralreg.geometry.field import DisplacementField, compose
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.linear import LinearTransform
from neuralreg.io.arguments import ImageLike, as_labels
from neuralreg.registration.guides.landmark_guide import list_names
from neuralreg.registration.image_checks import Inputs, overlap
from neuralreg.registration.rigid_parts.parts import RigidParts
from neuralreg.registration.rigid_parts.rigid_motion import make_rigid
from neuralreg.registration.working_grid import InitialTransform, add_margin

_RIGID_MM = 0.05  # that a part may deviate


def add_rigid_parts(
    inputs: Inputs, labels: ImageLike | None, chosen: tuple[int, ...] | str | None
) -> Inputs:
    """The inputs, with the parts of the fixed image that move as one piece each.

    Args:
        inputs: of the registration.
        labels: label map on the fixed side; None without rigid parts.
        chosen: its values; all of them unless given, or for "all".

    Raises:
        InvalidOption: values without a map.
        InvalidImage: the map lies outside of the fixed image, or a value is not in it.
    """
    if labels is None:
        if chosen is not None:
            raise InvalidOption(
                "rigid parts are labels of a map of the fixed image",
                got="no such map",
                remedy="Give it (--fixed-seg, in Python rigid=label_map).",
            )
        return inputs
    image = as_labels(labels, "map of rigid parts")
    overlap(image, inputs.fixed.grid, "map of rigid parts")
    values = None if chosen is None or isinstance(chosen, str) else chosen
    return replace(inputs, rigid=RigidParts.of(image, values))


@dataclass(frozen=True)
class RigidOutcome:
    """How rigid the parts are.

    Attributes:
        labels: of the parts.
        before_mm: largest deviation of each from a rigid move before.
        after_mm: the same in the result.
    """

    labels: tuple[int, ...]
    before_mm: tuple[float, ...]
    after_mm: tuple[float, ...]

    def notes(self) -> list[str]:
        """What is to be said about the parts, in words."""
        late = [
            f"{label} ({error:.2g} mm)"
            for label, error in zip(self.labels, self.after_mm, strict=True)
            if error > _RIGID_MM
        ]
        if not late:
            return []
        return [
            f"parts that are not rigid to {_RIGID_MM} mm: {list_names(late)}; without "
            "folds they do not come closer; of parts that touch, give both one label or leave a gap"
        ]

    def as_record(self) -> dict[str, object]:
        """Plain values by name, ready for JSON."""
        return asdict(self)


def hold_parts(
    added: DisplacementField, initial: InitialTransform, parts: RigidParts | None, fixed: Grid
) -> tuple[DisplacementField, DisplacementField, RigidOutcome | None]:
    """The deformation, the whole chain with rigid parts, and how rigid these are.

    On a grid as fine as the fixed image where the parts lie too close together for a coarser one.

    Args:
        added: what comes before the initial transform, mm.
        initial: what follows it.
        parts: that are to be rigid; None for none.
        fixed: grid of the fixed image.
    """
    field = compose(added, initial)
    if parts is None:
        return added, field, None
    whole, before, moves = make_rigid(field, parts)
    fine = add_margin(fixed)
    if max(parts.errors_mm(whole, moves)) > _RIGID_MM and fine.count > added.grid.count:
        added = added.resample(fine)
        field = compose(added, initial)
        whole, before, moves = make_rigid(field, parts)
    former, errors = parts.errors_mm(field, moves), parts.errors_mm(whole, moves)
    outcome = RigidOutcome(parts.labels, tuple(former), tuple(errors))
    if isinstance(initial, LinearTransform):
        return compose(whole, initial.inverse()), whole, outcome
    return compose(before, added), whole, outcome
