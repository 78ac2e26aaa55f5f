"""Names of the files in the folder of a training run; needs no other package."""

from __future__ import annotations

CONFIGURATION = "config.yaml"
CURVES = "curves.csv"
PICTURE = "pair.png"
CARD = "model.json"
LOGS = "tensorboard"
CHECKPOINTS = "checkpoints"
LAST = "last.pt"  # in CHECKPOINTS: where a run goes on
BEST = "best.pt"  # in CHECKPOINTS: the best validation
