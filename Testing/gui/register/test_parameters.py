"""The panel's choices, defaults and ranges are those of the engine."""

from __future__ import annotations

import inspect
from contextlib import suppress
from typing import get_args, get_type_hints

import pytest


@pytest.fixture
def mirrored(the_application):
    from NeuralRegistrationLib.Register import Parameters

    return Parameters


def values(enumeration) -> list[str]:
    return [item.value for item in enumeration]


def test_the_presets_are_the_engine_s(mirrored):
    from neuralreg.registration.presets import PRESETS

    assert values(mirrored.Preset) == list(PRESETS)
    for name, preset in PRESETS.items():
        similarity, regularity = mirrored.SUITABLE[mirrored.Preset(name)]
        assert similarity.value == preset.refinement.similarity
        assert regularity == preset.refinement.regularity
        assert preset.refinement.steps == mirrored.USUAL_STEPS


def test_the_choices_of_the_refinement_are_the_engine_s(mirrored):
    from neuralreg.registration.refine import Refinement

    offered = get_args(get_type_hints(Refinement)["similarity"])
    assert set(values(mirrored.Similarity)) <= set(offered)
    assert {"similarity", "steps", "regularity"} <= set(get_type_hints(Refinement))


def test_the_pre_alignments_are_the_engine_s(mirrored):
    from neuralreg.registration.prealign import Prealign

    assert set(values(mirrored.Prealign)) == {item.value for item in Prealign}


def test_the_precisions_are_the_engine_s(mirrored):
    from neuralreg.devices import PRECISIONS

    assert values(mirrored.Precision) == list(PRECISIONS)


def test_the_devices_are_names_that_the_engine_understands(mirrored):
    from neuralreg.devices import choose_device
    from neuralreg.errors import DeviceUnavailable

    for name in values(mirrored.Device):
        with suppress(DeviceUnavailable):  # understood, but not on this machine
            choose_device(name)


def test_each_setting_is_an_option_of_the_logic_or_the_engine(mirrored, a_panel):
    from neuralreg import register as engine
    from NeuralRegistrationLib.Register.Request import NAMES

    known = {*inspect.signature(engine).parameters, *NAMES}
    a_panel.registerPanel.parameters.modelOptions = '{"smoothness": 1}'
    unknown = set(mirrored.settingsOf(a_panel.registerPanel.parameters)) - known
    assert unknown == set()


def test_the_defaults_are_the_engine_s(mirrored, a_panel):
    from neuralreg import register as engine

    settings = mirrored.settingsOf(a_panel.registerPanel.parameters)
    for name, parameter in inspect.signature(engine).parameters.items():
        if name in settings and name != "model":
            wanted = getattr(parameter.default, "value", parameter.default)
            assert settings[name] == wanted, name


def test_every_choice_has_a_text_of_its_own(mirrored):
    for name in ("Preset", "Prealign", "Similarity", "Device", "Precision"):
        texts = [item.label() for item in getattr(mirrored, name)]
        assert len(set(texts)) == len(texts)
        assert all(texts)
