"""From a configuration to a network that describes voxels, and to its card."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from neuralreg.errors import InvalidOption
from neuralreg.io.files import sha256_of, write_whole
from neuralreg.networks.descriptor import Descriptor
from neuralreg.training import run_files
from neuralreg.training.config import schema
from neuralreg.training.config.part_registry import FEATURES
from neuralreg.training.descriptors.descriptor_loss import MatchingStep, SyntheticBatches
from neuralreg.training.tensor_files import save_tensors
from neuralreg.zoo.card import Input, ModelCard, Output, Weights

_MOST_SAMPLES = 700_000  # of the grid on which the search compares features


def build_descriptor_step(config: schema.Configuration) -> MatchingStep:
    """The network of a configuration with its loss.

    Raises:
        InvalidOption: a wrong backbone.
    """
    assert config.loss.features is not None  # the schema wants it
    return MatchingStep(_network(config), **config.loss.features.model_dump())


def synthetic_batches(
    config: schema.Configuration,
    device: torch.device,
    *,
    pairs: int | None = None,
    seed: int | None = None,
) -> SyntheticBatches:
    """The batches of a configuration, or some of another number and seed."""
    return SyntheticBatches(
        config.dataset.shape,
        pairs=config.dataset.pairs if pairs is None else pairs,
        size=config.training.batch_size,
        seed=config.training.seed if seed is None else seed,
        device=device,
    )


def export_descriptor(
    folder: Path,
    config: schema.Configuration,
    network: nn.Module,
    measured: dict[str, str],
    steps: int,
) -> Path:
    """Write the weights and a card for them.

    Args:
        folder: gets both files.
        config: of the training.
        network: with the weights.
        measured: figures for the card.
        steps: of the training.

    Returns:
        The path of the card.
    """
    path = folder / f"{config.name}.pt"
    values = {name: v.detach().cpu().contiguous() for name, v in network.state_dict().items()}
    save_tensors(values, path)
    card = ModelCard(
        name=config.name,
        title=config.name.replace("_", " "),
        architecture=_backbone(config).name,
        arguments=_arguments(config),
        input=Input.model_validate(
            {
                "dimensions": [len(config.dataset.size)],
                "most_samples": _MOST_SAMPLES,
                "intensity": "extremes",
            }
        ),
        output=Output(kind="features", weighted=True),
        weights=Weights(file=path.name, sha256=sha256_of(path), bytes=path.stat().st_size),
        license="your own",
        citation="your own",
        training_data=f"random shapes in random contrasts, {steps} steps",
        modalities=("any",),
        anatomies=("any",),
        intended_use="Features for the coupled convex search.",
        limits="Known only to its trainer.",
        refinement="mind",
        measured=measured,
    )
    with write_whole(folder / run_files.CARD) as draft:
        draft.write_text(card.model_dump_json(indent=2, exclude_none=True), encoding="utf-8")
    return folder / run_files.CARD


def _backbone(config: schema.Configuration) -> schema.Step:
    if len(config.model.backbone) > 1:
        raise InvalidOption("features come from one backbone", got=f"{len(config.model.backbone)}")
    return config.model.backbone[0]


def _arguments(config: schema.Configuration) -> dict[str, object]:
    return {"dimension": len(config.dataset.size), **_backbone(config).options}


def _network(config: schema.Configuration) -> nn.Module:
    backbone, dimension = _backbone(config), len(config.dataset.size)
    network: nn.Module = FEATURES.build(backbone.name, backbone.options, dimension=dimension)
    return network


FEATURES.register("descriptor")(Descriptor)
