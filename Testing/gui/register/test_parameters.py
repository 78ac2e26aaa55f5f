"""The panel's choices, defaults and ranges are those of the engine."""

from __future__ import annotations

import dataclasses
from contextlib import suppress
from typing import get_args

import pytest
from neuralreg.registration import options
from neuralreg.registration.options import (
    PRESETS,
    FieldRefinement,
    LinearAlignment,
    RegistrationOptions,
    WeightRefinement,
)

CHOICES = (
    "Preset", "Prealign", "Similarity", "Device", "Precision", "BrainModel", "LabeledVolumes",
)  # fmt: skip


@pytest.fixture
def panel_parameters(the_application):
    from NeuralRegistrationLib.Register import Parameters

    return Parameters


@pytest.fixture
def parameters(a_panel):
    return a_panel.registerPanel.parameters


def values(enumeration) -> list[str]:
    return [item.value for item in enumeration]


def test_the_lists_are_those_of_the_options(panel_parameters):
    assert values(panel_parameters.Preset) == list(PRESETS)
    assert values(panel_parameters.Prealign) == [kind.value for kind in LinearAlignment]
    assert values(panel_parameters.Similarity) == list(get_args(options.Similarity))
    assert values(panel_parameters.BrainModel) == list(options.BRAIN_MODELS)
    assert values(panel_parameters.Precision) == list(get_args(options.Precision))


def test_scenes_keep_the_names_that_they_always_kept(panel_parameters):
    names = [item.name for item in panel_parameters.Preset]
    assert names == ["GENERIC", "BRAIN", "ABDOMEN", "LUNG", "CARDIAC", "PROSTATE"]
    assert {item.name for item in panel_parameters.Prealign} == {
        "AUTO", "NONE", "CENTER", "RIGID", "AFFINE",
    }  # fmt: skip


def test_the_precisions_are_those_that_networks_compute_in():
    from neuralreg.devices import PRECISIONS

    assert get_args(options.Precision) == tuple(PRECISIONS)


def test_the_devices_are_names_that_the_engine_understands(panel_parameters):
    from neuralreg.devices import choose_device
    from neuralreg.errors import DeviceUnavailable

    for name in values(panel_parameters.Device):
        with suppress(DeviceUnavailable):  # understood, but not on this machine
            choose_device(name)


def test_the_defaults_are_the_engine_s(panel_parameters, parameters):
    assert panel_parameters.optionsOf(parameters) == RegistrationOptions()


def test_an_anatomy_brings_its_refinement(panel_parameters, parameters):
    parameters.ownRefinement = True
    for preset in panel_parameters.Preset:
        parameters.preset = preset
        panel_parameters.suit(parameters)
        found = panel_parameters.optionsOf(parameters)
        assert found.refinement == PRESETS[found.preset].refinement


def test_every_option_can_be_set_in_the_panel(panel_parameters, parameters):
    """All but the brains of heads, which the panel finds as masks that one can look at, the start,
    and the landmarks and labels, which are nodes of the scene."""
    p = panel_parameters
    parameters.model, parameters.modelOptions = "other", '{"smoothness": 0.5}'
    parameters.prealign, parameters.preset = p.Prealign("rigid"), p.Preset("lung CT")
    parameters.device, parameters.precision = p.Device("cpu"), p.Precision("float16")
    parameters.ownRefinement = parameters.fullResolution = True
    parameters.mostSamples = 1.5
    parameters.similarity, parameters.steps, parameters.regularity = p.Similarity("mind"), 7, 2.5
    found = p.optionsOf(parameters)
    for option in dataclasses.fields(RegistrationOptions):
        same = getattr(found, option.name) == getattr(RegistrationOptions(), option.name)
        others = ("extract_brain", "start", "landmarks", "label_weight")
        others += ("channel_weights", "colors", "rigid_labels", "surface_weight", "label_source")
        assert same == (option.name in others), option.name
    assert found.most_samples == 1_500_000
    assert found.refinement == FieldRefinement("mind", 7, 2.5)
    parameters.fitWeights = True
    assert p.optionsOf(parameters).refinement == WeightRefinement("mind", 7, 2.5)


def test_every_choice_has_a_text_of_its_own(panel_parameters):
    for name in CHOICES:
        texts = [item.label() for item in getattr(panel_parameters, name)]
        assert len(set(texts)) == len(texts)
        assert all(texts)


def test_lists_of_points_reach_the_registration(panel_parameters, parameters, a_scene):
    for side in ("fixed", "moving"):
        node = a_scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", side)
        setattr(parameters, f"{side}Landmarks", node)
        assert panel_parameters.settingsOf(parameters)[f"{side}Landmarks"] is node
    panel_parameters.clearGuides(parameters)
    assert panel_parameters.settingsOf(parameters)["movingLandmarks"] is None


def test_a_scene_of_a_later_version_opens_with_usual_values(a_scene, the_application, caplog):
    import slicer
    from NeuralRegistrationLib.Register.Parameters import Preset, RegisterParameters
    from NeuralRegistrationLib.Scene.ParameterNodes import wrap

    node = a_scene.AddNode(slicer.vtkMRMLScriptedModuleNode())
    texts = {"preset": "KNEE", "steps": "many", "mostSamples": "2.5", "model": "of tomorrow"}
    for name, text in texts.items():
        node.SetParameter(name, text)
    parameters = wrap(RegisterParameters, node)
    assert (parameters.preset, parameters.steps) == (Preset.GENERIC, FieldRefinement.steps)
    assert (parameters.mostSamples, parameters.model) == (2.5, "of tomorrow")
    assert [word in caplog.text for word in ("KNEE", "many", "2.5")] == [True, True, False]
