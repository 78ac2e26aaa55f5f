"""The extension configures with the real cmake, and lists exactly the files that exist."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from Testing.support.paths import EXTENSION, RESOURCES, ROOT

STAND_IN = ROOT / "Testing" / "data" / "SlicerStandIn"
BUILT = "lib/Slicer-5.12/qt-scripted-modules"


def cmake_program() -> str:
    beside_python = Path(sys.executable).with_name("cmake")
    found = beside_python if beside_python.exists() else shutil.which("cmake")
    if not found:
        pytest.fail("cmake is missing: it is in the test requirements of pyproject.toml")
    return str(found)


def configure(source: Path, build: Path) -> subprocess.CompletedProcess[str]:
    command = [cmake_program(), "-S", str(source), "-B", str(build), f"-DSlicer_DIR={STAND_IN}"]
    # Nothing is compiled: no compiler is needed where none is installed.
    for language in ("C", "CXX"):
        command += [f"-DCMAKE_{language}_COMPILER={sys.executable}"]
        command += [f"-DCMAKE_{language}_COMPILER_FORCED=TRUE"]
    command += ["-DBUILD_TESTING=ON"]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture(scope="module")
def a_build(tmp_path_factory):
    build = tmp_path_factory.mktemp("build")
    done = configure(ROOT, build)
    assert done.returncode == 0, done.stderr
    return build


def listed(name: str) -> list[str]:
    text = (EXTENSION / "CMakeLists.txt").read_text()
    found = re.search(rf"set\({name}\n(.*?)\)", text, re.DOTALL)
    assert found, f"{name} is not set in {EXTENSION / 'CMakeLists.txt'}"
    return found[1].split()


def in_tree(folder: Path) -> list[str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    kept = (path for path in files if "__pycache__" not in path.parts)
    return sorted(path.relative_to(folder).as_posix() for path in kept)


def test_each_python_file_is_listed_once_and_in_order():
    assert listed("MODULE_PYTHON_SCRIPTS") == [f for f in in_tree(EXTENSION) if f.endswith(".py")]


def test_each_other_file_beside_the_scripts_is_listed():
    others = [f for f in in_tree(EXTENSION) if not f.endswith(".py") and f != "CMakeLists.txt"]
    assert listed("MODULE_PYTHON_RESOURCES") == others


def test_each_resource_is_listed_but_the_screenshots_for_the_web():
    files = in_tree(RESOURCES)
    assert listed("MODULE_RESOURCES") == [f for f in files if not f.startswith("Screenshots/")]


def test_the_extension_says_what_the_index_wants(a_build):
    lines = (a_build / "metadata.txt").read_text().splitlines()
    metadata = dict(line.split("=", 1) for line in lines)
    assert metadata["CATEGORY"] == "Registration"
    assert metadata["DEPENDS"] == "PyTorch"
    for url in ("HOMEPAGE", "ICONURL", "SCREENSHOTURLS"):
        assert metadata[url].startswith("https://")


def test_the_urls_of_icon_and_screenshot_name_files_that_exist(a_build):
    lines = (a_build / "metadata.txt").read_text().splitlines()
    for line in lines:
        if line.startswith(("ICONURL=", "SCREENSHOTURLS=")):
            for address in line.partition("=")[2].split():
                assert (RESOURCES / address.partition("/Resources/")[2]).is_file()


def test_a_built_extension_has_its_resources_beside_the_module(a_build):
    folder = a_build / BUILT
    assert (folder / "NeuralRegistration.py").is_file()
    for resource in listed("MODULE_RESOURCES"):
        assert (folder / "Resources" / resource).is_file()


def test_the_built_core_runs_from_the_build_tree(a_build, tmp_path):
    code = "import neuralreg; print(neuralreg.__file__, neuralreg.__version__)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(a_build / BUILT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.startswith(str(a_build / BUILT))


def test_a_listed_file_that_does_not_exist_is_found(tmp_path):
    source = tmp_path / "source"
    for name in ("RegistrationExtension", "Testing", "Resources"):
        shutil.copytree(ROOT / name, source / name)
    shutil.copy(ROOT / "CMakeLists.txt", source)
    (source / "RegistrationExtension" / "neuralreg" / "errors.py").unlink()
    done = configure(source, tmp_path / "build")
    assert done.returncode != 0
    assert "neuralreg/errors.py" in done.stderr


def test_the_entry_for_the_catalogue_agrees_with_the_extension(a_build):
    entry = json.loads((ROOT / "docs" / "publishing" / "NeuralRegistration.json").read_text())
    lines = (a_build / "metadata.txt").read_text().splitlines()
    metadata = dict(line.split("=", 1) for line in lines)
    assert entry.keys() == {
        "$schema",
        "build_dependencies",
        "build_subdirectory",
        "category",
        "scm_revision",
        "scm_url",
        "tier",
    }
    assert entry["$schema"].endswith("slicer-extension-catalog-entry-schema-v1.0.2.json#")
    assert " ".join(entry["build_dependencies"]) == metadata["DEPENDS"]
    assert entry["category"] == metadata["CATEGORY"]
    assert entry["scm_url"] == metadata["HOMEPAGE"] + ".git"
    assert entry["scm_url"].rpartition("/")[2].startswith("Slicer")
    assert f"/{entry['scm_revision']}/" in metadata["ICONURL"]
    assert (ROOT / entry["build_subdirectory"] / "CMakeLists.txt").is_file()
    assert entry["tier"] == 1
