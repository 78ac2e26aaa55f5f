"""Files that are written completely or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
import platform
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PureWindowsPath
from stat import S_ISREG

from neuralreg.errors import UnreadableFile, UnwritableOutput

_ABANDONED_S = 600.0  # a draft is written in less; processes of other containers are not seen
_AGAIN = "Copy or download the file again."
_POINTER = b"version https://git-lfs"
_DAMAGE = "it is damaged"
MAKE_ROOM = "Make room on that disk, or choose another one."
SERIES_MARK = "::"  # between a folder and one of its series: no system has it in names of files
MAC_FILES = "._"  # how macOS begins its own files beside others on foreign disks
DRAFTS = ".writing-*"  # folders in which files are written before they get their names
VALUES = {  # endings of the file of values, by that of the header
    ".mhd": (".raw", ".zraw", ".raw.gz"),
    ".nhdr": (".raw", ".raw.gz"),
    ".hdr": (".img", ".img.gz"),
}


def suffix_of(path: Path) -> str:
    """The suffix that gives the format, in lower case: ".nii.gz", ".nrrd", ..."""
    name = path.name.lower()
    return next((double for double in (".nii.gz",) if name.endswith(double)), path.suffix.lower())


def require_existing(path: Path) -> Path:
    """The path, if something exists there; of a series in a folder the folder is looked for.

    Raises:
        UnreadableFile: there is nothing.
    """
    container = container_of(path)
    try:
        facts = container.stat()
    except OSError as error:
        raise UnreadableFile(
            f"{path} cannot be opened",
            got=f"a link to {container.readlink()}, which is not there"
            if container.is_symlink()
            else error.strerror or "",
            remedy=_missing_remedy(container),
        ) from error
    if S_ISREG(facts.st_mode) and facts.st_size == 0:
        raise UnreadableFile(f"{path} is empty", got="0 bytes", remedy=_AGAIN)
    return path


def _missing_remedy(path: Path) -> str:
    if path.is_symlink():
        return "Fetch what it stands for, for example with datalad get, or correct the link."
    if path.parts[:1] and path.parts[0].startswith("~"):
        return "Write out what ~ stands for: only a shell does that, and not within quotes."
    return "Check the path."


def require_no_pointer(path: Path, start: bytes) -> None:
    """Check that a file is not what Git LFS leaves in place of one that was not fetched.

    Args:
        path: of the file.
        start: its first bytes.

    Raises:
        UnreadableFile: it is.
    """
    if start.startswith(_POINTER):
        raise UnreadableFile(
            f"{path} is a pointer of Git LFS, not the file itself",
            remedy="Fetch it with git lfs pull.",
        )


def split_series(path: Path) -> tuple[Path, str]:
    """What a path such as `study::3` leads to, and what it names in it; else the path and "".

    A folder has series of DICOM or levels of OME-Zarr, a scene of 3D Slicer (.mrb) nodes.
    """
    container, _, name = str(path).rpartition(SERIES_MARK)
    if not name or not container or path.exists():
        return path, ""
    holds_several = Path(container).is_dir() or container.lower().endswith(".mrb")
    return (Path(container), name) if holds_several else (path, "")


def container_of(path: Path) -> Path:
    """The file or folder that a path leads to, without the series that it may name."""
    return split_series(path)[0]


def remove_path(path: Path) -> None:
    """Delete a file, a link, or a folder with all in it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, unless it is there.

    Raises:
        UnwritableOutput: that is not allowed, or a file has its name.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UnwritableOutput(
            f"{folder} cannot be made",
            got=error.strerror or str(error),
            remedy="Choose a folder that you may write to.",
        ) from error


def path_from(folder: Path, name: str) -> Path:
    """The file that a text in a folder names, on this system or another one.

    Args:
        folder: of the file that has the name in it.
        name: absolute, or relative to the folder; with the separators of any system.
    """
    path = folder / name
    if not path.exists() and "\\" in name:
        other = PureWindowsPath(name)
        return path if other.is_absolute() else folder.joinpath(*other.parts)
    return path


@contextmanager
def draft_folder(folder: Path, *, last: str, overwrite: bool = True) -> Iterator[Path]:
    """A folder to write to; after the block, without an error, its files go to `folder`.

    Until then nothing in `folder` changes, and an error in the block leaves nothing behind. What a
    process that was killed left there goes with the next one that writes.

    Args:
        folder: where the files go; it must exist.
        last: the file that is moved at the end, so that a reader who sees it sees all others.
        overwrite: whether a file of the same name is replaced.

    Raises:
        UnwritableOutput: when the folder is missing or not writable, the disk is full, or a file is
            there that must not be replaced.
    """
    try:
        _clear_abandoned(folder)
        prefix = f"{_draft_prefix()}{os.getpid()}-"
        with tempfile.TemporaryDirectory(dir=folder, prefix=prefix) as draft:
            yield Path(draft)
            for file in sorted(Path(draft).iterdir(), key=lambda file: file.name == last):
                if overwrite:
                    file.replace(folder / file.name)
                else:
                    _move_to_free(file, folder / file.name)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        raise UnwritableOutput(
            f"{folder} cannot be written to",
            got=error.strerror or str(error),
            remedy=MAKE_ROOM if full else "Choose a folder that exists and that you may write to.",
        ) from error


def _draft_prefix() -> str:
    """How drafts of this machine begin; the number of the process follows."""
    return f"{DRAFTS.removesuffix('*')}{re.sub('[^A-Za-z0-9]', '', platform.node())}-"


