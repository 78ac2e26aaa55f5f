"""A transform from FSL to ANTs, SPM and FreeSurfer: 06_transform_exchange.py [OUTPUT FOLDER]

The same on the command line:
`neuralreg convert flirt.mat --from fsl -o t.lta --fixed FIXED --moving MOVING`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import neuralreg
import SimpleITK as sitk
from made_images import make_pair
from neuralreg.io.exchange.families import FAMILIES, WRITERS, read_content
from neuralreg.io.exchange.sides import Sides
from neuralreg.io.transform_chains import write_content

out = Path(sys.argv[1] if len(sys.argv) > 1 else "exchanged")
out.mkdir(parents=True, exist_ok=True)
sides = Sides(out / "fixed.nii.gz", out / "moving.nii.gz")
for image, path in zip(make_pair(), (sides.fixed, sides.moving), strict=True):
    sitk.WriteImage(image, str(path))

# A matrix of flirt: moving to fixed, between voxels times their size. A bare matrix may be of
# several programs, so the program is named; files with a mark (SPM, ITK, AFNI, ...) need no name.
(out / "flirt.mat").write_text("1 0 0 4\n0 1 0 -3\n0 0 1 2\n0 0 0 1\n")
content, family = read_content(out / "flirt.mat", sides, source="fsl")
print(f"{FAMILIES[family].program}: {FAMILIES[family].linear}")
transform = neuralreg.read_transform(
    out / "flirt.mat", fixed=sides.fixed, moving=sides.moving, source="fsl"
)
print("fixed to moving, LPS mm:", transform.matrix[:3, 3].round(3).tolist())

for name, target in (("t.tfm", "itk"), ("t.lta", "freesurfer"), ("y_t.nii", "spm")):
    notes: list[str] = []
    write_content(content, out / name, target, sides, notes)
    again, found = read_content(out / name, sides)
    use = WRITERS[target].use if target in WRITERS else "antsApplyTransforms -t FILE"
    print(f"wrote {out / name} for {FAMILIES[found].program}; apply with: {use}")
    for note in notes:
        print("note:", note)
