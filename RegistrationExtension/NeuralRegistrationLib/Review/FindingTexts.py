"""The findings of a review in words and colors, for tables and labels.

A verdict is always a word and a sign as well as a color: colors alone tell too little to too many.
"""

from __future__ import annotations

from html import escape

from slicer.i18n import tr as _

_SIGNS = {"pass": "✓", "attention": "!", "fail": "✕", "not measured": "-", "shown": "·"}
# Dark enough on white and light enough on dark gray: contrast above 4.5 on both by the style.
_COLORS = {
    "pass": ("#1b6e2e", "#7fd694"),
    "attention": ("#8a5300", "#ffc163"),
    "fail": ("#b00020", "#ff8f8f"),
}


def word(verdict: str) -> str:
    """A verdict for people."""
    return {
        "pass": _("pass"),
        "attention": _("look"),
        "fail": _("fail"),
        "not measured": _("not measured"),
        "shown": _("shown"),
    }[verdict]


def signed(verdict: str) -> str:
    """A verdict with its sign."""
    return f"{_SIGNS[verdict]} {word(verdict)}"


def color(verdict: str, dark: bool) -> str | None:
    """The color of a verdict on a light or dark ground; None for those that do not matter."""
    return _COLORS[verdict][dark] if verdict in _COLORS else None


def value(line) -> str:
    """A line's number, with what it was before and what it is held against."""
    if line.value is None:
        return "-"
    text = number(line.value, line.unit)
    if line.before is not None:
        text = f"{number(line.before, '')} → {text}"
    return text if line.limit is None else f"{text}  ({number(line.limit, '')})"


def number(amount: float, unit: str) -> str:
    """A number with as many digits as it deserves, and its unit."""
    digits = f"{amount:.3g}" if abs(amount) < 1000 else f"{amount:.0f}"
    return f"{digits} {unit}".strip()


def headline(report) -> str:
    """The whole review in a sentence or two: HTML."""
    held = [line for line in report.lines if line.verdict in _COLORS]
    bad = [line for line in held if line.verdict != "pass"]
    unmeasured = sum(line.verdict == "not measured" for line in report.lines)
    if bad:
        names = ", ".join(line.title for line in bad[:3]) + ("…" if len(bad) > 3 else "")
        text = _("{count} of {all} lines want a look: {names}.")
        found = text.format(count=len(bad), all=len(held), names=names)
    else:
        found = _("All {all} lines that are held against a limit pass.").format(all=len(held))
    rest = _("{count} could not be measured.").format(count=unmeasured) if unmeasured else ""
    stage = _("First numbers; the rest is on its way.") if report.detail == "quick" else ""
    sentences = " ".join(filter(None, (found, rest, stage)))
    return f"<b>{escape(signed(report.verdict))}</b> &nbsp;{escape(sentences)}"


def details(line) -> str:
    """Everything about a line: HTML."""
    where = _("Measured on {count} {things}, {where}.")
    things = {"points": _("points"), "voxels": _("voxels"), "segments": _("segments")}
    parts = [f"<b>{escape(sentence(line.words))}</b>"]
    if line.value is not None:
        counted = things.get(line.counted, line.counted)
        parts.append(escape(where.format(count=line.count, things=counted, where=line.where)))
    if line.limit is not None:
        held = _("Held against {limit}.").format(limit=number(line.limit, line.unit))
        parts.append(escape(held))
    parts.append(f"<i>{escape(line.source)}</i>" if line.source else "")
    return " ".join(filter(None, parts))


def sentence(words: str) -> str:
    """The words with a capital at the beginning and a stop at the end."""
    return words[:1].upper() + words[1:] + ("" if words.endswith(".") else ".")


def place(place) -> tuple[str, str]:
    """What is wrong at a place, and by how much."""
    kinds = {
        "folding": _("Folding"),
        "compression": _("Compression"),
        "expansion": _("Expansion"),
        "forward-backward": _("Not consistent"),
        "residual": _("Edges do not meet"),
        "landmark": _("Landmark"),
        "roughness": _("Jumps"),
        "coverage": _("Not covered"),
    }
    title = kinds.get(place.kind, place.kind.capitalize())
    if place.region:
        title += f", {place.region}"
    return title, number(place.value, place.unit)
