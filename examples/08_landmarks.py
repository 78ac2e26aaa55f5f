"""Landmarks that steer, and a correction by hand: 08_landmarks.py [OUTPUT FOLDER]"""

from __future__ import annotations

import sys
from pathlib import Path

import neuralreg
import numpy as np
from made_images import make_pair
from neuralreg import FieldRefinement, LandmarkGuide

out = Path(sys.argv[1] if len(sys.argv) > 1 else "steered")
out.mkdir(parents=True, exist_ok=True)
fixed, moving = make_pair()


def partner_of(point: np.ndarray) -> np.ndarray:
    """Where the made moving image shows a point of the fixed one, LPS mm."""
    x, y, z = point.T
    return np.stack([x + 4 + 2 * np.sin(y / 15), y - 3, z + 2 * np.cos(x / 18)], -1)


# The moving image was made by looking up the fixed one there: a person would see the pairs.
places = np.array([[10.0, -12, 5], [-12, 9, -6], [0, 20, 10], [15, 5, -12], [-8, -18, 2]])
guide = LandmarkGuide(partner_of(places).tolist(), places.tolist(), tolerance_mm=1.0)

quick = FieldRefinement(steps=4)  # an example need not be exact
result = neuralreg.register(fixed, moving, landmarks=guide, refinement=quick)
print(*result.warnings, sep="\n")

# Somebody finds one place still wrong and says where it belongs; only its neighborhood moves.
wrong = np.array([[-15.0, -10.0, 8.0]])
correction = LandmarkGuide(partner_of(wrong).tolist(), wrong.tolist(), names=("edge",))
corrected = neuralreg.repair(result, correction, radius_mm=15.0)
for name, one in (("before", result), ("after", corrected)):
    gap = np.linalg.norm(one.field(partner_of(wrong)) - wrong)
    print(f"{name}: {gap:.2f} mm off")
neuralreg.write_transform(corrected.field, out / "fixed_to_moving.nii.gz")
