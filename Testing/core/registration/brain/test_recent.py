"""What was found in an image is not computed twice, and what was changed is."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch
from neuralreg.errors import Cancelled
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.image import Image
from neuralreg.registration.brain.brain_mask import brain_mask
from neuralreg.registration.brain.recent import RecentResults, content_key
from neuralreg.worker.jobs import function_of
from neuralreg.worker.messages import Voxels

from Testing.support.band_network import phantom, write_band_network

UPRIGHT = tuple(np.eye(3).ravel())
GRID = Grid((40, 48, 40), (3.3, 3.3, 3.3), (-65, -75, -70), UPRIGHT)


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """The weights of a network that labels the phantom, under the name of the usual one."""
    write_band_network(tmp_path / "own")
    monkeypatch.setenv("NEURALREG_MODELS", str(tmp_path / "own"))
    return tmp_path / "own" / "bands.bin"


@pytest.fixture(scope="module")
def head() -> Voxels:
    return Voxels(phantom(GRID)[0].data[0].numpy(), GRID)


def label(head: Voxels, **more):
    """The answer of a worker's job, and whether the network ran for it."""
    messages = []
    how = {"head": head, "device": "cpu", **more}
    answer = function_of("brain_labels")(how, lambda _, message: messages.append(message))
    return answer, any("layer" in message for message in messages)


def test_a_head_that_was_labeled_is_not_labeled_again_also_with_sides_apart(weights, head):
    first, ran = label(head, sides=False)
    assert ran
    second, ran = label(head, sides=False)
    assert not ran
    assert np.array_equal(first["labels"], second["labels"])
    assert first["structures"] == second["structures"]
    sided, ran = label(head, sides=True)
    assert not ran
    assert np.array_equal(sided["labels"] % 100, first["labels"])


def test_other_voxels_another_position_and_other_weights_are_computed(weights, head):
    label(head)
    values = head.data.copy()
    values[20, 24, 20] += 1
    assert label(Voxels(values, GRID))[1]
    moved = Grid(GRID.size, GRID.spacing, (-64, -75, -70), UPRIGHT)
    assert label(Voxels(head.data, moved))[1]
    assert not label(head)[1]
    os.utime(weights, ns=(1, 1))
    assert label(head)[1]


def test_a_labeling_that_was_cancelled_leaves_nothing_behind(weights, head):
    values = head.data + np.float32(head.data > 0) * 0.1

    def cancel(_, message):
        if "layer" in message:
            raise Cancelled("by the user")

    with pytest.raises(Cancelled):
        function_of("brain_labels")({"head": Voxels(values, GRID), "device": "cpu"}, cancel)
    assert label(Voxels(values, GRID))[1]


def test_a_template_is_registered_once_to_a_head():
    grid = Grid((24, 24, 24), (5.0, 5.0, 5.0), (0, 0, 0), UPRIGHT)
    index = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), -1) - 11.5
    far = np.linalg.norm(index, axis=-1)
    head = Image(torch.from_numpy(np.float32((far < 9) * (100 + far)))[None], grid)
    inside = Image(torch.from_numpy(np.uint8(far < 7))[None], grid)
    first = brain_mask(head, template=(head, inside), device="cpu")
    messages = []
    again = brain_mask(
        head, template=(head, inside), device="cpu", progress=lambda _, text: messages.append(text)
    )
    assert messages == ["brain mask"]
    assert again.mask is first.mask
    assert again.warnings == first.warnings


def test_the_result_that_was_not_asked_for_longest_goes_first():
    recent = RecentResults(2)
    for key in "abac":  # a is asked for again before c comes
        recent.get_or_compute(key, lambda key=key: key.upper())
    assert recent.get_or_compute("a", lambda: "new") == "A"
    assert recent.get_or_compute("b", lambda: "new") == "new"


def test_equal_numbers_of_another_type_are_another_image():
    numbers = Image(torch.zeros((1, *GRID.shape), dtype=torch.int32), GRID)
    floats = Image(torch.zeros((1, *GRID.shape), dtype=torch.float32), GRID)
    assert content_key(numbers) != content_key(floats)
    assert content_key(floats) == content_key(Image(floats.data.clone(), GRID))
