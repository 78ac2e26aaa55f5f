"""DeepReg's configurations in our keys: written anew here with the keys that it documents."""

from __future__ import annotations

import json

import pytest
import yaml
from neuralreg.errors import InvalidOption
from neuralreg.training.config.convert import convert
from neuralreg.training.config.schema import Configuration
from neuralreg.training.configuration import read_configuration

from Testing.support.command_line import neuralreg


def split(labeled: bool, format: str = "nifti"):
    return {"dir": "somewhere", "format": format, "labeled": labeled}


def unpaired(**train):
    """As the abdomen demo: labels at scales, a U-Net, affine changes."""
    return {
        "dataset": {
            "train": split(True), "valid": split(True), "test": split(True),
            "type": "unpaired", "image_shape": [30, 20, 10], "sample_label": "sample",
        },
        "train": {
            "method": "ddf",
            "backbone": {"name": "unet", "num_channel_initial": 8, "depth": 2, "pooling": True,
                         "concat_skip": True},
            "loss": {
                "image": {"name": "ssd", "weight": 1},
                "label": {"name": "dice", "weight": 0.1, "scales": [0, 1, 2]},
                "regularization": {"name": "gradient", "weight": 0.025},
            },
            "preprocess": {"data_augmentation": {"name": "affine"}, "batch_size": 4,
                           "shuffle_buffer_num_batch": 1, "num_parallel_calls": -1},
            "optimizer": {"name": "Adam", "learning_rate": 1e-4},
            "epochs": 50, "save_period": 5,
            **train,
        },
    }  # fmt: skip


def test_a_whole_configuration_becomes_ours():
    done = convert(unpaired())
    config = Configuration.model_validate(done.config)
    assert config.dataset.size == (30, 20, 10)
    assert config.dataset.augmentation[0].name == "affine"
    assert config.dataset.workers == 2
    assert config.model.method == "displacement"
    assert config.model.backbone[0].options["concat_skip"] is True
    assert config.loss.label[0].options == {"scales": [0, 1, 2]}
    assert config.loss.deformation[0].weight == 0.025
    assert config.training.optimizer.options == {"lr": 1e-4}
    assert (config.training.epochs, config.training.save_period) == (50, 5)
    assert config.training.batch_size == 4
    assert len(done.notes) == 1
    assert "shuffle_buffer_num_batch" in done.notes[0]


def test_the_command_writes_a_file_that_train_accepts(tmp_path):
    (tmp_path / "old.yaml").write_text(yaml.safe_dump(unpaired()))
    arguments = ["convert-config", str(tmp_path / "old.yaml"), "-o", str(tmp_path / "new.yaml")]
    done = neuralreg(*arguments, "--json")
    assert done.exit_code == 0, done.stderr
    assert len(json.loads(done.stdout)["notes"]) == 1
    config = read_configuration([tmp_path / "new.yaml"])
    assert config.dataset.type == "unpaired"
    again = neuralreg(*arguments)
    assert again.exit_code == 4


def test_groups_keep_their_options():
    old = unpaired()
    old["dataset"] |= {"type": "grouped", "intra_group_prob": 0.7, "intra_group_option": "forward",
                       "sample_image_in_group": False}  # fmt: skip
    dataset = Configuration.model_validate(convert(old).config).dataset
    assert dataset.intra_group_prob == 0.7
    assert dataset.intra_group_option == "forward"
    assert not dataset.sample_image_in_group


def test_paired_images_of_two_shapes_become_one_and_a_note():
    old = unpaired()
    del old["dataset"]["image_shape"]
    old["dataset"] |= {"type": "paired", "moving_image_shape": [9, 9, 9],
                       "fixed_image_shape": [8, 8, 8]}  # fmt: skip
    done = convert(old)
    assert done.config["dataset"]["size"] == [8, 8, 8]
    assert any("moving_image_shape" in note for note in done.notes)


