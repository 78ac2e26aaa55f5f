"""The findings of a review in words and colors, for tables and labels.

A verdict is always a word and a sign as well as a color: not everybody can tell the colors apart.
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


def withSign(verdict: str) -> str:
    """A verdict with its sign."""
    return f"{_SIGNS[verdict]} {word(verdict)}"


def color(verdict: str, dark: bool) -> str | None:
    """The color of a verdict on a light or dark ground; None for those that do not matter."""
    return _COLORS[verdict][dark] if verdict in _COLORS else None


def value(finding) -> str:
    """The number of a finding, with the one before and the limit."""
    if finding.value is None:
        return "-"
    text = number(finding.value, finding.unit)
    if finding.before is not None:
        text = f"{number(finding.before, '')} → {text}"
    return text if finding.limit is None else f"{text}  ({number(finding.limit, '')})"


def number(amount: float, unit: str) -> str:
    """A number of three significant digits, and its unit."""
    digits = f"{amount:.3g}" if abs(amount) < 1000 else f"{amount:.0f}"
    return f"{digits} {unit}".strip()


def headline(report) -> str:
    """The whole review in a sentence or two: HTML."""
    judged = [one for one in report.lines if one.verdict in _COLORS]
    bad = [one for one in judged if one.verdict != "pass"]
    unmeasured = sum(one.verdict == "not measured" for one in report.lines)
    if bad:
        names = ", ".join(one.title for one in bad[:3]) + ("…" if len(bad) > 3 else "")
        text = _("{count} of {all} findings need a look: {names}.")
        first = text.format(count=len(bad), all=len(judged), names=names)
    else:
        first = _("All {all} findings that have a limit pass.").format(all=len(judged))
    second = _("{count} could not be measured.").format(count=unmeasured) if unmeasured else ""
    stage = _("First numbers; the others follow.") if report.detail == "quick" else ""
    sentences = " ".join(filter(None, (first, second, stage)))
    return f"<b>{escape(withSign(report.verdict))}</b> &nbsp;{escape(sentences)}"


def details(finding) -> str:
    """Everything about a finding: HTML."""
    where = _("Measured on {count} {things}, {where}.")
    things = {"points": _("points"), "voxels": _("voxels"), "segments": _("segments")}
    parts = [f"<b>{escape(sentence(finding.words))}</b>"]
    if finding.value is not None:
        counted = things.get(finding.counted, finding.counted)
        text = where.format(count=finding.count, things=counted, where=finding.where)
        parts.append(escape(text))
    if finding.limit is not None:
        limit = _("Limit: {limit}.").format(limit=number(finding.limit, finding.unit))
        parts.append(escape(limit))
    parts.append(f"<i>{escape(finding.source)}</i>" if finding.source else "")
    return " ".join(filter(None, parts))


def sentence(words: str) -> str:
    """The words with a capital at the beginning and a stop at the end."""
    return words[:1].upper() + words[1:] + ("" if words.endswith(".") else ".")


def describeLocation(location) -> tuple[str, str]:
    """What is wrong at a location, and by how much."""
    kinds = {
        "folding": _("Folding"),
        "compression": _("Compression"),
        "expansion": _("Expansion"),
        "forward-backward": _("Not consistent"),
        "residual": _("Misaligned edges"),
        "landmark": _("Landmark"),
        "roughness": _("Jumps"),
        "coverage": _("Not covered"),
    }
    title = kinds.get(location.kind, location.kind.capitalize())
    if location.region:
        title += f", {location.region}"
    return title, number(location.value, location.unit)


def structureTable(structures) -> str:
    """Dice of each structure before and after, by names: HTML."""
    rows = "".join(
        f"<tr><td>{escape(name)}&nbsp;&nbsp;</td><td>{before:.2f} → {after:.2f}</td></tr>"
        for name, before, after in structures
    )
    return f"<table>{rows}</table>"
