"""Two images to a transform: 01_register.py [FIXED MOVING] [OUTPUT FOLDER]"""

from __future__ import annotations

import sys
from pathlib import Path

import neuralreg
import SimpleITK as sitk
from made_images import make_pair

fixed, moving = sys.argv[1:3] if len(sys.argv) > 2 else make_pair()
out = Path(sys.argv[-1] if len(sys.argv) in (2, 4) else "registered")
out.mkdir(parents=True, exist_ok=True)

# Paths, SimpleITK and nibabel images are taken alike.
result = neuralreg.register(fixed, moving)

outcome = result.outcome
print(f"model {result.model}, {sum(result.timings.values()):.1f} s")
print(f"{outcome.similarity}: {outcome.similarity_initial:.3f} -> {outcome.similarity_final:.3f}")
print(f"folds {outcome.folding_percent:.4f} %, inverse to {outcome.inverse_error_max_mm:.3f} mm")
for warning in result.warnings:
    print("note:", warning)

# The moving image on the fixed image's grid, resampled once.
warped = neuralreg.warp(moving, result.field, fixed)
neuralreg.write_image(warped, out / "warped.nii.gz")

# Both directions as files that ITK, ANTs and 3D Slicer read.
neuralreg.write_transform(result.field, out / "fixed_to_moving.nii.gz")
neuralreg.write_transform(result.inverse_field, out / "moving_to_fixed.nii.gz")

# Or as ITK transforms in memory: images go through fixed_to_moving, points through the other one.
reference = sitk.ReadImage(fixed) if isinstance(fixed, str) else fixed
point = result.moving_to_fixed.TransformPoint(
    reference.TransformContinuousIndexToPhysicalPoint([n / 2 for n in reference.GetSize()])
)
print("the moving image's middle is at", [round(c, 1) for c in point], "of the fixed image")