@pytest.mark.parametrize(
    ("backbone", "method", "wanted", "said"),
    [
        ({"name": "local", "extract_levels": [0, 1, 2]}, "ddf", "displacement", "linear"),
        ({"name": "local", "extract_levels": [0, 1], "depth": 3}, "dvf", "velocity", "linear"),
        ({"name": "global", "depth": 2}, "ddf", "affine", ""),
        ({"name": "unet", "depth": 2}, "conditional", "conditional", "ignores it"),
    ],
)
def test_methods_and_backbones(backbone, method, wanted, said):
    done = convert(unpaired(method=method, backbone=backbone))
    config = Configuration.model_validate(done.config)
    assert config.model.method == wanted
    assert config.model.backbone[0].options == {k: v for k, v in backbone.items() if k != "name"}
    assert any(said in note for note in done.notes)


def test_labels_that_nobody_has_are_left_out():
    old = unpaired()
    for name in ("train", "valid", "test"):
        old["dataset"][name] = split(False, "h5")
    done = convert(old)
    assert "label" not in done.config["loss"]
    assert any("no labels" in note for note in done.notes)


@pytest.mark.parametrize(
    ("name", "becomes"),
    [("ssd", "mean-squared"), ("mean-squared", "mean-squared"),
     ("generalised_dice", "generalized_dice"), ("cross-entropy", "cross-entropy"),
     ("jaccard", "jaccard")],
)  # fmt: skip
def test_label_losses_have_their_names(name, becomes):
    loss = {"label": {"name": name, "weight": 1.0, "scales": [1, 2], "kernel": "cauchy",
                      "smooth_nr": 1e-3}}  # fmt: skip
    done = convert(unpaired(loss=loss))
    assert done.config["loss"]["label"][0]["name"] == becomes
    assert done.config["loss"]["label"][0]["kernel"] == "cauchy"
    never = any("never existed" in note for note in done.notes)
    assert never == (name in ("mean-squared", "generalised_dice"))
    assert any("smooth_nr" in note for note in done.notes)


def test_several_losses_of_a_kind_stay_several():
    loss = {"image": [{"name": "lncc", "kernel_size": 5, "weight": 0.5}, {"name": "gmi"}],
            "regularization": {"name": "bending", "weight": 1.0}}  # fmt: skip
    done = convert(unpaired(loss=loss))
    assert [one["name"] for one in done.config["loss"]["image"]] == ["lncc", "gmi"]
    assert any("narrower stencils" in note for note in done.notes)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"name": "SGD", "momentum": 0.9}, {"name": "SGD", "lr": 0.01, "momentum": 0.9}),
        ({"name": "Adam", "beta_1": 0.8, "epsilon": 1e-7},
         {"name": "Adam", "betas": [0.8, 0.999], "eps": 1e-7}),
        ({"name": "Nadam", "learning_rate": 1.0}, {"name": "NAdam", "lr": 1.0}),
        ({"name": "Ftrl", "learning_rate": 1.0}, {"name": "Adam", "lr": 1.0}),
        ({"name": "adam", "adam": {"learning_rate": 0.1}}, {"name": "Adam", "lr": 0.1}),
    ],
)  # fmt: skip
def test_optimizers_of_keras_become_torchs(old, new):
    assert convert(unpaired(optimizer=old)).config["training"]["optimizer"] == new


def test_the_form_of_before_1_0_is_known():
    old = {
        "dataset": {"dir": {"train": "a", "valid": "b", "test": "c"}, "format": "nifti",
                    "labeled": True, "type": "unpaired", "image_shape": [8, 8, 8]},
        "train": {
            "model": {"method": "ddf", "backbone": "local",
                      "local": {"num_channel_initial": 4, "extract_levels": [0, 1, 2]}},
            "loss": {
                "dissimilarity": {
                    "image": {"name": "lncc", "weight": 1.0, "lncc": {"kernel_size": 7}},
                    "label": {"name": "multi_scale", "weight": 0.5,
                              "multi_scale": {"loss_type": "dice", "loss_scales": [0, 1]}},
                },
                "regularization": {"weight": 0.25, "energy_type": "gradient-l1"},
            },
            "optimizer": {"name": "sgd", "sgd": {"learning_rate": 0.1, "momentum": 0.5}},
            "preprocess": {"batch_size": 2}, "epochs": 3, "save_period": 1,
        },
    }  # fmt: skip
    config = Configuration.model_validate(convert(old).config)
    assert str(config.dataset.valid.dir[0]) == "b"
    assert config.dataset.test.labeled
    assert config.model.backbone[0].options["extract_levels"] == [0, 1, 2]
    assert config.loss.image[0].options == {"kernel_size": 7}
    assert config.loss.label[0].options == {"scales": [0, 1]}
    assert config.loss.deformation[0].options == {"l1": True}
    assert config.training.optimizer.options == {"lr": 0.1, "momentum": 0.5}


