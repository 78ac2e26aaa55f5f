"""DeepReg's configurations of before 1.0, turned into the form that its later versions document."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

Config = dict[str, Any]

SPLITS = ("train", "valid", "test")
_KERAS = {"adam": "Adam", "sgd": "SGD", "rms": "RMSprop"}


def modern(old: Config, notes: list[str]) -> Config:
    """The same configuration with folders per split, a backbone by name and flat losses.

    Args:
        old: of any version.
        notes: what is left out is appended.
    """
    new = deepcopy(old)
    for key in ("dataset", "train"):
        if key in new and not isinstance(new[key], dict):
            notes.append(f"{key}: left out, it has no keys of its own")
            del new[key]
    if "dataset" in new:
        new["dataset"] = _dataset(new["dataset"])
    train = new.get("train", {})
    model = train.pop("model", None)
    if isinstance(model, dict):
        train |= _model(model, notes)
    method = train.get("method")
    if isinstance(method, dict):
        train["method"] = method.pop("name", None)
        _note_options("train.method", method, notes)
    sample = new.get("dataset", {}).get("sample_label")
    if isinstance(sample, dict):
        new["dataset"]["sample_label"] = sample.pop("train", None)
        _note_options("dataset.sample_label", sample, notes)
    if isinstance(train.get("loss"), dict):
        train["loss"] = _losses(train["loss"])
    optimizer = train.get("optimizer") or {}
    name = str(optimizer.get("name"))
    if isinstance(optimizer.get(name), dict):
        _note_unused("train.optimizer", optimizer, ("name", name), notes)
        train["optimizer"] = {"name": _KERAS.get(name, name), **optimizer[name]}
    return new


def _note_options(head: str, options: Config, notes: list[str]) -> None:
    notes += [
        f"{head}.{key}: not translated, it has no counterpart"
        for key, value in options.items()
        if value is not None
    ]


def _note_unused(head: str, options: Config, used: tuple[str, ...], notes: list[str]) -> None:
    """Of several sections of which a name chooses one, the others."""
    notes += [f"{head}.{key}: left out, it was not used" for key in options if key not in used]


def _dataset(data: Config) -> Config:
    """`dir: {train: ...}` with one format for all."""
    if not isinstance(data.get("dir"), dict):
        return data
    folders = data.pop("dir")
    about = {key: data.pop(key) for key in ("format", "labeled") if key in data}
    return data | {split: {"dir": folders[split], **about} for split in SPLITS if split in folders}


def _model(model: Config, notes: list[str]) -> Config:
    backbone, method = model.get("backbone"), model.get("method")
    chosen = backbone.get("name") if isinstance(backbone, dict) else backbone
    options = dict(model.get(chosen) or {}) if isinstance(chosen, str) else {}
    if isinstance(backbone, dict):
        options |= {key: value for key, value in backbone.items() if key != "name"}
    if chosen == "global" and "extract_levels" in options and "depth" not in options:
        options["depth"] = max(options.pop("extract_levels"))
    _note_unused("train.model", model, ("method", "backbone", str(chosen)), notes)
    named = {"backbone": {"name": chosen, **options}} if chosen else {}
    return {**({"method": method} if method else {}), **named}


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
