"""Cards: found, checked, and clear about what is wrong."""

import json

import pytest
import torch
from neuralreg.errors import IncompatibleModel, InvalidOption, InvalidTransform
from neuralreg.geometry.field import DisplacementField
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.image import Image
from neuralreg.registration.engine import register
from neuralreg.zoo.card import ModelCard, Output
from neuralreg.zoo.loaded_network import field_of, meaning_of
from neuralreg.zoo.registry import (
    broken_cards,
    build_network,
    cards_folders,
    list_models,
    load_model,
    model_card,
    read_card,
)
from pydantic import ValidationError


def test_every_card_in_the_repository_is_valid_and_named_as_its_file():
    for folder in cards_folders():
        for path in folder.glob("*.json"):
            if path.name != "model.schema.json":
                assert read_card(path).name == path.stem


def test_the_schema_beside_the_cards_is_that_of_the_code():
    path = cards_folders()[-1] / "model.schema.json"
    assert json.loads(path.read_text(encoding="utf-8")) == ModelCard.model_json_schema()


def test_a_model_for_anything_is_listed_for_everything():
    for wanted in ({}, {"modality": "CT"}, {"anatomy": "brain"}, {"available": True}):
        assert "convex" in [card.name for card in list_models(**wanted)]


def test_a_loaded_model_carries_its_card():
    assert load_model("convex").card.title.startswith("Coupled convex")


def test_an_unknown_model_names_the_known_ones():
    with pytest.raises(IncompatibleModel, match="convex"):
        load_model("voxelmorph")


@pytest.mark.parametrize("spoil", ['{"name": "x"}', "{", '{"name": "convex", "extra": 1}'])
def test_a_bad_card_is_an_error_that_names_its_file(tmp_path, spoil):
    path = tmp_path / "bad.json"
    path.write_text(spoil)
    with pytest.raises(IncompatibleModel, match=r"bad\.json"):
        read_card(path)


SHIFT_MM = (3.0, -4.5, 6.0)


@pytest.mark.parametrize("kind", ["voxel", "normalized", "unit_map"])
@pytest.mark.parametrize("order", ["xyz", "zyx"])
@pytest.mark.parametrize("finer", [1, 2])
def test_a_known_shift_in_mm_comes_out_of_every_output_convention(a_grid, kind, order, finer):
    grid = a_grid.resize([n * finer for n in a_grid.size])
    d = grid.dimension
    shift = torch.tensor(SHIFT_MM[:d]).view(-1, *[1] * d).expand(d, *grid.shape)
    voxels = torch.linalg.solve(
        torch.as_tensor(grid.index_to_world[:d, :d]).float(), shift.flatten(1)
    ).view(shift.shape)
    last = torch.tensor([n - 1.0 for n in grid.size]).view(-1, *[1] * d)
    index = torch.stack(torch.meshgrid(*(torch.arange(n) for n in grid.shape), indexing="ij")).flip(
        0
    )
    output = {
        "voxel": voxels,
        "normalized": 2 * voxels / last,
        "unit_map": (index + voxels) / last,
    }[kind]
    output = output.flip(0) if order == "zyx" else output
    field = field_of(output, Output(kind=kind, order=order), grid)
    assert torch.allclose(field.vectors, shift, atol=1e-3)


@pytest.mark.parametrize("order", ["xyz", "zyx"])
def test_an_affine_on_normalized_coordinates_scales_about_the_center(a_grid, order):
    d = a_grid.dimension
    matrix = torch.eye(d, d + 1)
    along = 0 if order == "xyz" else d - 1  # 10 % along x
    matrix[along, along] = 1.1
    field = field_of(matrix, Output(kind="affine", order=order), a_grid)
    points = a_grid.points_at(torch.rand(20, d).numpy() * [n - 1 for n in a_grid.size])
    from_center = a_grid.indices_at(field(points)) - (torch.tensor(a_grid.size).numpy() - 1) / 2
    before = a_grid.indices_at(points) - (torch.tensor(a_grid.size).numpy() - 1) / 2
    before[:, 0] *= 1.1
    assert abs(from_center - before).max() < 1e-4


def test_voxels_and_millimeters_are_two_views_of_one_field(a_grid, smooth_field):
    field = smooth_field(a_grid)
    assert torch.allclose(
        DisplacementField.from_voxels(field.to_voxels(), a_grid).vectors, field.vectors, atol=1e-5
    )


