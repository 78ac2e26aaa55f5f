"""One file over HTTP: resumed, checked, and under its own name only when it is whole."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from neuralreg.errors import UnwritableOutput, WeightsUnavailable
from neuralreg.progress import Progress

if TYPE_CHECKING:
    import requests

_CHUNK = 1 << 16
_TRIES = 4
_PAUSE_S = 0.5  # doubled after each try
_TIMEOUT_S = 30
_ABANDONED_S = 120  # a running download writes more often than that


def download_file(url: str, path: Path, check: Callable[[Path], None], progress: Progress) -> Path:
    """The file at a URL, downloaded to `path`; an interrupted transfer is resumed, several times.

    Args:
        url: of the file.
        path: where it goes; a file that exists already is kept.
        check: raises when the file is not the right one, which then never gets its name.
        progress: gets the fraction and the megabytes so far.

    Raises:
        WeightsUnavailable: the server does not provide it.
        UnwritableOutput: it cannot be written.
    """
    import requests

    if path.is_file():
        return path
    part = _Part(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _fetch(url, part.take(), progress)
        _check_and_move(part.take(), path, check)
    except requests.RequestException as error:
        raise WeightsUnavailable(
            "a download failed",
            where=url,
            got=_in_words(error),
            remedy="Check the connection and try again: the download resumes where it stopped. "
            "Without a network, copy the file here and import it.",
        ) from error
    except OSError as error:
        raise UnwritableOutput(
            "a download cannot be written",
            where=str(path.parent),
            got=str(error),
            remedy="Free some space, or set NEURALREG_CACHE to another folder.",
        ) from error
    finally:
        part.release()
    return path


def _in_words(error: requests.RequestException) -> str:
    response = error.response
    return f"{response.status_code} {response.reason}" if response is not None else str(error)


class _Part:
    """The beginning of a file, kept from one try to the next.

    A process takes it by renaming it to a name of its own, so that two never write to one file.
    """

    def __init__(self, final: Path) -> None:
        self.kept = final.with_name(final.name + ".part")
        self.own = final.with_name(f"{final.name}.{uuid4().hex}.part")

    def take(self) -> Path:
        """The partial file of this process: an earlier one, if no process writes to it."""
        if not self.own.exists():
            name = self.kept.name.removesuffix(".part")
            for part_file in (self.kept, *self.kept.parent.glob(f"{name}.*.part")):
                with suppress(FileNotFoundError):  # another process was quicker
                    if (
                        part_file == self.kept
                        or time.time() - part_file.stat().st_mtime > _ABANDONED_S
                    ):
                        part_file.rename(self.own)
                        break
        return self.own

    def release(self) -> None:
        """Leave what there is to the next try."""
        if self.own.exists():
            self.own.replace(self.kept)


def _fetch(url: str, part: Path, progress: Progress) -> None:
    """Ask for the rest of a part, several times if it must be."""
    import requests

    for left in reversed(range(_TRIES)):
        try:
            _append(url, part, progress)
            return
        except requests.RequestException as error:
            refused = error.response is not None and error.response.status_code < 500
            if refused or not left:
                raise
            time.sleep(_PAUSE_S * 2 ** (_TRIES - left - 1))


def _check_and_move(part: Path, path: Path, check: Callable[[Path], None]) -> None:
    try:
        check(part)
    except BaseException:
        part.unlink()  # going on from a wrong beginning would never end well
        raise
    part.replace(path)


def _append(url: str, part: Path, progress: Progress) -> None:
    import requests

    have = part.stat().st_size if part.exists() else 0
    headers = {"Range": f"bytes={have}-", "Accept-Encoding": "identity"} if have else {}
    with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT_S) as response:
        if have and response.status_code == requests.codes.requested_range_not_satisfiable:
            return  # it was whole already; the check will say if not
        response.raise_for_status()
        resumed = response.status_code == requests.codes.partial_content
        have = have if resumed else 0
        length = response.headers.get("Content-Length")
        total = have + int(length) if length else None
        with part.open("ab" if resumed else "wb") as file:
            for chunk in response.iter_content(_CHUNK):
                file.write(chunk)
                have += len(chunk)
                progress(have / total if total else 0.0, f"{have / 1e6:.1f} MB")
    if total is not None and have < total:
        raise requests.ConnectionError(f"the connection was cut after {have} of {total} bytes")
