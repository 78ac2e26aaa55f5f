"""`slicer.i18n`: texts in the user's language, which is English here."""

from __future__ import annotations

from types import ModuleType

import slicer


def translate(context, text):
    """The text in the language of the application."""
    return slicer.app.translate(context, text)


def tr(text):
    """The same with the file as context."""
    return translate("", text)


def i18n_module() -> ModuleType:
    """The module with both."""
    made = ModuleType("slicer.i18n")
    made.tr, made.translate = tr, translate
    return made
