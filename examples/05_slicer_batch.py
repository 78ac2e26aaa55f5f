"""Many pairs on MRML nodes: 05_slicer_batch.py [FOLDER]

Runs in Slicer (paste it into the console without `HeadlessScene`, which the application has no need
of) and with the package `slicer-core` alone, which has MRML but no window.
"""

from __future__ import annotations

import sys
from pathlib import Path

from made_images import make_pair
from NeuralRegistrationLib import HeadlessScene, register

scene = HeadlessScene()  # the application has a scene already

import slicer  # noqa: E402
import slicer.util  # noqa: E402
from SimpleITK import GetArrayFromImage  # noqa: E402


def add_volume(image, name):
    """A volume node with the values of an image around the origin."""
    node = slicer.util.addVolumeFromArray(GetArrayFromImage(image), None, name)
    spacing = image.GetSpacing()
    node.SetSpacing(*spacing)
    node.SetOrigin(*(-s * (n - 1) / 2 for s, n in zip(spacing, image.GetSize(), strict=True)))
    return node


folder = Path(sys.argv[1] if len(sys.argv) > 1 else "batch")
folder.mkdir(parents=True, exist_ok=True)
for number, size in enumerate((24, 32)):
    fixed, moving = make_pair(size)
    nodes = add_volume(fixed, f"fixed {number}"), add_volume(moving, f"moving {number}")
    done = register(*nodes)
    outcome = done.result.outcome
    print(f"pair {number}: {outcome.similarity_initial:.3f} -> {outcome.similarity_final:.3f}")
    scene.save(folder / f"pair{number}.mrb")
    done.revert()  # the scene is as it was; the inputs never changed