def test_a_part_of_a_configuration_is_translated_by_itself():
    done = convert({"dataset": {"image_shape": [8, 8, 8]}, "train": {"epochs": 1}})
    assert done.config == {"dataset": {"size": [8, 8, 8]}, "training": {"epochs": 1}}


def test_what_has_no_counterpart_is_named():
    done = convert({**unpaired(), "extra": 1, "train": {**unpaired()["train"], "magic": True}})
    assert "extra: not translated, it has no counterpart" in done.notes
    assert "train.magic: not translated, it has no counterpart" in done.notes


def test_ddf_augmentation_becomes_deformable():
    done = convert(unpaired(preprocess={"data_augmentation": [{"name": "affine", "scale": 0.2},
                                                              {"name": "ddf"}]}))  # fmt: skip
    made = done.config["dataset"]["augmentation"]
    assert made == [{"name": "affine", "scale": 0.2}, {"name": "deformable"}]
    assert any("look at the pictures" in note for note in done.notes)


def early(**changes):
    """As before 0.1.6: folders by split, sections of which a name chooses one."""
    return {
        "dataset": {
            "dir": {"train": "train", "valid": None, "test": "train"},
            "format": "nifti", "type": "unpaired", "labeled": True, "image_shape": [16, 16, 16],
        },
        "train": {
            "model": {
                "method": {"name": "dvf", "control_points": [4, 4, 4]},
                "backbone": "unet",
                "unet": {"num_channel_initial": 2, "depth": 2, "out_activation": ""},
                "local": {"num_channel_initial": 1},
            },
            "loss": {
                "dissimilarity": {"image": {"name": "ssd", "weight": 1.0}},
                "regularization": {"weight": 0.4, "energy_type": "gradient-l2"},
            },
            "optimizer": {"name": "adam", "adam": {"learning_rate": 1e-5}, "sgd": {"momentum": 1}},
            "epochs": 1,
            **changes,
        },
    }  # fmt: skip


def test_what_early_versions_had_beside_is_named_and_the_rest_can_be_trained(write_yaml):
    done = convert(early())
    config = read_configuration([write_yaml(done.config)])
    assert config.model.method == "velocity"
    assert config.dataset.valid is None
    for named in ("method.control_points", "model.local", "optimizer.sgd", "dataset.valid",
                  "backbone.out_activation"):  # fmt: skip
        assert any(named in note for note in done.notes), named


def test_a_loss_that_is_none_here_is_kept_and_named_as_what_train_refuses(write_yaml):
    loss = {"image": {"name": "lp_norm", "p": 2}, "regularization": {"energy_type": "l2"}}
    done = convert(early(loss=loss))
    assert any("loss.image: there is no 'lp_norm'" in note for note in done.notes)
    assert any("loss.deformation: there is no 'l2'" in note for note in done.notes)
    with pytest.raises(InvalidOption, match="lp_norm"):
        read_configuration([write_yaml(done.config)])


def test_several_files_of_deepreg_merge_as_it_merges_them(tmp_path):
    """Sections by sections; the options of an earlier file stay."""
    first, second = unpaired(), {"train": {"loss": {"image": {"weight": 3}}, "epochs": 9}}
    for name, values in (("a.yaml", first), ("b.yaml", second)):
        (tmp_path / name).write_text(yaml.safe_dump(values))
    files = [str(tmp_path / name) for name in ("a.yaml", "b.yaml")]
    done = neuralreg("convert-config", *files, "-o", str(tmp_path / "c.yaml"))
    assert done.exit_code == 0, done.stderr
    config = read_configuration([tmp_path / "c.yaml"])
    assert (config.loss.image[0].name, config.loss.image[0].weight) == ("ssd", 3)
    assert config.training.epochs == 9
