"""The last results of slow functions, so that the same question is not computed twice in a process.

A worker lives for many jobs: finding a brain again, or registering a head whose brain was found,
asks a network for what it has answered before.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Generic, TypeVar

import numpy as np

from neuralreg.geometry.image import Image

Result = TypeVar("Result")


class RecentResults(Generic[Result]):
    """Some results by what they depend on; the one that was not asked for longest goes first.

    Args:
        most: results to keep.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._results: dict[Hashable, Result] = {}
        self._lock = Lock()

    def get_or_compute(self, key: Hashable, compute: Callable[[], Result]) -> Result:
        """The result for a key. What `compute` raises passes through, and nothing is kept then.

        Args:
            key: everything that the result depends on.
            compute: makes it; not called where it is known.
        """
        with self._lock:
            result = self._results.pop(key, None)
            if result is not None:
                self._results[key] = result
                return result
        result = compute()
        with self._lock:
            self._results[key] = result
            while len(self._results) > self._most:
                del self._results[next(iter(self._results))]
        return result


def content_key(image: Image) -> Hashable:
    """What an image holds and where it lies, as a key: equal for equal images only."""
    values = np.ascontiguousarray(image.data.detach().cpu().numpy())
    return values.dtype.str, hashlib.sha256(values.data).hexdigest(), image.grid
