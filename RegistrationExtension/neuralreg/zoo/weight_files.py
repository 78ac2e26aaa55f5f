"""What a file of weights is, by its content: people name and send them in many ways."""

from __future__ import annotations

import zipfile
from pathlib import Path

from neuralreg.errors import IncompatibleModel, UnreadableFile

_BEGINNING = 4096
_INFLATION = 50  # a zip that grows more than this is no file of weights
_ZIP_OF = (  # files of an archive, and the format that they make
    ("/constants.pkl", "torchscript"),
    (".npy", "numpy"),
    ("/data.pkl", "state_dict"),
    ("/archive_format", "exported"),
)
_BY_MAGIC = (
    (b"\x89HDF", "hdf5"),
    (b"\x1f\x8b", "gzip"),
    (b"version https://git-lfs", "pointer"),
)
_REFUSED = {
    "exported": (
        "a program that torch.export saved",
        "Import it with a card whose weights have the format 'exported', or save the model's "
        "state_dict() with torch.save.",
    ),
    "pointer": (
        "a pointer of Git LFS, not the weights themselves",
        "Fetch the content: `git lfs pull` in its repository, or the link 'download' of its page.",
    ),
    "page": (
        "a page of the web, not the weights",
        "The download led to a page, perhaps of a login or an error: use the direct link.",
    ),
    "hdf5": (
        "an HDF5 file, as Keras writes it",
        "Weights of Keras or TensorFlow fit no network of PyTorch as they are: convert them, or "
        "train anew from a configuration (`neuralreg convert-config` for DeepReg).",
    ),
    "gzip": ("a file packed by gzip", "Unpack it: gunzip FILE."),
    "archive": ("an archive without weights of its own", "Unpack it and name the file in it."),
    "text": ("a file of text", "Name the file of weights itself."),
    "empty": ("nothing: the file has 0 bytes", "Fetch the file again."),
}


def format_of(path: Path) -> str:
    """The format of a file of weights.

    Args:
        path: of the file, whatever its name.

    Returns:
        "state_dict" (what torch.save made, or looks like it), "torchscript", "numpy" or
        "safetensors".

    Raises:
        UnreadableFile: there is no such file.
        IncompatibleModel: it holds no weights for torch; the message says what it is.
    """
    if not path.is_file():
        raise UnreadableFile(
            "there is no file of weights", where=str(path), remedy="Check the path."
        )
    kind = _kind_of(path)
    if kind in _REFUSED:
        got, remedy = _REFUSED[kind]
        raise IncompatibleModel(
            "a file of weights cannot be used",
            where=str(path),
            got=got,
            wanted="weights of PyTorch (.pt, .pth, .ckpt), .safetensors or .npz",
            remedy=remedy,
        )
    return kind


def _kind_of(path: Path) -> str:
    with path.open("rb") as file:
        begin = file.read(_BEGINNING)
    if not begin:
        return "empty"
    if zipfile.is_zipfile(path):
        return _kind_of_archive(path)
    kind = next((name for magic, name in _BY_MAGIC if begin.startswith(magic)), "")
    if kind:
        return kind
    if begin[8:9] == b"{" and int.from_bytes(begin[:8], "little") < path.stat().st_size:
        return "safetensors"
    if begin.lstrip()[:1] == b"<":
        return "page"
    return "text" if _is_text(begin) else "state_dict"


def _kind_of_archive(path: Path) -> str:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        inflated = sum(entry.file_size for entry in archive.infolist())
    if inflated > _INFLATION * path.stat().st_size:
        raise IncompatibleModel(
            "a file of weights cannot be used",
            where=str(path),
            got=f"{inflated} bytes packed into {path.stat().st_size}",
            wanted="weights",
            remedy="Take weights from a source that you trust.",
        )
    for ending, kind in _ZIP_OF:
        if any(name.endswith(ending) for name in names):
            return kind
    return "archive"


def _is_text(begin: bytes) -> bool:
    try:
        words = begin.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return all(letter.isprintable() or letter.isspace() for letter in words)
