"""Names in the folder of a training run and of its figures; needs no other package."""

from __future__ import annotations

CONFIGURATION = "config.yaml"
CURVES = "curves.csv"
PICTURE = "pair.png"
CARD = "model.json"
LOGS = "tensorboard"
CHECKPOINTS = "checkpoints"
LAST = "last.pt"  # in CHECKPOINTS: where a run goes on
BEST = "best.pt"  # in CHECKPOINTS: the best validation
CODE = "code"  # Python files of the user's own that a run needs
HISTORY = "history.json"  # when the run began and was resumed, and what was changed then
REPLACED = "replaced"  # an earlier run, until the one that replaces it has a checkpoint
MARKS = (CHECKPOINTS, LOGS, HISTORY, CARD, CODE)  # beside CONFIGURATION: it is that of a run
HIGHER_IS_BETTER = ("dice",)  # figures of a validation
