"""The record that tells everything about a model before it is loaded."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Similarity = Literal["auto", "mind", "lncc", "ncc", "ssd"]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Input(_Record):
    """What a model wants to see.

    dimensions: of the images. space: "fixed", the field of view of the fixed image, sampled as
    evenly as `most_samples` allows, or "size", a fixed number of samples.
    intensity: the rule that brings values to the model's range.
    """

    dimensions: tuple[Literal[2, 3], ...]
    space: Literal["fixed", "size"] = "fixed"
    most_samples: int | None = Field(None, ge=512)
    size: tuple[int, ...] | None = None
    spacing_mm: tuple[float, ...] | None = None
    orientation: str | None = Field(None, pattern="^[LRAPSI]{3}$")
    intensity: Literal["ranked", "unit"] = "ranked"
    channels: int = Field(1, ge=1)


class Output(_Record):
    """What a model emits, always fixed to moving on the fixed grid that it saw.

    kind: unit of the numbers. order: axis of the first component, as in the array (zyx) or as in
    the world (xyz). velocity: whether the numbers are a stationary velocity to be integrated.
    """

    kind: Literal["voxel", "normalized", "unit_map", "affine"]
    order: Literal["xyz", "zyx"] = "xyz"
    velocity: bool = False


class Weights(_Record):
    """Where the numbers of a network come from. Absent for a model that needs none."""

    file: str | None = None
    url: str | None = None
    sha256: str | None = Field(None, pattern="^[0-9a-f]{64}$")
    bytes: int | None = None
    format: Literal["state_dict", "safetensors", "torchscript"] = "state_dict"


class ModelCard(_Record):
    """One model: a JSON file in Resources/Models, checked by this schema."""

    name: str = Field(pattern=r"^[a-z0-9_]+(\.[a-z0-9_]+)?$")
    title: str
    architecture: str
    arguments: dict[str, Any] = {}
    input: Input
    output: Output
    weights: Weights | None = None
    license: str
    citation: str
    training_data: str
    modalities: tuple[str, ...]
    anatomies: tuple[str, ...]
    intended_use: str
    limits: str
    refinement: Similarity | None = "auto"
    measured: dict[str, str] = {}
