"""The snippets in the pages of the documentation."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from Testing.support.command_line import neuralreg

IN_SLICER = "NeuralRegistrationLib"  # in a snippet: it needs a scene
# Of the system, or of a development checkout; what downloads from elsewhere.
_NOT_RUN = ("pip install", "make ", "tensorboard ", "neuralreg models get ")
_FEW_STEPS = ["--set", "training.max_steps=3"]
_MAY_FIND_SOMETHING = "review"  # and say so by exit code 1


def run_page(page: Path, count: int | None = None, **given: object) -> dict[str, object]:
    """Runs the Python of a page, or its first `count` blocks, in the current folder.

    Args:
        page: Markdown.
        count: all blocks unless given.
        given: names that are there already, as in a console.

    Returns:
        The names that it makes, and all blocks as "blocks".
    """
    blocks = blocks_of(page, "python")
    names: dict[str, object] = {**given, "__name__": page.name, "blocks": blocks}
    assert blocks
    for block in blocks[:count]:
        exec(compile(block, str(page), "exec"), names)
    return names


def commands_of(page: Path) -> list[list[str]]:
    """The `neuralreg` commands in the shell blocks of a page, as lists of arguments."""
    blocks = blocks_of(page, "sh")
    lines = [shlex.split(line, comments=True) for block in blocks for line in block.splitlines()]
    return [line[1:] for line in lines if line[:1] == ["neuralreg"]]


def blocks_of(page: Path, language: str) -> list[str]:
    """The blocks of a page in a language, as text."""
    text = page.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def snippets_of(page: Path) -> list[tuple[str, str]]:
    """The Python and shell blocks of a page in their order: language and text."""
    text = page.read_text(encoding="utf-8")
    return re.findall(r"^```(python|sh)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def run_snippets(
    page: Path, names: dict[str, object], wanted: Callable[[str], bool] = lambda text: True
) -> dict[str, object]:
    """Runs the snippets of a page in their order, in the current folder.

    A Python block that begins with the name of a file is written to it, too. Trainings make few
    steps; lines of other programs are not run.

    Args:
        page: of the documentation.
        names: that the page takes for granted.
        wanted: which snippets are run, by their text.

    Returns:
        All names that the Python of the page makes.
    """
    for language, text in snippets_of(page):
        if not wanted(text):
            continue
        if language == "sh":
            for line in text.replace("\\\n", " ").splitlines():
                _run_line(line)
            continue
        file = re.match(r"# (\w+\.py)\b", text)
        if file:
            Path(file[1]).write_text(text, encoding="utf-8")
        exec(compile(text, str(page), "exec"), names)
    return names


def _run_line(line: str) -> None:
    """A line of a shell block; one of a program that nobody has thought of fails."""
    if not line.strip() or line.startswith(("#", *_NOT_RUN)):
        return
    if line.startswith("python -m "):
        words = [sys.executable, *shlex.split(line, comments=True)[1:]]
        done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        assert done.returncode == 0, (line, done.stderr)
        return
    words = _expand(line)
    assert words[0] == "neuralreg", f"what runs `{line}`?"
    few = _FEW_STEPS if words[1] == "train" else []
    outcome = neuralreg(*words[1:], *few)
    assert outcome.exit_code <= (words[1] == _MAY_FIND_SOMETHING), (line, outcome.stderr)


def _expand(line: str) -> list[str]:
    """The words of a line as the shell gives them to the program."""
    if "$" not in line:
        return shlex.split(line, comments=True)
    said = subprocess.run(["sh", "-c", f"printf '%s\\n' {line}"], capture_output=True, text=True)
    return said.stdout.splitlines()
