"""What `import neuralreg` offers, to people, editors and type checkers."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import neuralreg
import pytest

from Testing.support.paths import EXTENSION, ROOT

PACKAGES = ("neuralreg", "neuralreg.review", "neuralreg.training")


def typed_names(package: str) -> set[str]:
    """The names that a type checker sees in a package: its imports under TYPE_CHECKING."""
    path = EXTENSION / Path(*package.split("."), "__init__.py")
    tree = ast.parse(path.read_text("utf-8"))
    (block,) = (
        node
        for node in tree.body
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
    )
    return {name.asname or name.name for each in block.body for name in each.names}


@pytest.mark.parametrize("package", PACKAGES)
def test_the_names_for_type_checkers_are_those_that_exist(package):
    module = importlib.import_module(package)
    assert typed_names(package) | {"__version__"} == {*module.__all__, "__version__"}
    assert sorted(module.__all__) == dir(module)
    for name in module.__all__:
        assert getattr(module, name) is not None
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = module.no_such_name


def test_register_means_images_and_the_rest_of_its_name_a_registry():
    names = [name for name in neuralreg.__all__ if name.startswith("register")]
    assert sorted(names) == ["register", "register_architecture", "register_model"]


def test_a_type_checker_knows_what_register_gives(tmp_path):
    pytest.importorskip("mypy")
    script = tmp_path / "script.py"
    script.write_text(
        "import neuralreg\n"
        'result = neuralreg.register("fixed.nii.gz", "moving.nii.gz", linear="rigid")\n'
        "reveal_type(result.field)\n"
        "neuralreg.no_such_name\n"
    )
    done = subprocess.run(  # with the cache of `make lint`, where that was run
        [sys.executable, "-m", "mypy", str(script)],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert 'Revealed type is "neuralreg.geometry.field.DisplacementField"' in done.stdout
    assert 'Module has no attribute "no_such_name"' in done.stdout


@pytest.mark.parametrize("package", PACKAGES)
def test_importing_a_package_loads_nothing_heavy(package):
    heavy = ("torch", "SimpleITK", "numpy", "monai", "scipy", "pydantic", "typer")
    code = f"import sys, {package}; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
