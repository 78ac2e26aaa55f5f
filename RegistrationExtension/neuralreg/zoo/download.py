"""One file over HTTP: resumed, checked, and under its own name only when it is whole."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
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
    """`path`, after the file at `url` was put there.

    Args:
        check: raises when the file is not the right one; it never gets the name then.

    Raises:
        WeightsUnavailable: the server does not give it.
        UnwritableOutput: the disk does not take it.
    """
    import pooch
    import requests

    part = _Part(path)
    try:
        pooch.retrieve(
            url,
            known_hash=None,  # `check` knows kinds of hash that pooch does not
            fname=path.name,
            path=path.parent,
            downloader=_Resuming(part, check, progress),
        )
    except requests.RequestException as error:
        raise WeightsUnavailable(
            "a download failed",
            where=url,
            got=_in_words(error),
            remedy="Check the connection and try again: it goes on where it stopped. Without a "
            "network, bring the file and import it.",
        ) from error
    except OSError as error:
        raise UnwritableOutput(
            "a download cannot be written",
            where=str(path.parent),
            got=str(error),
            remedy="Make room, or set NEURALREG_CACHE to another folder.",
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
        """This process's part: an earlier one's if there is one that nobody writes."""
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


class _Resuming:
    """What pooch calls to bring a file: asks for the rest of a part, several times if it must."""

    def __init__(self, part: _Part, check: Callable[[Path], None], progress: Progress) -> None:
        self.part, self.check, self.progress = part, check, progress

    def __call__(self, url: str, output_file: str, pooch: Any) -> None:
        import requests

        own = self.part.take()
        for left in reversed(range(_TRIES)):
            try:
                self._rest(url, own)
                break
            except requests.RequestException as error:
                refused = error.response is not None and error.response.status_code < 500
                if refused or not left:
                    raise
                time.sleep(_PAUSE_S * 2 ** (_TRIES - left - 1))
        try:
            self.check(own)
        except BaseException:
            own.unlink()  # going on from a wrong beginning would never end well
            raise
        own.replace(output_file)

    def _rest(self, url: str, own: Path) -> None:
        import requests

        have = own.stat().st_size if own.exists() else 0
        headers = {"Range": f"bytes={have}-", "Accept-Encoding": "identity"} if have else {}
        with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT_S) as response:
            if have and response.status_code == requests.codes.requested_range_not_satisfiable:
                return  # it was whole already; the check will say if not
            response.raise_for_status()
            resumed = response.status_code == requests.codes.partial_content
            have = have if resumed else 0
            length = response.headers.get("Content-Length")
            total = have + int(length) if length else None
            with own.open("ab" if resumed else "wb") as file:
                for chunk in response.iter_content(_CHUNK):
                    file.write(chunk)
                    have += len(chunk)
                    self.progress(have / total if total else 0.0, f"{have / 1e6:.1f} MB")
        if total is not None and have < total:
            raise requests.ConnectionError(f"the connection was cut after {have} of {total} bytes")
