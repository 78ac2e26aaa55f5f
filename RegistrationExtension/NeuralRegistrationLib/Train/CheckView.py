"""What a check of the data came to, in the Train panel."""

from __future__ import annotations

from pathlib import Path

from slicer.i18n import tr as _

_MOST = 100  # problems, and as many remarks; whoever has more mends these first


class CheckView:
    """How many images and pairs there are, what is wrong with them, and what was remarked."""

    def __init__(self, ui) -> None:
        self.ui = ui

    def clear(self) -> None:
        """Nothing is known about the data."""
        self.show({"images": {}, "pairs_per_epoch": {}, "problems": [], "remarks": []})

    def show(self, report: dict) -> None:
        """Show the report of `neuralreg train --check`."""
        ui, counts = self.ui, _counts(report)
        problems = [*_problems(report), *report["remarks"][:_MOST]]
        ui.trainDataLabel.text, ui.trainDataLabel.visible = "\n".join(counts), bool(counts)
        ui.trainProblemsText.plainText = "\n".join(problems)
        ui.trainProblemsText.visible = bool(problems)


def _counts(report: dict) -> list[str]:
    titles = {"train": _("Training"), "valid": _("Validation"), "test": _("Test")}
    text = _("{split}: {count} images, {pairs} pairs in an epoch")
    return [
        text.format(split=titles[split], count=count, pairs=report["pairs_per_epoch"].get(split, 0))
        for split, count in report["images"].items()
    ]


def _problems(report: dict) -> list[str]:
    """A line for each, with the names of files instead of their paths."""
    lines = []
    for one in report["problems"][:_MOST]:
        where, what = one["where"], one["what"]
        name = Path(where).name
        what = what.replace(where, name)
        lines.append(what if name in what else f"{name}: {what}")
    more = len(report["problems"]) - len(lines)
    return lines + [_("and {count} more").format(count=more)] * (more > 0)
