"""Training and what follows it, called as notebooks call it: in whatever modes torch is."""

from __future__ import annotations

import random
import sys
import warnings
from contextlib import ExitStack

import numpy as np
import pytest
import torch
from neuralreg.training.data.dataset_check import check_dataset
from neuralreg.training.loop.run import Run
from neuralreg.training.results.evaluate import evaluate
from neuralreg.training.results.predict import PredictOptions, predict
from neuralreg.zoo import registry
from neuralreg.zoo.user_models import import_card

from Testing.support.trainings import training_config

MODES = {
    "no_grad": lambda stack: stack.enter_context(torch.no_grad()),
    "inference_mode": lambda stack: stack.enter_context(torch.inference_mode()),
    "float64": lambda stack: torch.set_default_dtype(torch.float64),
    "device": lambda stack: stack.enter_context(torch.device("meta")),
    "deterministic": lambda stack: torch.use_deterministic_algorithms(True),
    "autocast": lambda stack: stack.enter_context(torch.autocast("cpu", dtype=torch.bfloat16)),
    "warnings": lambda stack: warnings.simplefilter("error"),
}


def state():
    """All that is to be afterwards as it was."""
    return {
        "number": torch.get_default_dtype(),
        "device": torch.get_default_device(),
        "gradients": (torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "autocast": torch.is_autocast_enabled("cpu"),
        "threads": torch.get_num_threads(),
        "torch": torch.get_rng_state().tolist(),
        "python": random.getstate(),
        "numpy": str(np.random.get_state()),
        "path": list(sys.path),
    }


def without_time(rows):
    return [{key: str(v) for key, v in row.items() if key != "seconds"} for row in rows]


def results(shapes, folder, monkeypatch):
    """What a training and all that is made of it come to."""
    monkeypatch.setenv("NEURALREG_MODELS", str(folder / "models"))
    config = training_config(shapes, training__max_steps=1, dataset__valid=None)
    run = folder / "run"
    checks = check_dataset(config).as_record()
    Run(config, run).train()
    rows = predict(config, run, folder / "out", PredictOptions(png=False, device="cpu"))
    again = evaluate(folder / "out", folder / "tables")
    import_card(run / "model.json")
    monkeypatch.setattr(registry, "_loaded", {})
    generator = torch.Generator("cpu").manual_seed(1)
    pair = torch.rand(2, 1, 20, 24, generator=generator, device="cpu", dtype=torch.float32)
    answer = registry.load_model("trained", device="cpu").predict(*pair)
    return [checks, without_time(rows), without_time(again), answer.tolist()]


@pytest.fixture(scope="module")
def plain(shapes, tmp_path_factory):
    with pytest.MonkeyPatch.context() as monkeypatch:
        return results(shapes, tmp_path_factory.mktemp("plain"), monkeypatch)


@pytest.mark.parametrize("mode", MODES)
def test_no_mode_of_the_caller_changes_a_result_and_none_is_changed(
    mode, plain, shapes, tmp_path, monkeypatch
):
    try:
        with ExitStack() as stack:
            stack.enter_context(warnings.catch_warnings())
            MODES[mode](stack)
            before = state()
            assert results(shapes, tmp_path, monkeypatch) == plain
            assert state() == before
    finally:
        torch.set_default_dtype(torch.float32)
        torch.use_deterministic_algorithms(False)