def _clear_abandoned(folder: Path) -> None:
    """Remove old drafts of processes of this machine that no longer run."""
    if os.name == "nt":  # where asking for a process would end it
        return
    prefix = _draft_prefix()
    for draft in folder.glob(f"{prefix}*-*"):
        number = draft.name.removeprefix(prefix).split("-")[0]
        if number.isdigit() and _is_old(draft) and not _runs(int(number)):
            shutil.rmtree(draft, ignore_errors=True)


def _is_old(draft: Path) -> bool:
    try:
        return time.time() - draft.stat().st_mtime > _ABANDONED_S
    except FileNotFoundError:  # another writer has just finished it
        return False


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _move_to_free(file: Path, path: Path) -> None:
    """Move a file to where none is, also when another program writes there at the same time."""
    try:
        path.hardlink_to(file)  # fails where a file is
    except OSError as error:
        if path.exists():
            raise UnwritableOutput(
                f"{path} exists", remedy="Choose another name or --overwrite."
            ) from error
        file.replace(path)  # a file system without hard links


def require_no_input(path: Path, inputs: Iterable[Path]) -> None:
    """Raise UnwritableOutput when writing a file would replace an input, however it is named.

    Args:
        path: of the file to write.
        inputs: files that are read; a header stands for the file of its values too.
    """
    for source in inputs:
        for written in _with_values(path):
            for read in _with_values(source):
                if written.exists() and read.exists() and written.samefile(read):
                    raise UnwritableOutput(
                        f"{path} would replace an input of this command",
                        got=str(read),
                        remedy="Choose another name.",
                    )


def require_free(path: Path, overwrite: bool, inputs: Iterable[Path | None] = ()) -> None:
    """Raise UnwritableOutput when there is a file that must not be replaced.

    Args:
        path: of the file to write.
        overwrite: whether another file may be replaced.
        inputs: of the command, None for those not given; they are never replaced.
    """
    require_no_input(path, (each for each in inputs if each is not None))
    if path.exists() and not overwrite:
        raise UnwritableOutput(f"{path} exists", remedy="Choose another name or --overwrite.")


def _with_values(path: Path) -> list[Path]:
    """A file, and where its format keeps the values in a file of their own."""
    return [path, *(path.with_suffix(end) for end in VALUES.get(suffix_of(path), ()))]


@contextmanager
def write_whole(path: Path) -> Iterator[Path]:
    """A path to write to; when the block ends without an error, the file is moved to `path`.

    A format of several files (.mhd, .nhdr) is moved with its header last.

    Args:
        path: where the file goes; it is replaced if it exists.

    Raises:
        UnwritableOutput: when `path` is a folder, its folder is missing or not writable, or the
            disk is full.
    """
    if path.is_dir():
        raise UnwritableOutput(f"{path} is a folder", wanted="the name of a file")
    with draft_folder(path.parent, last=path.name) as folder:
        yield folder / path.name


class _Quiet:
    """How many readers want the terminal quiet at this moment, and what it was like before."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.readers = 0
        self.display = True
        self.terminal = -1

    def enter(self) -> None:
        import SimpleITK as sitk  # the rest of this file is for panels too, which start without it

        with self.lock:
            self.readers += 1
            if self.readers > 1:
                return
            self.display = sitk.ProcessObject.GetGlobalWarningDisplay()
            sitk.ProcessObject.SetGlobalWarningDisplay(False)
            try:
                self.terminal = os.dup(2)
            except OSError:  # a program with windows has none
                self.terminal = -1
                return
            sink = os.open(os.devnull, os.O_WRONLY)
            os.dup2(sink, 2)
            os.close(sink)

    def leave(self) -> None:
        import SimpleITK as sitk

        with self.lock:
            self.readers -= 1
            if self.readers:
                return
            sitk.ProcessObject.SetGlobalWarningDisplay(self.display)
            if self.terminal >= 0:
                os.dup2(self.terminal, 2)
                os.close(self.terminal)


_quiet = _Quiet()


@contextmanager
def quiet_itk() -> Iterator[None]:
    """Keep ITK's own warnings off the terminal, where this package reports in its own words.

    Some of its libraries write to standard error themselves, so that too is closed meanwhile.
    """
    _quiet.enter()
    try:
        yield
    finally:
        _quiet.leave()


def writing_error(path: Path, error: Exception) -> UnwritableOutput:
    """The error for a file that ITK could not write, or only a part of.

    Args:
        path: where it should be.
        error: of ITK, or of reading what was written.
    """
    reason = itk_reason(error) if isinstance(error, RuntimeError) else _DAMAGE
    return UnwritableOutput(
        f"{path} cannot be written",
        got="only a part of it could be stored" if reason == _DAMAGE else reason,
        remedy=MAKE_ROOM,
    )


def itk_reason(error: RuntimeError) -> str:
    """The last line of an ITK exception, which says what is wrong, without the object's address."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    reason = lines[-1].removeprefix("sitk::ERROR: ").removeprefix("ITK ERROR: ") if lines else ""
    reason = re.sub(r"^\w+\(0x[0-9a-f]+\): ", "", reason).rstrip(".")
    # Of the last failed call of the operating system, whatever that was.
    return _DAMAGE if reason.startswith("Reason: ") else reason


def files_in(folder: Path) -> list[Path]:
    """The files of a folder in order of their names; of Zarr also those of its subfolders."""
    every = folder.rglob("*") if folder.suffix.lower() == ".zarr" else folder.iterdir()
    return sorted(file for file in every if file.is_file())


def sha256_of(path: Path) -> str:
    """The hash of a file's content; of a folder, that of its files in order of their names.

    A series counts with all files of its folder.
    """
    path = container_of(path)
    if path.is_dir():
        hashes = [sha256_of(file) for file in files_in(path)]
        return hashlib.sha256("".join(hashes).encode()).hexdigest()
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
