"""Structures of a brain: names, sides and volumes, and what is no brain."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from neuralreg.errors import IncompatibleModel, InvalidImage
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.image import Image
from neuralreg.io.image_files import write_image
from neuralreg.registration.brain.labeling import LabeledBox
from neuralreg.registration.brain.structures import check_contrast, check_volumes, label_brain
from neuralreg.zoo.registry import model_card
from scipy.spatial.transform import Rotation

from Testing.support.band_network import NAME, STRUCTURES, phantom, write_band_network
from Testing.support.command_line import neuralreg
from Testing.support.paths import WEIGHTS

UPRIGHT = tuple(np.eye(3).ravel())
GRID = Grid((60, 74, 60), (2.2, 2.2, 2.2), (-65, -75, -70), UPRIGHT)


@pytest.fixture
def band_network(tmp_path, monkeypatch) -> None:
    """A network that labels the phantom, under the name of the usual one."""
    write_band_network(tmp_path / "own")
    monkeypatch.setenv("NEURALREG_MODELS", str(tmp_path / "own"))


def overlap(one: np.ndarray, two: np.ndarray) -> float:
    return 2 * (one & two).sum() / (one.sum() + two.sum())


@pytest.mark.parametrize("tilt", [(0, 0, 0), (4, 12, -15)])
def test_structures_lie_where_they_are_and_their_sides_follow_a_tilted_head(band_network, tilt):
    to_brain = np.eye(4)
    to_brain[:3, :3] = Rotation.from_euler("xyz", tilt, degrees=True).as_matrix()
    image, truth = phantom(GRID, to_brain)
    brain = label_brain(image, sides=True)
    found = brain.labels.data[0].numpy()
    assert brain.labels.grid == GRID
    names = {segment.value: segment.name for segment in brain.segments}
    assert names[107] == "Left-Thalamus"
    assert names[207] == "Right-Thalamus"
    assert names[13] == "Brain-Stem"
    for value in (101, 201, 102, 202, 105, 205, 107, 207):
        assert overlap(found == value, truth == value) > 0.6, names[value]
    wrong = (found > 99) & (truth > 99) & (found // 100 != truth // 100)
    assert wrong.mean() < 0.005


def test_volumes_are_those_of_the_structures_and_add_up_over_both_sides(band_network):
    image, truth = phantom(GRID)
    both = label_brain(image)
    apart = label_brain(image, sides=True)
    ml = (truth % 100 == 7).sum() * 2.2**3 / 1000
    assert both.volumes_ml[7] == pytest.approx(ml, rel=0.15)
    assert apart.volumes_ml[107] + apart.volumes_ml[207] == pytest.approx(both.volumes_ml[7])
    rows = {row["name"]: row for row in both.table()}
    assert rows["Thalamus"]["label"] == 7
    assert len(rows) == len(STRUCTURES) + 1


def test_the_command_writes_labels_with_names_and_colors_and_a_table(band_network, tmp_path):
    head = tmp_path / "head.nii.gz"
    write_image(phantom(GRID)[0], head)
    names = ("labels.seg.nrrd", "volumes.csv", "colors.ctbl")
    paths = [tmp_path / name for name in names]
    words = ("-o", paths[0], "--table", paths[1], "--colors", paths[2], "--sides", "--json")
    outcome = neuralreg("label", str(head), *map(str, words))
    assert outcome.exit_code == 0, outcome.stderr
    facts = json.loads(outcome.stdout)
    image = sitk.ReadImage(paths[0])
    keys = {image.GetMetaData(k): k for k in image.GetMetaDataKeys() if k.endswith("_Name")}
    number = keys["Left-Hippocampus"].removesuffix("_Name")
    assert image.GetMetaData(f"{number}_LabelValue") == "114"
    color = [float(c) * 255 for c in image.GetMetaData(f"{number}_Color").split()]
    assert color == pytest.approx((220, 216, 20), abs=0.01)
    extent = np.reshape([int(n) for n in image.GetMetaData(f"{number}_Extent").split()], (3, 2))
    at = np.argwhere(sitk.GetArrayFromImage(image) == 114)[:, ::-1]
    assert np.array_equal(extent, np.stack([at.min(0), at.max(0)], 1))
    with paths[1].open() as file:
        rows = {row["name"]: float(row["volume_ml"]) for row in csv.DictReader(file)}
    assert rows == {row["name"]: row["volume_ml"] for row in facts["structures"]}
    assert "114 Left-Hippocampus 220 216 20 255" in paths[2].read_text().splitlines()


def test_two_outputs_in_one_file_and_files_that_exist_are_refused(tmp_path):
    head = tmp_path / "head.nii.gz"
    write_image(phantom(GRID)[0], head)
    once, twice = str(tmp_path / "l.nii.gz"), str(tmp_path / "t.csv")
    outcome = neuralreg("label", str(head), "-o", once, "--table", twice, "--colors", twice)
    assert "a file of its own" in outcome.stderr
    outcome = neuralreg("label", str(head), "-o", str(head))
    assert outcome.exit_code == 4
    assert not (tmp_path / "l.nii.gz").exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [({14: 0.0}, "no Hippocampus"), ({7: 2.0}, "Thalamus of 2.0 ml")],
)
def test_a_brain_without_what_each_brain_has_is_refused(changes, words):
    volumes = np.full(256, 20.0)
    volumes[1:3] = 500
    assert check_volumes(volumes, model_card(NAME), "head") == []
    for value, ml in changes.items():
        volumes[value] = ml
    with pytest.raises(InvalidImage, match=rf"T1-weighted.*{words}"):
        check_volumes(volumes, model_card(NAME), "head")


def test_an_unusual_structure_is_a_warning():
    volumes = np.full(256, 20.0)
    volumes[1], volumes[14] = 500, 2
    (note,) = check_volumes(volumes, model_card(NAME), "moving image")
    assert "moving image" in note
    assert "Hippocampus of 2.0 ml" in note


@pytest.mark.parametrize(
    ("model", "white", "cortex", "words"),
    [
        (NAME, 120, 90, ""),  # T1
        (NAME, 68, 78, "medians 68 and 78"),  # FLAIR, as measured
        (NAME, 30, 39, "as in FLAIR, T2 and PD"),  # T2, as measured
        ("aparc50", 120, 90, ""),
        ("aparc50", 68, 78, "aparc50 knows"),
    ],
)
def test_a_contrast_that_is_not_that_of_t1_is_a_warning(model, white, cortex, words):
    numbers = {s.name: n for n, s in enumerate(model_card(model).structures)}
    labels = np.zeros((12, 12, 12), np.uint8)
    labels[2:10], labels[4:8] = numbers.get("Cerebral-Cortex", numbers.get("ctx-insula")), 1
    grid = Grid((12, 12, 12), (1, 1, 1), (0, 0, 0), UPRIGHT)
    coarse = Grid((6, 6, 6), (2, 2, 2), (0.5, 0.5, 0.5), UPRIGHT)
    values = np.where(labels == 1, white, cortex)[::2, ::2, ::2].astype(np.float32)
    image = Image(torch.from_numpy(values)[None], coarse)
    notes = check_contrast(image, LabeledBox(labels, grid), model_card(model), "moving image")
    assert len(notes) == bool(words)
    assert all(words in note and "moving image" in note for note in notes)


def test_a_labeling_says_that_the_contrast_is_not_that_of_t1(band_network):
    image, _ = phantom(GRID)  # its cortex is the brighter one
    notes = [note for note in label_brain(image).warnings if "contrast of T1" in note]
    assert len(notes) == 1


def test_a_model_for_another_task_and_a_ct_are_refused():
    with pytest.raises(IncompatibleModel, match=r"gives no labels.*subcortical18"):
        label_brain(phantom(GRID)[0], model="mindgrab")
    ct = Image(phantom(GRID)[0].data * 40 - 1000, GRID)
    with pytest.raises(InvalidImage, match="values of a CT"):
        label_brain(ct)


def test_the_network_for_heads_refuses_a_brain_without_skull():
    grid = Grid((50, 50, 50), (4, 4, 4), (-98, -98, -98), UPRIGHT)
    index = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), -1)[..., ::-1]
    ball = (np.linalg.norm(grid.points_at(index), axis=-1) < 67) * 50.0
    image = Image(torch.from_numpy(ball)[None].float(), grid)
    with pytest.raises(IncompatibleModel, match="heads with skull"):
        label_brain(image, model="aparc50")


@pytest.mark.needs_shared(WEIGHTS / "meshnet.subcortical18.bin")
def test_what_shows_no_brain_is_refused_by_the_structures_that_are_missing():
    generator = torch.Generator().manual_seed(0)
    grid = Grid((26, 26, 4), (4, 4, 4), (0, 0, 0), UPRIGHT)
    slab = Image(torch.rand(1, *grid.shape, generator=generator) + 5, grid)
    with pytest.raises(InvalidImage, match=r"T1-weighted image of a whole human brain.*no "):
        label_brain(slab, cache=WEIGHTS)