@pytest.mark.parametrize(("kind", "shape"), [("voxel", (3, 4, 4, 5)), ("affine", (3, 3))])
def test_an_output_that_does_not_fit_its_card_is_refused(kind, shape):
    grid = Grid((4, 4, 4), (1, 1, 1), (0, 0, 0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
    with pytest.raises(InvalidTransform):
        field_of(torch.zeros(shape), Output(kind=kind), grid)


@pytest.mark.parametrize(("kind", "order"), [("furlong", "xyz"), ("voxel", "yxz")])
def test_a_card_knows_few_kinds_and_orders(kind, order):
    with pytest.raises(ValidationError):
        Output(kind=kind, order=order)


def test_the_velocity_of_a_card_is_integrated(a_grid):
    d = a_grid.dimension
    velocity = torch.ones(d, *a_grid.shape)
    field = field_of(velocity, Output(kind="voxel", velocity=True), a_grid)
    assert torch.allclose(field.to_voxels(), velocity, atol=1e-5)


OF_CARDS = [card for card in list_models() if card.output.kind not in ("features", "affine")]


@pytest.mark.parametrize("card", OF_CARDS, ids=lambda card: card.name)
def test_a_card_says_of_its_network_what_the_network_says_of_itself(card):
    network = build_network(card.architecture, card.arguments)
    assert network.output == meaning_of(card.output)
    shape = card.input.shape or ()
    assert all(n % network.divisor == 0 and n >= network.smallest for n in shape)


def card_text(**changes):
    return model_card("convex").model_copy(update=changes).model_dump_json()


def test_a_broken_card_of_one_s_own_is_told_and_takes_nothing_else_away(tmp_path, monkeypatch):
    monkeypatch.setenv("NEURALREG_MODELS", str(tmp_path))
    (tmp_path / "good.json").write_text(card_text(name="mine.good"))
    (tmp_path / "bad.json").write_text('{"name": ')
    names = [card.name for card in list_models()]
    assert {"convex", "mine.good"} <= set(names)
    (told,) = broken_cards()
    assert "bad.json" in str(told)
    assert "not JSON" in str(told)
    with pytest.raises(IncompatibleModel, match=r"bad\.json"):
        model_card("mine.bad")
    (tmp_path / "bad.json").unlink()
    list_models()
    assert broken_cards() == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"intput": 3}, "unknown key intput, did you mean input"),
        ({"output": {"kind": "normalised"}}, "output.kind: .*got 'normalised'"),
        ({"input": {"dimensions": [3], "spce": "whole"}}, "input.spce, did you mean space"),
        ({"input": {"dimensions": [3], "space": "whole"}}, "needs `shape`"),
    ],
)
def test_what_is_wrong_with_a_card_is_told_in_words(tmp_path, change, told):
    path = tmp_path / "card.json"
    path.write_text(json.dumps(json.loads(card_text()) | change))
    with pytest.raises(IncompatibleModel, match=told) as error:
        read_card(path)
    assert "pydantic" not in str(error.value)


def test_a_name_that_is_nearly_right_is_recognized():
    with pytest.raises(IncompatibleModel, match=r"Did you mean 'lapirn_disp\.fea7'"):
        model_card("lapirn_disp.fe7")


@pytest.mark.parametrize(
    ("wrong", "told"),
    [({"precision": "float8"}, "float32"), ({"preset": "brain"}, "brain MR")],
)
def test_wrong_options_are_told_before_any_work_whatever_the_model(wrong, told):
    grid = Grid((8, 8, 8), (1.0,) * 3, (0.0,) * 3, (1, 0, 0, 0, 1, 0, 0, 0, 1))
    image = Image(torch.rand(1, 8, 8, 8), grid)

    def progress(fraction, message):
        raise AssertionError("work has begun")

    with pytest.raises(InvalidOption, match=told):
        register(image, image, "convex", progress=progress, **wrong)


def test_a_wrong_dimension_is_told_even_where_the_weights_are_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("NEURALREG_CACHE", str(tmp_path))
    grid = Grid((8, 8), (1.0, 1.0), (0.0, 0.0), (1, 0, 0, 1))
    image = Image(torch.rand(1, 8, 8), grid)
    with pytest.raises(IncompatibleModel, match="got 2D"):
        register(image, image, "gradicon.unigradicon")
