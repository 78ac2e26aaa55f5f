"""What `predict` and `evaluate` write, against SimpleITK and known answers."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import SimpleITK as sitk
import torch
import yaml
from neuralreg.errors import UnreadableFile, UnwritableOutput
from neuralreg.io.image_files import read_image
from neuralreg.io.transform_files import read_transform
from neuralreg.registration.engine import register
from neuralreg.registration.options import LinearAlignment, WeightRefinement
from neuralreg.training.configuration import read_configuration
from neuralreg.training.data.pairs import PairData
from neuralreg.training.loop.run import Run
from neuralreg.training.model.methods import build_model
from neuralreg.training.results.evaluate import evaluate
from neuralreg.training.results.metrics import Labels, label_figures
from neuralreg.training.results.predict import PredictOptions, predict
from neuralreg.zoo.registry import load_card, read_card
from PIL import Image

from Testing.support.command_line import neuralreg
from Testing.support.trainings import training_values


def trained(folder: Path, data: Path, **changes) -> Path:
    """A run of a few steps."""
    values = training_values(data, **changes)
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(values))
    config = read_configuration([path])
    Run(config, folder / "run").train()
    return folder / "run"


@pytest.fixture(scope="module")
def run(shapes, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    return trained(folder, shapes, training__epochs=6, dataset__valid=None)


@pytest.fixture(scope="module")
def predicted(run, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("predicted") / "out"
    done = neuralreg("predict", "-k", str(run), "-o", str(folder), "--json", "-q")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["rows"] == 2
    return folder


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def read(path: Path) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def test_each_pair_has_a_folder_with_everything(predicted):
    (pair,) = predicted.glob("pair_*")
    files = {path.name for path in pair.iterdir()}
    for name in ("fixed", "moving", "warped", "fixed_labels", "moving_labels", "warped_labels"):
        assert {f"{name}.nii.gz", f"{name}.png"} <= files
    assert {"fixed_to_moving.nii.gz", "pair.png", "pair.json"} <= files
    tables = {"metrics.csv", "metrics_stats_per_label.csv", "metrics_stats_overall.csv"}
    assert {*tables, "pairs.png"} <= {path.name for path in predicted.iterdir()}
    width, height = Image.open(pair / "pair.png").size
    assert width == 4 * height + 3 * 4  # fixed, moving, warped, grid


def test_the_field_warps_in_simpleitk_to_what_was_written(predicted):
    (pair,) = predicted.glob("pair_*")
    image = sitk.ReadImage(str(pair / "fixed_to_moving.nii.gz"), sitk.sitkVectorFloat64)
    fixed, moving = (sitk.ReadImage(str(pair / f"{n}.nii.gz")) for n in ("fixed", "moving"))
    assert fixed.GetSize() == (64, 64)  # their own resolution, not the network's
    transform = sitk.DisplacementFieldTransform(image)
    wanted = sitk.GetArrayFromImage(sitk.Resample(moving, fixed, transform))
    found = read(pair / "warped.nii.gz")
    inside = (slice(8, -8), slice(8, -8))  # ITK takes no displacement outside of the field
    np.testing.assert_allclose(found[inside], wanted[inside], atol=2e-3)


def test_labels_stay_a_subset_and_their_overlap_is_simpleitks(predicted):
    (pair,) = predicted.glob("pair_*")
    fixed, warped = (sitk.ReadImage(str(pair / f"{n}_labels.nii.gz")) for n in ("fixed", "warped"))
    assert set(np.unique(read(pair / "warped_labels.nii.gz"))) <= {0, 1, 2}
    measures = sitk.LabelOverlapMeasuresImageFilter()
    measures.Execute(sitk.Cast(fixed, sitk.sitkUInt8), sitk.Cast(warped, sitk.sitkUInt8))
    table = rows(predicted / "metrics.csv")
    assert [row["label"] for row in table] == ["1", "2"]
    for row in table:
        wanted = measures.GetDiceCoefficient(int(row["label"]))
        assert float(row["dice"]) == pytest.approx(wanted, abs=1e-6)


def test_the_statistics_are_those_of_the_table(predicted):
    table = rows(predicted / "metrics.csv")
    overall = {row[""]: row for row in rows(predicted / "metrics_stats_overall.csv")}
    values = [float(row["dice"]) for row in table]
    assert float(overall["mean"]["dice"]) == pytest.approx(sum(values) / 2)
    assert float(overall["count"]["ssd"]) == 1  # of the pair, whatever its labels
    each = {row["label"]: row for row in rows(predicted / "metrics_stats_per_label.csv")}
    assert float(each["2"]["dice_mean"]) == pytest.approx(values[1])


def test_evaluating_the_files_gives_the_same_figures(predicted, tmp_path):
    done = neuralreg("evaluate", str(predicted), "-o", str(tmp_path / "e"), "-q")
    assert done.exit_code == 0, done.stderr
    pairs = zip(rows(predicted / "metrics.csv"), rows(tmp_path / "e" / "metrics.csv"), strict=True)
    for one, other in pairs:
        one.pop("seconds")
        assert one.keys() == other.keys()
        for name in one:
            if name in ("pair", "fixed", "moving"):
                assert one[name] == other[name]
            else:
                assert float(one[name]) == pytest.approx(float(other[name]), abs=1e-4), name


def test_a_checkpoint_of_the_run_may_be_named(run, tmp_path):
    last = run / "checkpoints" / "last.pt"
    done = neuralreg(
        "predict", "-k", str(last), "-o", str(tmp_path), "--no-nifti", "--no-png", "-q"
    )
    assert done.exit_code == 0, done.stderr
    assert [path.name for path in tmp_path.glob("pair_*")] == []
    assert len(rows(tmp_path / "metrics.csv")) == 2


def test_a_split_that_does_not_exist_is_named(run, tmp_path):
    done = neuralreg("predict", "-k", str(run), "-o", str(tmp_path), "--split", "tset", "-q")
    assert done.exit_code == 1
    assert "train, valid or test" in done.stderr


def test_a_known_shift_comes_back_in_millimeters(shapes, tmp_path, monkeypatch):
    """A network that answers with 2 voxels: as many of its own grid's millimeters, on any grid."""
    from neuralreg.training.results import predict as module

    values = training_values(shapes)
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(values))
    config = read_configuration([tmp_path / "study.yaml"])

    class Shift(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.by = torch.nn.Parameter(torch.tensor([2 * 2.0 / 23, 0.0]))

        def forward(self, fixed, moving):
            return lambda points: points + self.by.view(1, 2, 1, 1)

    monkeypatch.setattr(module, "load_trained", lambda *_: Shift())
    predict(config, tmp_path, tmp_path / "out", PredictOptions(png=False))
    (pair,) = (tmp_path / "out").glob("pair_*")
    field = read(pair / "fixed_to_moving.nii.gz")
    voxel_mm = 64 * 1.5 / 24
    np.testing.assert_allclose(field[..., 0], 2 * voxel_mm, atol=1e-3)
    np.testing.assert_allclose(field[..., 1], 0, atol=1e-3)


def test_an_affine_model_writes_its_matrix(shapes, tmp_path):
    run = trained(
        tmp_path, shapes, model__method="affine", model__backbone={"name": "affine", "width": 4},
        training__epochs=3, dataset__valid=None,
    )  # fmt: skip
    config = read_configuration([run / "config.yaml"])
    predict(config, run, tmp_path / "out", PredictOptions(png=False))
    (pair,) = (tmp_path / "out").glob("pair_*")
    matrix = np.loadtxt(pair / "affine.txt", delimiter=",")
    assert matrix.shape == (3, 3)
    transform = sitk.ReadTransform(str(pair / "affine.tfm"))
    field = sitk.ReadImage(str(pair / "fixed_to_moving.nii.gz"), sitk.sitkVectorFloat64)
    for index in ((0, 0), (23, 0), (5, 19)):
        point = np.array(field.TransformIndexToPhysicalPoint(index))
        moved = point + np.array(field[index])
        np.testing.assert_allclose(transform.TransformPoint(point), moved, atol=1e-3)
        np.testing.assert_allclose(matrix[:2, :2] @ point + matrix[:2, 2], moved, atol=1e-3)


def test_a_conditional_model_writes_labels(shapes, tmp_path):
    run = trained(
        tmp_path, shapes, model__method="conditional",
        model__backbone={"name": "unet", "num_channel_initial": 4, "depth": 2},
        loss={"label": {"name": "dice"}}, training__best="dice",
    )  # fmt: skip
    assert not (run / "model.json").exists()
    config = read_configuration([run / "config.yaml"])
    found = predict(config, run, tmp_path / "out")
    assert [row["label"] for row in found] == [1, 2]
    names = {path.name for path in (tmp_path / "out" / "pair_0000").iterdir()}
    assert {"predicted_label_1.nii.gz", "fixed_label_1.nii.gz", "moving_label_1.nii.gz"} <= names
    again = evaluate(tmp_path / "out", tmp_path / "again")
    assert [row["label"] for row in again] == [1, 2]
    for row, other in zip(found, again, strict=True):
        for name in ("dice_before", "dice", "hd95_mm"):
            assert row[name] == pytest.approx(other[name], nan_ok=True)
    said = read(tmp_path / "out" / "pair_0000" / "predicted_label_1.nii.gz") >= 0.5
    fixed = read(tmp_path / "out" / "pair_0000" / "fixed_label_1.nii.gz") >= 0.5
    dice = 2 * (said & fixed).sum() / max(said.sum() + fixed.sum(), 1)
    assert again[0]["dice"] == pytest.approx(dice)


def test_folders_without_files_say_how_to_get_them(tmp_path):
    (tmp_path / "pair_0000").mkdir()
    with pytest.raises(UnreadableFile, match="without --no-nifti"):
        evaluate(tmp_path, tmp_path / "out")


@pytest.mark.parametrize("consistent", [False, True])
def test_the_velocity_of_a_diffeomorphic_model_warps_as_its_displacement(
    shapes, tmp_path, consistent
):
    run = trained(
        tmp_path, shapes, model__method="velocity", dataset__valid=None, dataset__space="world",
        model__inverse_consistent=consistent, training__epochs=8,
        training__optimizer={"name": "Adam", "lr": 0.05}, loss__deformation=[],
    )  # fmt: skip
    config = read_configuration([run / "config.yaml"])
    predict(config, run, tmp_path / "out", PredictOptions(png=False))
    (pair,) = (tmp_path / "out").glob("pair_*")
    stored = read(pair / "velocity.nii.gz")
    displacement = read(pair / "fixed_to_moving.nii.gz")
    assert np.abs(stored).max() > 0.2
    assert np.abs(stored - displacement).max() > 1e-3  # it is not the displacement ...
    integrated = read_transform(pair / "velocity.nii.gz").vectors.movedim(0, -1).numpy()
    np.testing.assert_allclose(integrated, displacement, atol=2e-4)  # ... but what makes it
    warped = tmp_path / "warped.nii.gz"
    files = ("moving.nii.gz", "velocity.nii.gz", "-r", "fixed.nii.gz")
    named = [str(pair / name) if name != "-r" else name for name in files]
    done = neuralreg("warp", *named, "-o", str(warped))
    assert done.exit_code == 0, done.stderr
    np.testing.assert_allclose(read(warped), read(pair / "warped.nii.gz"), atol=1e-3)


def test_a_model_of_several_steps_has_no_one_velocity(shapes, tmp_path):
    run = trained(
        tmp_path, shapes, model__method="velocity", dataset__valid=None, training__epochs=1,
        model__backbone={"name": "dirnet", "width": 4, "times": 2},
    )  # fmt: skip
    config = read_configuration([run / "config.yaml"])
    predict(config, run, tmp_path / "out", PredictOptions(png=False))
    assert not (tmp_path / "out" / "pair_0000" / "velocity.nii.gz").exists()


def test_volumes_are_predicted_too(volumes, tmp_path):
    run = trained(
        tmp_path, volumes, dataset__type="grouped", dataset__size=[12, 10, 8],
        model__backbone={"name": "dirnet", "width": 4, "halvings": 2}, training__epochs=1,
        dataset__valid=None,
    )  # fmt: skip
    config = read_configuration([run / "config.yaml"])
    found = predict(config, run, tmp_path / "out")
    assert {row["label"] for row in found} == {1, 2}
    (pair,) = (tmp_path / "out").glob("pair_*")
    assert read(pair / "warped.nii.gz").shape == (16, 16, 16)
    assert read(pair / "fixed_to_moving.nii.gz").shape == (8, 10, 12, 3)


def test_distances_of_two_boxes_are_known():
    from neuralreg.geometry.grid import Grid

    grid = Grid((20, 10, 8), (1.0, 2.0, 3.0), (0, 0, 0), tuple(np.eye(3).ravel()))
    one = torch.zeros(grid.shape, dtype=torch.bool)
    one[2:6, 2:8, 4:10] = True
    other = one.roll(3, 2)
    found = label_figures(Labels(one, one.roll(5, 2), other), grid)
    assert found["dice"] == pytest.approx(0.5)
    assert found["dice_before"] == pytest.approx(1 / 6)
    assert found["centroid_mm"] == pytest.approx(3)
    assert found["hd95_mm"] == pytest.approx(3)
    nothing = label_figures(Labels(one, one, torch.zeros_like(one)), grid)
    assert nothing["dice"] == 0
    assert np.isnan(nothing["hd95_mm"])


def test_the_best_weights_are_the_ones_that_predict(run, shapes):
    """The exported file holds what the checkpoint holds, under names that both know."""
    config = read_configuration([run / "config.yaml"])
    from neuralreg.training.results.predict import load_trained

    one = load_trained(config, run, "cpu").state_dict()
    other = load_trained(config, run / "checkpoints" / "best.pt", "cpu").state_dict()
    assert one.keys() == build_model(config.model, config.dataset.shape).state_dict().keys()
    assert all(torch.equal(one[key], other[key]) for key in one)
    assert len(PairData(config.dataset, "test").items(0)) == 1


def test_the_card_of_a_run_says_how_it_is_fitted_to_a_pair(run, shapes):
    """By what it was trained by; and the model that it describes can be fitted so."""
    card = read_card(run / "model.json")
    assert (card.fitting.similarity, card.fitting.regularity) == ("ssd", "diffusion")
    assert card.fitting.weight == pytest.approx(0.1)
    network = load_card(card, run)
    fixed, moving = (
        read_image(shapes / "test" / "images" / f"{n}.nii.gz") for n in pair_of(shapes)
    )
    how = WeightRefinement(steps=5, rate=1e-3)
    found = register(fixed, moving, network, linear=LinearAlignment.NONE, refinement=how)
    losses = found.provenance["refined"]["losses"]
    assert losses[-1] < losses[0]


def pair_of(shapes):
    names = sorted(path.name for path in (shapes / "test" / "images").iterdir())
    return [name.removesuffix(".nii.gz") for name in names[:2]]


def test_soft_labels_are_warped_and_measured_one_by_one(tmp_path):
    """Two channels that overlap, in HDF5: no label map could hold them."""
    random = np.random.default_rng(0)
    y, x = np.meshgrid(np.arange(20), np.arange(24))  # axes x y
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
        with (
            h5py.File(tmp_path / split / "images.h5", "w") as images,
            h5py.File(tmp_path / split / "labels.h5", "w") as labels,
        ):
            for name in "abcd":
                away = np.hypot(x - 12 - random.uniform(-2, 2), y - 10)
                images[name] = np.exp(-((away / 6) ** 2)).astype(np.float32)
                soft = [1 / (1 + np.exp(away - radius)) for radius in (7, 4)]
                labels[name] = np.stack(soft, -1).astype(np.float32)
    splits = {
        f"dataset__{s}": {"dir": str(tmp_path / s), "format": "h5", "labeled": True}
        for s in ("train", "test")
    }
    run = trained(tmp_path, tmp_path, **splits, dataset__valid=None, training__epochs=1)
    config = read_configuration([run / "config.yaml"])
    found = predict(config, run, tmp_path / "out", PredictOptions(png=False))
    assert [row["label"] for row in found[:2]] == [1, 2]
    assert all(row["dice"] > 0.5 for row in found)
    soft = read(tmp_path / "out" / "pair_0000" / "warped_label_1.nii.gz")
    assert 0 < float(soft[5:15].min()) < float(soft.max()) < 1
    again = evaluate(tmp_path / "out", tmp_path / "again")
    assert [row["dice"] for row in again] == pytest.approx([row["dice"] for row in found])


def test_predictions_do_not_replace_the_images_that_they_are_made_of(run, shapes, tmp_path):
    """A data set in the folder of a pair, as it is when an earlier prediction is learned from."""
    data = tmp_path / "pair_0000"
    shutil.copytree(shapes, data)
    config = read_configuration([run / "config.yaml"], [f"dataset.test.dir={data / 'test'}"])
    before = {path: path.read_bytes() for path in data.rglob("*") if path.is_file()}
    with pytest.raises(UnwritableOutput, match="would replace images"):
        predict(config, run, tmp_path)
    assert {path: path.read_bytes() for path in data.rglob("*") if path.is_file()} == before


def test_a_prediction_is_replaced_as_a_whole(run, tmp_path):
    """Three pairs, then one: no figure of the earlier ones is left, for evaluate either."""
    command = ["predict", "-k", str(run), "-o", str(tmp_path), "-q"]
    more = ["--set", "dataset.type=every_pair", "--split", "test"]
    assert neuralreg(*command, *more).exit_code == 0
    before = len(list(tmp_path.glob("pair_*")))
    again = neuralreg(*command)
    assert again.exit_code == 4
    (tmp_path / "metrics.csv").unlink()  # an interrupted call has pairs and no table
    again = neuralreg(*command)
    assert again.exit_code == 4
    assert "holds predictions" in again.stderr
    assert neuralreg(*command, "--overwrite").exit_code == 0
    assert len(list(tmp_path.glob("pair_*"))) == 1 < before
    assert len({row["pair"] for row in evaluate(tmp_path, tmp_path)}) == 1
    assert not (tmp_path / "replaced").exists()


def test_a_prediction_that_fails_leaves_the_earlier_one(run, shapes, tmp_path):
    data = Path(shutil.copytree(shapes, tmp_path / "data"))
    config = read_configuration([run / "config.yaml"], [f"dataset.test.dir={data / 'test'}",
                                                        "dataset.cache=none"])  # fmt: skip
    predict(config, run, tmp_path / "out")
    before = {p: p.read_bytes() for p in (tmp_path / "out").rglob("*") if p.is_file()}
    image = sorted((data / "test" / "images").iterdir())[-1]
    image.write_bytes(image.read_bytes()[:100])
    with pytest.raises(UnreadableFile, match=image.name):
        predict(config, run, tmp_path / "out")
    assert {p: p.read_bytes() for p in (tmp_path / "out").rglob("*") if p.is_file()} == before
