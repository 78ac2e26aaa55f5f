"""Transforms given on the command line, joined to one."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from neuralreg.geometry.field import DisplacementField
    from neuralreg.geometry.grid import Grid
    from neuralreg.geometry.linear import LinearTransform
    from neuralreg.io.exchange.families import Content


def field_of_chain(
    paths: Sequence[Path], contents: Sequence[Content], grid: Grid
) -> DisplacementField:
    """One field for the points of `grid`: by the first transform, then by the second, and so on.

    Fields stay on their own, often coarser grid. A linear transform alone gets a grid of a few
    samples, between which it is exact.
    """
    from neuralreg.errors import InvalidTransform
    from neuralreg.geometry.field import DisplacementField
    from neuralreg.geometry.linear import LinearTransform
    from neuralreg.io.transform_files import transform_of

    def join(
        first: DisplacementField | LinearTransform, then: DisplacementField | LinearTransform
    ) -> DisplacementField | LinearTransform:
        return _join(first, then, grid)

    def read(path: Path, content: Content) -> DisplacementField | LinearTransform:
        try:
            return transform_of(content, grid)
        except InvalidTransform as error:
            raise error.at(str(path)) from error

    chain = reduce(join, map(read, paths, contents))
    if isinstance(chain, LinearTransform):
        few = grid.resize([min(n, 2) for n in grid.size]).pad(1)
        return DisplacementField.from_linear(chain, few)
    return chain


def _join(
    first: DisplacementField | LinearTransform,
    then: DisplacementField | LinearTransform,
    grid: Grid,
) -> DisplacementField | LinearTransform:
    from neuralreg.geometry.field import compose, precede
    from neuralreg.geometry.linear import LinearTransform

    if not isinstance(first, LinearTransform):
        return compose(first, then)
    if isinstance(then, LinearTransform):
        return first.then(then)
    return precede(first, then, grid)
