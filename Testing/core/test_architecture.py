"""The direction of imports, and other things that keep the core pure."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from Testing.support.paths import EXTENSION

CORE = EXTENSION / "neuralreg"
FILES = sorted(CORE.rglob("*.py"))

# Who may import whom: a part sees itself and what stands further left; parts of one place do not
# see each other.
ORDER: tuple[tuple[str, ...], ...] = (
    ("errors", "progress"),
    ("resources",),
    ("geometry", "devices"),
    ("io", "measures"),
    ("networks",),
    ("zoo",),
    ("composition", "registration"),
    ("groups", "review", "training"),
    ("worker",),
    ("studies",),
    ("cli", "__init__"),
)
LEVEL = {part: level for level, parts in enumerate(ORDER) for part in parts}
HOSTS = {"slicer", "qt", "ctk", "vtk", "PythonQt", "mrml", "NeuralRegistrationLib"}
LONGEST = 400  # lines


def part_of(path: Path) -> str:
    """The part of the core that a file belongs to: a package, or a file beside the packages."""
    part = path.relative_to(CORE).parts[0].removesuffix(".py")
    return "cli" if part == "__main__" else part  # `python -m neuralreg` is the command line


def running(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those that only a type checker reads."""
    if isinstance(tree, ast.If) and getattr(tree.test, "id", "") == "TYPE_CHECKING":
        return
    yield tree
    for child in ast.iter_child_nodes(tree):
        yield from running(child)


def imported(path: Path) -> set[str]:
    """Full names of all modules that a file imports when it runs, at any depth."""
    names: set[str] = set()
    package = ["neuralreg", *path.relative_to(CORE).parts[:-1]]
    for node in running(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            names |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
    return names


def parts_seen(path: Path) -> set[str]:
    """The parts of the core that a file needs in order to run."""
    own = (name.split(".") for name in imported(path) if name.startswith("neuralreg."))
    return {name[1] for name in own if name[1] in LEVEL}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(CORE)))
def test_a_file_imports_only_from_parts_before_its_own(path):
    part = part_of(path)
    assert part in LEVEL, f"{part} has no place in the order of the core"
    for seen in parts_seen(path) - {part}:
        assert LEVEL[seen] < LEVEL[part], f"{part} may not import {seen}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(CORE)))
def test_the_core_knows_no_host_application(path):
    assert not {name.split(".")[0] for name in imported(path)} & HOSTS


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(CORE)))
def test_the_core_prints_nothing(path):
    calls = (n for n in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(n, ast.Call))
    printing = [call.lineno for call in calls if getattr(call.func, "id", "") == "print"]
    assert printing == []


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(CORE)))
def test_no_exception_is_swallowed(path):
    handlers = (
        node
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.ExceptHandler)
    )
    for handler in handlers:
        assert handler.type is not None, f"line {handler.lineno} catches everything"
        assert not all(isinstance(step, ast.Pass) for step in handler.body), (
            f"line {handler.lineno} drops an exception without a word"
        )


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(CORE)))
def test_a_file_is_short_enough_to_read(path):
    assert len(path.read_text("utf-8").splitlines()) <= LONGEST


def test_functions_are_short_as_a_rule():
    lengths = sorted(
        node.end_lineno - node.body[0].lineno + 1  # the body; signature and docstring are for free
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef)
    )
    assert lengths[len(lengths) // 2] <= 10
    assert lengths[int(0.9 * len(lengths))] <= 40


def test_the_relative_import_of_a_later_part_would_be_seen(tmp_path, monkeypatch):
    """The reader of imports reads all of their forms."""
    monkeypatch.setattr(sys.modules[__name__], "CORE", tmp_path)
    forms = (
        "import neuralreg.registration.engine",
        "from neuralreg import registration",
        "from neuralreg.registration.engine import register",
        "from ..registration import register",
        "from .. import registration",
        "def late():\n    from neuralreg.registration.engine import register",
    )
    path = tmp_path / "geometry" / "grid.py"
    path.parent.mkdir()
    for form in forms:
        path.write_text(form)
        assert parts_seen(path) == {"registration"}, form


def test_importing_the_package_loads_nothing_heavy():
    heavy = ("torch", "SimpleITK", "numpy", "monai", "scipy", "pydantic", "typer")
    code = f"import sys, neuralreg; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_core_never_loads_monai():
    """Slicer does not have it."""
    code = (
        "import sys, neuralreg.measures.similarity, neuralreg.measures.regularity, "
        "neuralreg.geometry.warp; print('monai' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
    for path in FILES:
        if part_of(path) != "training":  # an extra, whose packages Slicer gets on request
            assert not any(name.split(".")[0] == "monai" for name in imported(path)), path
