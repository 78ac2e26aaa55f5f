"""What the pre-check says of every pair: its hits and false alarms.

    python -m benchmarks.precheck

Needs the shared data beside the repository. For each model and pair,
`neuralreg.registration.model_choice` says what speaks against them; what the images really show
is in `SUITED` below, decided by eye.
A hit is an objection to an image that the model was not made for, a false alarm one to an image
that it was.
"""

from __future__ import annotations

import json

import neuralreg
from neuralreg.errors import RegistrationError
from neuralreg.registration.model_choice import ImageContent, model_concerns
from neuralreg.zoo.card import ModelCard

from benchmarks import RESULTS
from Testing.support.paths import SHARED

DATA = SHARED / "data"

# The only pairs of human brains without skull, whole, T1 on T1.
BRAINS = ("d01_brain_t1_fs",)
CTS = ("d08_ct_abdomen_gt", "d09_ct_lung_oblique_gt")
CT_AND_MR = ("d12_ct_mr_abdomen",)


def suited(card: ModelCard, pair: str, dimensions: tuple[int, int]) -> bool:
    """The truth: whether the model was made for such images."""
    if any(d not in card.input.dimensions for d in dimensions):
        return False
    if card.input.content == "brain":
        return pair in BRAINS
    if pair in CT_AND_MR:
        return "any" in card.modalities or card.output.kind == "features"
    if pair in CTS:
        return bool({"CT", "any"} & set(card.modalities))
    return True


def main() -> None:
    if not DATA.is_dir():
        raise SystemExit("the shared data does not stand beside the repository")
    manifest = json.loads((DATA / "dev" / "manifest.json").read_text())
    counts = {card.name: [0, 0, 0, 0] for card in neuralreg.list_models()}
    rows = []
    for pair in manifest["pairs"]:
        try:
            fixed, moving = (
                neuralreg.read_image(DATA / "dev" / pair[k]) for k in ("fixed", "moving")
            )
        except RegistrationError:
            continue  # a file that nobody can register
        seen = ImageContent.of(fixed), ImageContent.of(moving)
        for card in neuralreg.list_models():
            truth = suited(card, pair["id"], (seen[0].dimension, seen[1].dimension))
            found = [each.in_words() for each in model_concerns(card, *seen)]
            counts[card.name][2 * truth + bool(found)] += 1
            rows.append({"pair": pair["id"], "model": card.name, "suited": truth, "said": found})
    print(f"{'model':32}{'hits':>6}{'missed':>8}{'false alarms':>14}{'rightly silent':>16}")
    for name, (missed, hits, silent, alarms) in counts.items():
        print(f"{name:32}{hits:6}{missed:8}{alarms:14}{silent:16}")
    for row in rows:
        if row["suited"] == bool(row["said"]):
            print(("false alarm: " if row["suited"] else "missed: "), row)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "precheck.json").write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
