"""Computations on the pretended device beside the same on the CPU, in a process of their own.

Autograd makes a queue for each device at the first backward pass of a process, so a device that
comes later cannot have gradients. Prints JSON: what went wrong with each check, "" for nothing.

    python -m Testing.support.device_checks
"""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable
from functools import partial

import neuralreg
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from neuralreg.geometry.field import DisplacementField
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.inverse import invert
from neuralreg.geometry.normalized import identity_map
from neuralreg.registration.options import FieldRefinement

from Testing.support.pretended_device import NAME, register_device
from Testing.support.small_models import SMALL, model_of, perturb_zeros

PLACES = ("cpu", NAME)
# icon_unet adds to a part of a tensor in place, whose strides this device cannot tell autograd.
NETWORKS = sorted(set(SMALL) - {"icon_unet"})


def refuses_tensors_of_two_places() -> None:
    here, there = torch.ones(3), torch.ones(3).to(NAME)
    with pytest.raises(RuntimeError, match=f"aten::add: tensors on {NAME} and on the CPU"):
        here + there
    torch.testing.assert_close((there + 1).cpu(), here + 1)
    assert float((there * torch.tensor(2.0)).sum()) == 6


def convolution() -> None:
    values, weight = torch.arange(64.0).view(1, 1, 4, 4, 4).sin(), torch.ones(2, 1, 3, 3, 3) / 27
    gradients = []
    for place in PLACES:
        one, two = (v.to(place).detach().requires_grad_() for v in (values, weight))
        torch.nn.functional.conv3d(one, two, padding=1).square().sum().backward()
        gradients.append([v.grad.cpu() for v in (one, two) if v.grad is not None])
    torch.testing.assert_close(gradients[1], gradients[0])
    assert len(gradients[0]) == 2


def default_engine() -> None:
    fixed, moving = _blobs(0.0), _blobs(1.0)
    results = [
        neuralreg.register(
            fixed,
            moving,
            model="convex",
            linear="rigid",
            refinement=FieldRefinement(steps=2),
            device=place,
        )
        for place in PLACES
    ]
    assert [result.provenance["device"] for result in results] == list(PLACES)
    for field in ("field", "inverse_field"):
        wanted, got = (getattr(result, field).vectors for result in results)
        torch.testing.assert_close(got, wanted)


def sliding() -> None:
    fixed, moving = _blobs(0.0), _blobs(1.0)
    mask = sitk.Cast(fixed > 0.4, sitk.sitkUInt8)
    quick = {"linear": "none", "refinement": FieldRefinement(similarity="lncc", steps=2)}
    results = [
        neuralreg.register(fixed, moving, model="convex", sliding=mask, device=place, **quick)
        for place in PLACES
    ]
    assert results[0].provenance["sliding"]["slide_max_mm"] > 0
    for field in ("field", "inverse_field"):
        wanted, got = (getattr(result, field).vectors for result in results)
        torch.testing.assert_close(got, wanted, atol=1e-3, rtol=1e-3)


def inverse() -> None:
    torch.manual_seed(0)
    vectors = torch.nn.functional.interpolate(torch.randn(1, 3, 4, 4, 4), (12, 12, 12))[0]
    axes = tuple(np.eye(3).ravel().tolist())
    field = DisplacementField(vectors, Grid((12, 12, 12), (1.0,) * 3, (0.0,) * 3, axes))
    wanted, got = (invert(field.to(place)).vectors.cpu() for place in PLACES)
    torch.testing.assert_close(got, wanted)


def network(name: str) -> None:
    shape = (16, 16, 16)
    model = perturb_zeros(model_of(name, shape))
    images = [torch.rand(1, 1, *shape) for _ in range(2)]
    wanted, got = (
        _outputs_and_gradients(model.to(place), [image.to(place) for image in images])
        for place in PLACES
    )
    torch.testing.assert_close(got, wanted)


def _outputs_and_gradients(model: torch.nn.Module, images: list[torch.Tensor]) -> list:
    """Where a model sends all samples, and the gradients of all its weights, on the CPU."""
    model.zero_grad()
    mapped = model(*images)(identity_map(tuple(images[0].shape[2:]), images[0]))
    mapped.square().mean().backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert gradients
    return [value.detach().cpu().clone() for value in (mapped, *gradients)]


def _blobs(shift: float, size: int = 16) -> sitk.Image:
    z, y, x = np.mgrid[:size, :size, :size] - size / 2
    large = np.exp(-((((x - shift) / 5) ** 2 + (y / 4) ** 2 + (z / 3.5) ** 2) ** 2))
    small = np.exp(-(((x + 2 - shift) / 1.6) ** 2 + (y / 1.6) ** 2 + (z / 1.5) ** 2))
    return sitk.GetImageFromArray((large + 0.5 * small).astype(np.float32))


CHECKS: dict[str, Callable[[], None]] = {
    check.__name__: check
    for check in (refuses_tensors_of_two_places, convolution, default_engine, sliding, inverse)
} | {name: partial(network, name) for name in NETWORKS}


def main() -> None:
    kept = register_device()
    failures = {}
    for name, check in CHECKS.items():
        try:
            check()
            failures[name] = ""
        except Exception:  # noqa: BLE001 - what failed is told to the test that started this
            failures[name] = traceback.format_exc()
    del kept
    sys.stdout.write(json.dumps(failures))


if __name__ == "__main__":
    main()
