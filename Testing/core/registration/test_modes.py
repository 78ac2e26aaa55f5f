"""Registration in whatever modes of torch its caller is, which stay as they were."""

from __future__ import annotations

from contextlib import contextmanager

import neuralreg
import numpy as np
import pytest
import torch
from neuralreg.devices import own_modes
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.image import Image
from neuralreg.registration.options import FieldRefinement

from Testing.support.phantom import seen

GRID = Grid((24, 24), (2.0, 2.0), (0.0, 0.0), (1, 0, 0, 1))


def disk(center: float) -> Image:
    y, x = torch.meshgrid(*[torch.linspace(0, 1, 24)] * 2, indexing="ij")
    values = 100 * torch.sigmoid(40 * (0.3 - torch.hypot(x - center, (y - 0.5) * 1.3)))
    return Image(values[None], GRID)


@contextmanager
def double():
    torch.set_default_dtype(torch.float64)
    try:
        yield
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


@contextmanager
def deterministic():
    torch.use_deterministic_algorithms(True)
    try:
        yield
        assert torch.are_deterministic_algorithms_enabled()
        assert not torch.is_deterministic_algorithms_warn_only_enabled()
    finally:
        torch.use_deterministic_algorithms(False)


@contextmanager
def another_device():
    with torch.device("meta"):
        yield
        assert torch.get_default_device().type == "meta"


@contextmanager
def short():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        yield
        assert torch.is_autocast_enabled("cpu")


@contextmanager
def inference():
    with torch.inference_mode():
        yield
        assert torch.is_inference_mode_enabled()


@pytest.fixture(scope="module")
def pair() -> tuple[Image, Image]:
    return disk(0.5), disk(0.58)


@pytest.fixture(scope="module")
def wanted(pair) -> torch.Tensor:
    return neuralreg.register(*pair, refinement=neuralreg.FieldRefinement(steps=5)).field.vectors


@pytest.mark.parametrize(
    "mode", [double, deterministic, another_device, short, inference, torch.no_grad]
)
def test_the_field_is_the_same_in_every_mode_and_the_mode_stays(mode, pair, wanted):
    with mode():
        done = neuralreg.register(*pair, refinement=neuralreg.FieldRefinement(steps=5))
    assert done.field.vectors.dtype == torch.float32
    assert torch.equal(done.field.vectors, wanted)


def test_modes_that_stay_are_not_set_again(monkeypatch):
    """Setting determinism imports torch's compiler: seconds, and memory, in each new process."""

    def fail(*_, **__):
        raise AssertionError("it was set")

    monkeypatch.setattr(torch, "use_deterministic_algorithms", fail)
    with own_modes():
        assert not torch.are_deterministic_algorithms_enabled()


def test_the_number_of_threads_does_not_matter():
    grid = Grid((56, 54, 52), (1.5,) * 3, (-42.0, -40.0, -39.0), tuple(np.eye(3).ravel()))
    assert grid.count > 1 << 17  # smaller images are computed by one thread in any case
    images = seen(grid), seen(grid, lambda p: 1.05 * p + 2 * np.sin(p[..., ::-1] / 12), seed=1)
    fields = {}
    threads = torch.get_num_threads()
    for count in (1, 2):
        torch.set_num_threads(count)
        try:
            result = neuralreg.register(*images, "convex", refinement=FieldRefinement(steps=6))
            assert torch.get_num_threads() == count
        finally:
            torch.set_num_threads(threads)
        fields[count] = result
    one, two = fields[1], fields[2]
    assert np.array_equal(one.linear.matrix, two.linear.matrix)
    apart = (one.field.vectors - two.field.vectors).norm(dim=0)
    assert float(apart.max()) < 0.05  # mm
