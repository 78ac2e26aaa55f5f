"""The letters of a PDF: which font prints a text, and what no font that is here can print.

The fonts that every reader has know Latin-1 only. Others are embedded, as far as they are used,
from a package that ships them under a free license: DejaVu Sans inside of matplotlib, for Latin,
Greek, Cyrillic, Armenian and Georgian. Scripts that are written from right to left or whose
letters join need more than a font and are not printed.
"""

from __future__ import annotations

import importlib.util
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fpdf import FPDF

_PLAIN = str.maketrans(
    {"\u2264": "<=", "\u2265": ">=", "\u2013": "-", "\u2014": "-", "\u2019": "'"}
)
_FONTS = Path("mpl-data") / "fonts" / "ttf"
_FILES = {"": "DejaVuSans.ttf", "B": "DejaVuSans-Bold.ttf"}
_JOINED = ("R", "AL", "AN", "NSM")  # kinds of letters, as Unicode's bidirectional classes
_PACKAGE = "matplotlib"


@dataclass(frozen=True)
class Letters:
    """What a PDF can print.

    Attributes:
        family: Of the font.
        missing: Letters that are printed as question marks.
    """

    family: str
    missing: frozenset[str]

    def printable(self, text: str) -> str:
        """The text as it will be printed."""
        plain = text.translate(_PLAIN) if self.family == "Helvetica" else text
        return "".join("?" if letter in self.missing else letter for letter in plain)

    @property
    def note(self) -> str:
        """A sentence about letters that are missing; "" if none is."""
        if not self.missing:
            return ""
        remedy = (
            f"Install the package {_PACKAGE} for its font, or see"
            if font_folder() is None
            else "No font here has them: see"
        )
        return (
            f"{len(self.missing)} letters of names in this report cannot be printed and appear as "
            f"question marks. {remedy} the HTML report, which has them all."
        )


def choose_fonts(pdf: FPDF, texts: Iterable[str]) -> Letters:
    """Choose and add the fonts that these texts need."""
    letters = set("".join(texts).translate(_PLAIN)) - set("\n\t")
    foreign = {letter for letter in letters if not _is_latin(letter)}
    folder = font_folder()
    if not foreign or folder is None:
        return Letters("Helvetica", frozenset(foreign))
    from fpdf.fonts import TTFFont

    for style, name in _FILES.items():
        pdf.add_font("DejaVu", style, folder / name)
    font = pdf.fonts["dejavu"]
    glyphs = font.cmap if isinstance(font, TTFFont) else {}
    missing = {one for one in foreign if ord(one) not in glyphs or _needs_shaping(one)}
    return Letters("DejaVu", frozenset(missing))


def font_folder() -> Path | None:
    """The folder of the fonts; None without them. Nothing is imported."""
    try:
        spec = importlib.util.find_spec(_PACKAGE)
    except (ImportError, ValueError):
        return None
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        if all((Path(folder) / _FONTS / name).is_file() for name in _FILES.values()):
            return Path(folder) / _FONTS
    return None


def _is_latin(letter: str) -> bool:
    return ord(letter) < 256


def _needs_shaping(letter: str) -> bool:
    return unicodedata.bidirectional(letter) in _JOINED
