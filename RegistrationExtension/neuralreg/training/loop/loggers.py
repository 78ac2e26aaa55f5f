"""Records of a training: tables, TensorBoard, and lines of JSON."""

from __future__ import annotations

import csv
import json
import math
import threading
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from neuralreg.io.files import write_whole
from neuralreg.training.loop.training_loop import Report, Watcher
from neuralreg.training.run_files import CURVES

_TENSORBOARD_THREAD = "_AsyncWriterThread"


class CsvTable:
    """A line per epoch in curves.csv: epoch, step, rate, losses, and validation figures."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / CURVES

    def __call__(self, report: Report) -> None:
        """Append an epoch; lines of that epoch and later, from an earlier piece, are dropped."""
        if not report.ended:
            return
        line: dict[str, Any] = {"epoch": report.epoch, "step": report.step, "rate": report.rate}
        line |= {f"train {name}": value for name, value in report.losses.items()}
        line |= {f"valid {name}": value for name, value in report.validation.items()}
        lines = [row for row in self.lines() if int(row["epoch"]) < report.epoch]
        names = list(dict.fromkeys(name for one in (*lines, line) for name in one))
        with (
            write_whole(self.path) as draft,
            draft.open("w", newline="", encoding="utf-8") as file,
        ):
            table = csv.DictWriter(file, names)
            table.writeheader()
            table.writerows([*lines, line])

    def lines(self) -> list[dict[str, str]]:
        """The rows of the table."""
        if not self.path.is_file():
            return []
        with self.path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))


class TensorBoard:
    """Scalars of each step and epoch, and at intervals a picture of a validation pair.

    Args:
        folder: gets the event files.
        picture: gives an array (height, width, 3) in 0..255.
        every: epochs between pictures; 0 for none.
        step: from which a resumed run goes on; what is after it was interrupted.
    """

    def __init__(
        self,
        folder: Path,
        *,
        picture: Callable[[], Any] | None = None,
        every: int = 10,
        step: int = 0,
    ) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.writer: Any = SummaryWriter(
            str(folder), flush_secs=10, purge_step=step + 1 if step else None
        )
        self.picture, self.every = picture, every
        self._hook = threading.excepthook
        threading.excepthook = self._report_thread

    def _report_thread(self, failure: threading.ExceptHookArgs) -> None:
        """Leave what fails in TensorBoard's own thread, as by a full disk, to the next call.

        That raises it again; printed, it would be a traceback beside the sentence about it.
        """
        if type(failure.thread).__name__ != _TENSORBOARD_THREAD:
            self._hook(failure)

    def __call__(self, report: Report) -> None:
        """Write what a report says."""
        head = "epoch" if report.ended else "step"
        for name, value in report.losses.items():
            self.writer.add_scalar(f"{head}/{name}", value, report.step)
        for name, value in report.validation.items():
            self.writer.add_scalar(f"validation/{name}", value, report.step)
        if not report.ended:
            self.writer.add_scalar("rate", report.rate, report.step)
        elif self.picture and self.every and report.epoch % self.every == 0:
            self.writer.add_image("pair", self.picture(), report.step, dataformats="HWC")

    def close(self) -> None:
        """Write what is left."""
        try:
            self.writer.close()
        finally:
            threading.excepthook = self._hook


def json_lines(write: Callable[[str], None]) -> Watcher:
    """A watcher that gives one JSON object per report to `write`."""

    def tell(report: Report) -> None:
        write(json.dumps(_without_nan(asdict(report)), allow_nan=False))

    return tell


def _without_nan(value: Any) -> Any:
    """Plain values with null for numbers that are not finite, which JSON does not have."""
    if isinstance(value, dict):
        return {key: _without_nan(one) for key, one in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
