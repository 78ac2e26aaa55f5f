"""Weights whose licence does not allow every use are fetched after somebody accepted it, once."""

from __future__ import annotations

import hashlib
import json

import pytest
from neuralreg.errors import ConsentRequired, WeightsUnavailable
from neuralreg.zoo import consent, weights
from neuralreg.zoo.card import ModelCard
from neuralreg.zoo.registry import list_models

from Testing.support.command_line import neuralreg
from Testing.support.file_server import serving
from Testing.support.paths import RESOURCES

CONVEX = json.loads((RESOURCES / "Models" / "convex.json").read_text("utf-8"))
CONTENT = b"some weights" * 100


@pytest.fixture
def server():
    with serving(CONTENT) as running:
        yield running


def card(server, licence: str) -> ModelCard:
    sha256 = hashlib.sha256(CONTENT).hexdigest()
    file = {"file": "probe.pth", "url": server.url, "sha256": sha256, "bytes": len(CONTENT)}
    return ModelCard.model_validate(
        {**CONVEX, "name": "probe", "license": licence, "weights": file}
    )


@pytest.mark.parametrize(
    ("licence", "permissive"),
    {
        "Apache-2.0": True,
        "MIT (code and weights; training images under the OASIS terms)": True,
        "BSD-3-Clause": True,
        "CC0": True,
        "CC BY 4.0": True,
        "CC BY-NC 4.0": False,
        "CC-BY-NC-SA-4.0": False,
        "MIT for code, weights non-commercial": False,
        "none stated by the authors: ask them before any use beyond trying it": False,
        "GPL-3.0": False,
        "": False,
    }.items(),
)
def test_what_is_not_known_to_be_permissive_is_not(server, licence, permissive):
    assert consent.is_permissive(card(server, licence)) == permissive


def test_the_cards_of_the_program_are_told_apart():
    asked = {c.name for c in list_models() if c.weights and not consent.is_permissive(c)}
    assert len(asked) == 3
    assert all(name.startswith("lku_net") for name in asked)


def test_without_consent_nothing_is_fetched_and_the_error_names_what_there_is_to_accept(
    server, tmp_path
):
    probe = card(server, "none stated")
    with pytest.raises(ConsentRequired, match="probe") as caught:
        weights.fetch(probe, tmp_path)
    assert isinstance(caught.value, WeightsUnavailable)
    assert "none stated; 0.0 MB from http" in caught.value.got
    assert "--accept-licence" in caught.value.remedy
    assert list(tmp_path.iterdir()) == []


def test_consent_is_given_once_and_to_this_text_of_the_licence(server, tmp_path):
    probe = card(server, "none stated")
    path = weights.fetch(probe, tmp_path, accept_licence=True)
    path.unlink()
    assert weights.fetch(probe, tmp_path).read_bytes() == CONTENT
    path.unlink()
    with pytest.raises(ConsentRequired):
        weights.fetch(card(server, "non-commercial"), tmp_path)


def test_a_permissive_licence_needs_no_word(server, tmp_path):
    assert weights.fetch(card(server, "MIT"), tmp_path).is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["probe.pth"]


def test_on_the_command_line_a_flag_accepts_and_scripts_are_refused(server, tmp_path, monkeypatch):

    own = tmp_path / "own"
    own.mkdir()
    (own / "probe.json").write_text(card(server, "none stated").model_dump_json())
    monkeypatch.setenv("NEURALREG_MODELS", str(own))
    monkeypatch.setenv("NEURALREG_CACHE", str(tmp_path / "cache"))
    refused = neuralreg("models", "get", "probe")
    assert isinstance(refused.exception, ConsentRequired) or refused.exit_code != 0
    assert not (tmp_path / "cache" / "probe.pth").exists()
    accepted = neuralreg("models", "get", "probe", "--accept-licence")
    assert accepted.exit_code == 0, accepted.output
    assert (tmp_path / "cache" / "probe.pth").read_bytes() == CONTENT
