"""Names say what a thing is or does: files, functions and variables."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from Testing.support.paths import EXTENSION

CORE = EXTENSION / "neuralreg"
FILES = sorted([*CORE.rglob("*.py"), *(EXTENSION / "NeuralRegistrationLib").rglob("*.py")])
MODULES = [path for path in CORE.rglob("*.py") if not path.name.startswith("__")]
# fmt: off
PARTICIPLES = {
    "accepted", "added", "completed", "diverged", "flipped", "limited", "segmented", "trusted",
    "answered", "asked", "bent", "born", "brought", "built", "called", "changed", "chosen",
    "computed", "covered", "covering", "cut", "deformed", "died", "done", "downsampled",
    "drawn", "enhanced", "failed", "fetched", "filled", "finished", "fitted", "folded",
    "found", "given", "gone", "grown", "handed", "held", "hung", "inverted", "joined", "kept",
    "known", "laid", "lent", "listed", "loaded", "lost", "made", "meant", "measured",
    "merged", "missing", "moved", "named", "normalized", "offered", "packed", "painted",
    "placed", "predicted", "refined", "registered", "removed", "repeated", "resampled",
    "running", "said", "saved", "scaled", "seen", "sent", "sheared", "shifted", "shown",
    "smoothed", "solved", "sought", "spent", "stood", "stopped", "stored", "taken", "taught",
    "told", "torn", "tried", "turned", "understood", "used", "waiting", "warped", "won",
    "worn", "written",
}
# fmt: on
EMPTY = {"found", "place", "here", "told", "brought", "shown", "there", "seen", "answer"}
# A key of configurations.
KEYS = {("schema.py", "answer")}
MOST_MODULES = 16
LONG_FOLDERS = {"networks", "cli"}  # one file per architecture, one per command


def names_in(path: Path) -> Iterator[tuple[int, str, bool]]:
    """Line, name and whether it is a function's, of all that a file defines."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.lineno, node.name, True
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg, False
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id, False


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(EXTENSION)))
def test_a_function_is_named_by_a_verb_or_by_what_it_computes(path):
    bare = [(line, name) for line, name, function in names_in(path) if function]
    assert [pair for pair in bare if pair[1].strip("_") in PARTICIPLES] == []


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(EXTENSION)))
def test_no_name_leaves_open_what_it_holds(path):
    empty = [
        (line, name)
        for line, name, _ in names_in(path)
        if name.strip("_") in EMPTY and (path.name, name) not in KEYS
    ]
    assert empty == []


def test_the_name_of_a_module_is_that_of_one_file_or_of_a_command_and_what_it_runs():
    folders = defaultdict(set)
    for path in MODULES:
        folders[path.stem].add(path.parent.name)
    twice = {name: where for name, where in folders.items() if len(where) > 1}
    for name, where in twice.items():
        assert len(where) == 2, f"{name}.py is in {sorted(where)}"
        assert "cli" in where, f"{name}.py is in {sorted(where)}"
        assert is_command(name), f"cli/{name}.py is no command, but has the name of another file"


def is_command(name: str) -> bool:
    """Whether a file of that name in cli holds a command."""
    return f"from neuralreg.cli.{name} import" in (CORE / "cli" / "main.py").read_text("utf-8")


def test_a_folder_is_short_enough_to_look_through():
    counts: dict[Path, int] = defaultdict(int)
    for path in FILES:
        counts[path.parent] += path.name != "__init__.py"
    many = {f.name: n for f, n in counts.items() if n > MOST_MODULES and f.name not in LONG_FOLDERS}
    assert many == {}


def test_a_bare_participle_and_an_empty_name_would_be_seen(tmp_path):
    path = tmp_path / "a.py"
    path.write_text("def bent(found):\n    there = found\n")
    assert list(names_in(path)) == [(1, "bent", True), (1, "found", False), (2, "there", False)]
