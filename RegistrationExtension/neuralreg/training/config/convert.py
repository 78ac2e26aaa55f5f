"""DeepReg's configurations as ours, with a word on everything that is not quite the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from neuralreg.training.config.deepreg_pre1 import SPLITS, Config, modern
from neuralreg.training.config.part_registry import (
    AUGMENTATIONS,
    BACKBONES,
    DATASETS,
    LOSSES,
    Registry,
)

_METHODS = {
    "ddf": "displacement",
    "dvf": "velocity",
    "affine": "affine",
    "conditional": "conditional",
}
_SAME_DATA = (
    "type", "sample_label", "intra_group_prob", "intra_group_option", "sample_image_in_group",
)  # fmt: skip
_RATES = {"SGD": 0.01, "Adagrad": 0.001, "Adadelta": 0.001, "Adamax": 0.001, "RMSprop": 0.001}
_RENAMED = {"learning_rate": "lr", "epsilon": "eps", "rho": "alpha"}
_LABEL_OPTIONS = ("binary", "background_weight", "scales", "kernel")
_WORKERS = 2


@dataclass
class Conversion:
    """A converted configuration.

    Attributes:
        config: in our keys.
        notes: what differs, and what could not be translated.
    """

    config: Config = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def convert(old: Config) -> Conversion:
    """A configuration of DeepReg, whole or a part of one, in our keys.

    Whatever has no counterpart is named in the notes; nothing is dropped without one.
    """
    done = Conversion()
    old = modern(old, done.notes)
    train = dict(old.pop("train", {}))
    if "dataset" in old:
        done.config["dataset"] = _dataset(dict(old.pop("dataset")), done.notes)
    if "method" in train or "backbone" in train:
        done.config["model"] = _model(train, done.notes)
    if train.get("loss"):
        done.config["loss"] = _losses(dict(train.pop("loss")), done)
    training = _training(train, done)
    if training:
        done.config["training"] = training
    _rest(old, "", done.notes)
    _rest(train, "train.", done.notes)
    _check_parts(done)
    return done


def _check_parts(done: Conversion) -> None:
    """Name the parts that do not exist here, and leave out options that a part does not have."""
    model = done.config.get("model", {})
    kinds: list[tuple[str, Registry, Any]] = [("model.backbone", BACKBONES, model.get("backbone"))]
    kinds += [(f"loss.{on}", LOSSES[on], done.config.get("loss", {}).get(on)) for on in LOSSES]
    kind = done.config.get("dataset", {}).get("type")
    if kind is not None and kind not in DATASETS.names():
        _note_unknown("dataset.type", DATASETS, kind, done.notes)
    changes = done.config.get("dataset", {}).get("augmentation")
    kinds.append(("dataset.augmentation", AUGMENTATIONS, changes))
    for key, registry, parts in kinds:
        for part in parts if isinstance(parts, list) else [parts] if parts else []:
            _check_part(key, registry, part, done.notes)


def _note_unknown(key: str, registry: Registry, name: str, notes: list[str]) -> None:
    notes.append(
        f"{key}: there is no '{name}' here, so that train will refuse it: choose one of "
        f"{', '.join(registry.names())}, or register your own (`code`, docs/training.md)"
    )


def _check_part(key: str, registry: Registry, part: Config, notes: list[str]) -> None:
    name = str(part.get("name"))
    if name not in registry.names():
        _note_unknown(key, registry, name, notes)
        return
    known = {*registry.option_names(name), "name", "weight"}
    for option in [option for option in part if option not in known]:
        del part[option]
        notes.append(f"{key}.{option}: left out, '{name}' has no such option here")


def _rest(left: Config, head: str, notes: list[str]) -> None:
    notes += [f"{head}{key}: not translated, it has no counterpart" for key in left]


def _dataset(data: Config, notes: list[str]) -> Config:
    new: Config = {key: data.pop(key) for key in _SAME_DATA if data.get(key) is not None}
    data.pop("sample_label", None)
    shape = data.pop("image_shape", None) or data.pop("fixed_image_shape", None)
    if shape is not None:
        new["size"] = list(shape)
    if "moving_image_shape" in data:
        moving = data.pop("moving_image_shape")
        if shape is not None and list(moving) != list(shape):
            notes.append(
                f"dataset.moving_image_shape {list(moving)}: the network sees both images in "
                "dataset.size samples; the moving image is warped from its own resolution"
            )
    for split in SPLITS:
        about = data.pop(split, None)
        if about and about.get("dir", True):
            new[split] = dict(about)
        elif about:
            notes.append(f"dataset.{split}: left out, it names no folder")
    _rest(data, "dataset.", notes)
    return new


def _model(train: Config, notes: list[str]) -> Config:
    method = str(train.pop("method", None) or "ddf")
    backbone = train.pop("backbone", None) or {}
    backbone = dict(backbone) if isinstance(backbone, dict) else {"name": backbone}
    new: Config = {"method": _METHODS.get(method, method)}
    if method not in _METHODS:
        notes.append(f"train.method: '{method}' is unknown")
    if backbone.get("name") == "global":
        new["method"] = "affine"
        if method not in ("ddf", "affine"):
            notes.append("train.backbone: GlobalNet gives an affine motion with any method")
    if backbone.get("name") == "local":
        _local(backbone, notes)
    if backbone:
        new["backbone"] = backbone
    return new


def _local(backbone: Config, notes: list[str]) -> None:
    notes.append(
        "train.backbone: LocalNet is MONAI's, with linear instead of nearest doubling "
        "(mode: nearest restores the blocks)"
    )
    if not backbone.get("extract_levels") and "depth" in backbone:
        backbone["extract_levels"] = list(range(backbone["depth"] + 1))


def _losses(old: Config, done: Conversion) -> Config:
    method = done.config.get("model", {}).get("method")
    kinds: dict[str, tuple[str, Callable[[Config, list[str]], Config]]] = {
        "image": ("image", _image_loss),
        "label": ("label", _label_loss),
        "regularization": ("deformation", _regularization),
    }
    new: Config = {}
    for key, (name, translate) in kinds.items():
        options = old.pop(key, None)
        if not options:
            continue
        losses = [dict(one) for one in (options if isinstance(options, list) else [options])]
        if key != "label" and method == "conditional":
            done.notes.append(f"train.loss.{key}: left out, DeepReg ignores it for conditional")
            continue
        if key == "label" and not _has_labels(done.config):
            done.notes.append("train.loss.label: left out, the training images have no labels")
            continue
        new[name] = [translate(loss, done.notes) for loss in losses]
    _rest(old, "train.loss.", done.notes)
    return new


def _has_labels(config: Config) -> bool:
    """Whether there are labels; a part of a configuration does not say, so they are kept."""
    train = config.get("dataset", {}).get("train", {})
    return bool(train.get("labeled", True))


def _image_loss(loss: Config, notes: list[str]) -> Config:
    for key in ("smooth_nr", "smooth_dr"):
        if loss.pop(key, None) is not None:
            notes.append(f"train.loss.image.{key}: not translated, ours is fixed")
    if loss.get("name") == "lncc":
        notes.append(
            "train.loss.image: lncc is 1 - cc² here; windows without structure score 1 instead of 0"
        )
    return loss


def _label_loss(loss: Config, notes: list[str]) -> Config:
    name = loss.get("name")
    if name in ("mean-squared", "generalised_dice"):
        notes.append(f"train.loss.label: '{name}' was documented but never existed in DeepReg")
    loss["name"] = {"ssd": "mean-squared", "generalised_dice": "generalized_dice"}.get(
        str(name), name
    )
    for key in [k for k in loss if k not in ("name", "weight", *_LABEL_OPTIONS)]:
        del loss[key]
        notes.append(f"train.loss.label.{key}: not translated, ours is fixed")
    return loss


def _regularization(loss: Config, notes: list[str]) -> Config:
    if loss.get("name") == "bending":
        notes.append(
            "train.loss.regularization: bending has narrower stencils here, up to 8 times as much "
            "on rough fields: choose the weight anew"
        )
    return loss


def _training(train: Config, done: Conversion) -> Config:
    new: Config = {key: train.pop(key) for key in ("epochs", "save_period") if key in train}
    if "optimizer" in train:
        new["optimizer"] = _optimizer(dict(train.pop("optimizer")), done.notes)
    before = dict(train.pop("preprocess", {}))
    if "batch_size" in before:
        new["batch_size"] = before.pop("batch_size")
    if before.pop("shuffle_buffer_num_batch", None) is not None:
        done.notes.append(
            "train.preprocess.shuffle_buffer_num_batch: not needed, all pairs are shuffled"
        )
    calls = before.pop("num_parallel_calls", None)
    if calls is not None:
        workers = calls if calls > 0 else _WORKERS
        done.config.setdefault("dataset", {})["workers"] = workers
    changes = before.pop("data_augmentation", None)
    if changes:
        changes = changes if isinstance(changes, list) else [changes]
        augmentations = [_augmentation(dict(one), done.notes) for one in changes]
        done.config.setdefault("dataset", {})["augmentation"] = augmentations
    _rest(before, "train.preprocess.", done.notes)
    return new


def _optimizer(old: Config, notes: list[str]) -> Config:
    name = str(old.pop("name", "Adam"))
    new: Config = {"name": {"Nadam": "NAdam"}.get(name, name)}
    if name == "Ftrl":
        notes.append("train.optimizer: Ftrl does not exist in torch, Adam was taken")
        new["name"] = "Adam"
    if "learning_rate" not in old and name in _RATES:
        new["lr"] = _RATES[name]  # Keras' default; torch has another one
    betas = [old.pop("beta_1", None), old.pop("beta_2", None)]
    if any(b is not None for b in betas):
        new["betas"] = [
            0.9 if betas[0] is None else betas[0],
            0.999 if betas[1] is None else betas[1],
        ]
    for key, value in old.items():
        new[_RENAMED.get(key, key)] = value
    return new


def _augmentation(old: Config, notes: list[str]) -> Config:
    if old.get("name") != "ddf":
        return old
    strength = old.get("field_strength", 1)
    notes.append(
        "train.preprocess.data_augmentation: 'ddf' became 'deformable', whose strength is not the "
        f"same as field_strength {strength}: look at the pictures"
    )
    return {"name": "deformable"}
