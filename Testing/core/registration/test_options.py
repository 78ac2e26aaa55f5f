"""One object holds what can be chosen, for Python, command line, worker, records and panel."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
from neuralreg.errors import InvalidOption
from neuralreg.geometry.image import Image
from neuralreg.registration import engine
from neuralreg.registration.engine import register
from neuralreg.registration.guides.landmark_guide import LandmarkGuide
from neuralreg.registration.options import (
    NAMES,
    PRESETS,
    FieldRefinement,
    LinearAlignment,
    RegistrationOptions,
    WeightRefinement,
    parse_refinement,
)

from Testing.support.command_line import neuralreg
from Testing.support.phantom import SQUARE, seen

CHANGED = RegistrationOptions(
    model="convex",
    model_options={"reach": 0.3},
    linear=LinearAlignment.NONE,
    start="search",
    preset="lung CT",
    refinement=FieldRefinement(similarity="lncc", steps=3, regularity=2.0, rate=0.7),
    extract_brain=True,
    device="cpu",
    precision="bfloat16",
    full_resolution=True,
    most_samples=50_000,
    landmarks=LandmarkGuide(((1, 2, 3),), ((4, 5, 6),), ("A",), weight=0.5, tolerance_mm=3.0),
    label_weight=0.7,
    label_source="auto",
    channel_weights=(0.5,),
    colors="rgb",
    rigid_labels=(1, 2),
    surface_weight=0.4,
)


@pytest.fixture
def options_of(monkeypatch):
    """The options with which a registration was started."""
    options = []

    class Stopped(Exception):
        pass

    def run(self, given):
        options.append(self.options)
        raise Stopped

    monkeypatch.setattr(engine._Registration, "run", run)

    def ask(*given, **changes):
        fixed = seen(SQUARE)
        image = Image(fixed.data.clamp(0, 255).byte().expand(3, -1, -1), SQUARE)  # in colors
        masks = {"fixed_mask": fixed, "moving_mask": fixed}
        driven = changes.get("label_weight") or CHANGED in given
        map_of = Image((fixed.data > 40).byte(), fixed.grid)
        parts = Image(map_of.data + map_of.data * (fixed.data > 60), SQUARE)  # 1 and 2
        guides = {"channels": [(fixed, fixed)], "rigid": parts} if driven else {}
        with pytest.raises(Stopped):
            register(image, image, *given, **masks, **guides, **changes)
        return options.pop()

    return ask


def test_keywords_are_shortcuts_for_every_option(options_of):
    changes = {name: getattr(CHANGED, name) for name in NAMES}
    assert options_of(**changes) == CHANGED
    assert options_of(CHANGED) == CHANGED
    assert options_of(RegistrationOptions(), **changes) == CHANGED
    assert options_of(CHANGED, preset="cardiac") == CHANGED.replace(preset="cardiac")


def test_a_model_alone_may_stand_for_the_options(options_of):
    assert options_of("convex") == RegistrationOptions(model="convex")
    assert options_of("convex", linear="rigid").linear is LinearAlignment.RIGID


def test_an_unknown_keyword_names_the_options():
    with pytest.raises(InvalidOption, match=r"'prealign'.*linear or start or preset"):
        register(seen(SQUARE), seen(SQUARE), prealign="none")


def test_numbers_of_a_model_in_the_place_of_the_options_are_refused_with_the_way_out():
    with pytest.raises(InvalidOption, match="model_options"):
        register(seen(SQUARE), seen(SQUARE), options={"smoothness": 0.3})


def test_a_network_without_a_card_is_refused():
    with pytest.raises(InvalidOption, match="a network with a card"):
        register(seen(SQUARE), seen(SQUARE), torch.nn.Identity())


def test_two_models_are_refused():
    with pytest.raises(InvalidOption, match="one model"):
        register(seen(SQUARE), seen(SQUARE), "convex", model="auto")


@pytest.mark.parametrize(
    "wrong",
    [
        {"linear": "sideways"},
        {"preset": "teapot"},
        {"precision": "float8"},
        {"refinement": "lncc"},
        {"model_options": 3},
        {"landmarks": [[1, 2, 3]]},
        {"label_weight": -1.0},
        {"label_source": "network"},
        {"label_weight": float("nan")},
        {"channel_weights": (1.0, -0.5)},
        {"channel_weights": (float("nan"),)},
        {"channel_weights": (0.0,)},
        {"colors": "cmyk"},
        {"surface_weight": -1.0},
        {"surface_weight": float("nan")},
        {"rigid_labels": "1,b"},
        {"rigid_labels": (0,)},
        {"rigid_labels": 3},
    ],
)
def test_values_that_are_no_choice_are_refused(wrong):
    with pytest.raises(InvalidOption):
        RegistrationOptions(**wrong)


@pytest.mark.parametrize("refinement", [None, WeightRefinement(steps=7), CHANGED.refinement])
def test_a_record_gives_the_same_options_again(refinement):
    options = CHANGED.replace(refinement=refinement)
    record = json.loads(json.dumps(options.as_record()))
    assert RegistrationOptions.from_record(record) == options


def test_a_record_of_the_first_command_line_is_read():
    """The options of a result.json as they were before they had one type."""
    record = {
        "model": "auto",
        "options": {"smoothness": 0.3},
        "extract_brain": False,
        "refine": "weights:lncc",
        "preset": "brain MR",
        "prealign": "rigid",
        "device": "cpu",
        "precision": "float32",
        "full_resolution": True,
        "refine_steps": 12,
    }
    assert RegistrationOptions.from_record(record) == RegistrationOptions(
        model_options={"smoothness": 0.3},
        linear=LinearAlignment.RIGID,
        preset="brain MR",
        refinement=WeightRefinement("lncc", 12),
        device="cpu",
        full_resolution=True,
    )
    plain = {**record, "refine": None, "refine_steps": None}
    assert RegistrationOptions.from_record(plain).refinement is None


def test_a_record_of_the_first_panel_is_read():
    """What a transform node of an earlier scene remembers."""
    refinement = {"similarity": "mind", "steps": 9, "regularity": 1.5, "of": "field"}
    record = {"prealign": "affine", "refinement": refinement, "options": {"s": 1.0}}
    assert RegistrationOptions.from_record(record) == RegistrationOptions(
        model_options={"s": 1.0},
        linear=LinearAlignment.AFFINE,
        refinement=FieldRefinement("mind", 9, 1.5),
    )


@pytest.mark.parametrize(
    ("text", "steps", "refinement"),
    [
        (None, None, None),
        ("auto", None, FieldRefinement()),
        ("lncc", 5, FieldRefinement("lncc", 5)),
        ("weights", None, WeightRefinement(steps=50)),
        ("weights:mind", 4, WeightRefinement("mind", 4)),
    ],
)
def test_the_command_line_spells_a_refinement(text, steps, refinement):
    assert parse_refinement(text, steps) == refinement


@pytest.mark.parametrize(("text", "steps"), [("ncc", None), ("weights:ncc", None), (None, 3)])
def test_another_spelling_is_refused(text, steps):
    with pytest.raises(InvalidOption):
        parse_refinement(text, steps)


def test_every_option_reaches_the_engine_from_the_command_line(tmp_path, monkeypatch):
    from neuralreg.worker.file_jobs import file_job

    jobs = []
    monkeypatch.setattr(file_job, "run", lambda job, *_, **_more: jobs.append(job) or 1 / 0)
    (tmp_path / "f.csv").write_text("name,x,y,z\nA,1,2,3\n")
    (tmp_path / "m.csv").write_text("name,x,y,z\nA,4,5,6\n")
    arguments = f"""register f.nii m.nii --landmarks {tmp_path}/f.csv {tmp_path}/m.csv
        --landmark-weight 0.5 --landmark-tolerance-mm 3 --drive-labels auto
        --label-weight 0.7 --channel a.nii b.nii 0.5 --channels rgb
        --rigid-labels 1,2 --surface a.vtk b.vtk --surface-weight 0.4
        --model convex --option reach=0.3 --prealign none --start search
        --preset cardiac --refine weights:lncc --refine-steps 3 --extract-brain --device cpu
        --precision bfloat16 --full-resolution --most-samples 50000 --quiet"""
    neuralreg(*arguments.split(), "-o", str(tmp_path / "out"))
    (job,) = jobs
    for option in fields(RegistrationOptions):  # a new one is not forgotten here
        assert getattr(job.options, option.name) != getattr(RegistrationOptions(), option.name)
    wanted = CHANGED.replace(preset="cardiac", refinement=WeightRefinement("lncc", 3))
    assert job.options == wanted
    assert job.channels == ((Path("a.nii"), Path("b.nii")),)
    assert job.surfaces == ((Path("a.vtk"), Path("b.vtk")),)


def test_the_options_load_neither_torch_nor_numpy():
    code = "import sys, neuralreg.registration.options as o; o.RegistrationOptions(linear='none')"
    code += "; print([m for m in ('torch', 'numpy', 'pydantic') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_preset_is_what_its_refinement_is():
    fixed, moving = seen(SQUARE), seen(SQUARE, lambda p: p + [2.0, 1.0], seed=1)
    by_name = register(fixed, moving, preset="cardiac").field.vectors
    by_hand = register(fixed, moving, refinement=PRESETS["cardiac"].refinement).field.vectors
    assert np.array_equal(by_name, by_hand)
