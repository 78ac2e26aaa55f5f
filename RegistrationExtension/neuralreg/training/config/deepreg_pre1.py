"""DeepReg's configurations of before 1.0, turned into the form that its later versions document."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

Config = dict[str, Any]

SPLITS = ("train", "valid", "test")
_KERAS = {"adam": "Adam", "sgd": "SGD", "rms": "RMSprop"}


def modern(old: Config) -> Config:
    """The same configuration with folders per split, a backbone by name and flat losses."""
    new = deepcopy(old)
    if "dataset" in new:
        new["dataset"] = _dataset(new["dataset"])
    train = new.get("train", {})
    model = train.pop("model", None)
    if model is not None:
        train |= _model(model)
    if "loss" in train:
        train["loss"] = _losses(train["loss"])
    optimizer = train.get("optimizer", {})
    name = optimizer.get("name")
    if isinstance(optimizer.get(name), dict):
        train["optimizer"] = {"name": _KERAS.get(name, name), **optimizer[name]}
    return new


def _dataset(data: Config) -> Config:
    """`dir: {train: ...}` with one format for all."""
    if not isinstance(data.get("dir"), dict):
        return data
    folders = data.pop("dir")
    about = {key: data.pop(key) for key in ("format", "labeled") if key in data}
    return data | {split: {"dir": folders[split], **about} for split in SPLITS if split in folders}


def _model(model: Config) -> Config:
    backbone = model.get("backbone")
    if not isinstance(backbone, str):
        return model
    options = dict(model.get(backbone, {}))
    if backbone == "global" and "extract_levels" in options:
        options["depth"] = max(options.pop("extract_levels"))
    return {"method": model.get("method"), "backbone": {"name": backbone, **options}}


def _losses(losses: Config) -> Config:
    losses |= losses.pop("dissimilarity", {})
    if isinstance(losses.get("image"), dict):
        losses["image"] = _flatten_loss(losses["image"])
    if isinstance(losses.get("label"), dict):
        losses["label"] = _label(losses["label"])
    if isinstance(losses.get("regularization"), dict):
        losses["regularization"] = _regularization(losses["regularization"])
    return losses


def _flatten_loss(loss: Config) -> Config:
    """`name: lncc, lncc: {kernel_size: 9}` with its options beside the name."""
    options = loss.pop(str(loss.get("name")), None)
    return loss | options if isinstance(options, dict) else loss


def _label(loss: Config) -> Config:
    kind = loss.get("name")
    if kind in ("single_scale", "multi_scale"):
        options = loss[kind]
        loss = {"name": options["loss_type"], "weight": loss.get("weight", 1.0)}
        if kind == "multi_scale":
            loss["scales"] = options["loss_scales"]
    if "neg_weight" in loss:
        loss["background_weight"] = loss.pop("neg_weight")
    if loss.get("name") == "dice_generalized":
        loss["name"] = "dice"
    return loss


def _regularization(loss: Config) -> Config:
    energy = loss.pop("energy_type", None)
    if energy is None:
        return loss
    names: dict[str, Config] = {
        "bending": {"name": "bending"},
        "gradient-l1": {"name": "gradient", "l1": True},
        "gradient-l2": {"name": "gradient", "l1": False},
    }
    return loss | names.get(energy, {"name": energy})
