"""The record that describes a model before it is loaded."""

from __future__ import annotations

from typing import Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

from neuralreg.errors import InvalidOption

Similarity = Literal["auto", "mind", "lncc", "ncc", "ssd"]
TRAINED = "neuralreg_trained"  # the architecture of what `neuralreg train` exports
_STATES = ("state_dict", "safetensors")
_FIELDS = ("voxel", "normalized", "unit_map")
Task = Literal["registration", "brain mask", "labels"]


def task_of(name: str) -> Task:
    """The task of that name.

    Args:
        name: as on cards.

    Raises:
        InvalidOption: there is none.
    """
    for task in get_args(Task):
        if name == task:
            known: Task = task
            return known
    raise InvalidOption("unknown task", got=f"'{name}'", wanted=" or ".join(get_args(Task)))


class FrozenRecord(BaseModel):
    """A record that is checked when it is read, and refuses keys that it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Input(FrozenRecord):
    """What a model takes as input. Lists over axes are z y x, as in the array.

    Attributes:
        dimensions: numbers of axes of the images that it is for.
        space: "fixed", the field of view of the fixed image in cubic voxels, as many as
            `most_samples` allows; "whole", that field of view in `shape` samples, whatever their
            spacing; "placed", a grid of `shape` and `spacing_mm` whose sample `center` is at the
            center of mass of the fixed intensities; "centered", such a grid whose middle is at the
            middle of the image, for networks that label one image.
        most_samples: of a "fixed" grid, in all.
        shape: samples of a "whole" or "placed" grid.
        spacing_mm: of a "placed" grid.
        center: index of the sample of a "placed" grid that is put on the center of mass.
        spread_mm: standard deviation of the voxels of the training brains around their center,
            along the array's axes. A placed grid is stretched towards it, half-way (the spread of
            one brain also depends on its mask and shape) and by no more than a quarter: it stands
            for the scaling part of the affine alignment to a template that the training images had.
        orientation: where the axes of the array lead to, such as "LIA"; that of the fixed image if
            absent.
        intensity: how values are scaled to the model's range, see
            `neuralreg.registration.preprocess`; of a "centered" grid
            `neuralreg.registration.brain.conform`.
        content: "brain" for heads whose skull was removed, "any" for everything.
        channels: number of images of one person that are given as the channels of one image.
    """

    dimensions: tuple[Literal[2, 3], ...]
    space: Literal["fixed", "whole", "placed", "centered"] = "fixed"
    most_samples: int | None = Field(None, ge=512)
    shape: tuple[int, ...] | None = None
    spacing_mm: float | None = Field(None, gt=0)
    center: tuple[float, ...] | None = None
    spread_mm: tuple[float, ...] | None = None
    orientation: str | None = Field(None, pattern="^[LRAPSI]{2,3}$")
    intensity: Literal[
        "unit", "extremes", "brain", "modality", "quantiles", "wide_quantiles", "bright_tail"
    ] = "unit"
    content: Literal["any", "brain"] = "any"
    channels: int = Field(1, ge=1)

    @model_validator(mode="after")
    def _grid_is_complete(self) -> Self:
        needed = {
            "whole": ("shape",),
            "placed": ("shape", "spacing_mm", "center"),
            "centered": ("shape", "spacing_mm", "orientation"),
        }
        for name in needed.get(self.space, ()):
            if getattr(self, name) is None:
                raise ValueError(f'space "{self.space}" needs `{name}`')
        return self


class Output(FrozenRecord):
    """What a model emits, always fixed to moving on the fixed grid that it saw.

    Attributes:
        kind: unit of the numbers; "features" is for networks that describe each voxel instead of
            moving it: the search of the default engine compares the descriptions; "labels" for
            networks that give each voxel of one image a score for each of its structures.
        order: axis of the first component, as in the world (xyz) or as in the array (zyx).
        velocity: whether the numbers are a stationary velocity to be integrated; networks that
            integrate inside do not.
        weighted: of descriptions: they are in the scale of MIND-SSC, and their length counts; of
            others only the direction does.
    """

    kind: Literal["voxel", "normalized", "unit_map", "affine", "features", "labels"]
    order: Literal["xyz", "zyx"] = "xyz"
    velocity: bool = False
    weighted: bool = False


class Structure(FrozenRecord):
    """A structure that a network labels; its place in the card's list is its label.

    Attributes:
        name: in the terms of the authors.
        color: red, green, blue, 0 to 255.
        sided: whether there is one on the left and one on the right.
    """

    name: str
    color: tuple[int, int, int]
    sided: bool = False


class RunOption(FrozenRecord):
    """A number that may be chosen for each run, such as the smoothness of the field.

    Attributes:
        title: for a label in a panel.
        meaning: what lower and higher values do.
        default: unless chosen otherwise.
        minimum: lowest value.
        maximum: highest value.
    """

    title: str
    meaning: str
    default: float
    minimum: float
    maximum: float


class Weights(FrozenRecord):
    """Where the numbers of a network come from. Absent for a model that needs none.

    Attributes:
        file: name of the file, beside the card or in the cache.
        url: pinned to a commit or release.
        sha256: of the file. Where a publisher gives neither this nor git_blob, the first download
            is recorded and compared from then on.
        git_blob: SHA-1 by which git knows the file in a public tree.
        bytes: size of the file.
        format: how it was saved; "float32" is little-endian numbers without names.
        page: where people read about the weights and their terms.
    """

    file: str = Field(pattern=r"^[\w.-]+$")
    url: str | None = Field(default=None, pattern="^https?://")
    sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")
    git_blob: str | None = Field(default=None, pattern="^[0-9a-f]{40}$")
    bytes: int | None = Field(default=None, ge=1)
    format: Literal["state_dict", "safetensors", "torchscript", "exported", "float32"] = (
        "state_dict"
    )
    page: str | None = None  # where people read about the weights and their terms


class Fitting(FrozenRecord):
    """The loss by which the weights are fitted to one pair (instance optimization).

    As close as these parts come to the training loss of the network.

    Attributes:
        similarity: "lncc", squared, in cubes of `size` voxels; "lncc_icon", signed, in Gaussian
            windows; "mind"; "ssd".
        size: of the cubes of "lncc", in voxels.
        scales: number of resolutions for "lncc", each with half the weight of the one before, in
            windows two voxels smaller.
        regularity: of the map to the moving image and back, "icon" or "gradicon"; of the
            displacement in voxels, "diffusion" or "bending".
        weight: of the regularity, times the run option `per`, if any.
        per: name of the run option that scales `weight`.
        both: whether the loss is that of both directions.
        rate: learning rate of Adam.
    """

    similarity: Literal["lncc", "lncc_icon", "mind", "ssd"] = "lncc"
    size: int = Field(default=9, ge=3)
    scales: int = Field(default=1, ge=1)
    regularity: Literal["gradicon", "icon", "diffusion", "bending"] = "diffusion"
    weight: float = Field(default=1.0, ge=0)
    per: str | None = None
    both: bool = False
    rate: float = Field(default=1e-4, gt=0)

    @model_validator(mode="after")
    def _there_and_back(self) -> Self:
        if self.regularity in ("icon", "gradicon") and not self.both:
            raise ValueError(f"regularity {self.regularity} needs both directions")
        return self


class ModelCard(FrozenRecord):
    """One model: a JSON file in Resources/Models, checked by this schema.

    Attributes:
        name: by which `register(..., model=name)` and the command line find it.
        title: for lists.
        task: what it does with images.
        structures: of a network for labels, the background first.
        architecture: a file of neuralreg.networks, or a name registered by `register_architecture`.
        arguments: of its `build`.
        code: SHA-256 of Python files of the user's own by path beside the card; they are run before
            the network is built.
        input: what it takes.
        output: what its numbers mean.
        options: what may be chosen for each run.
        weights: where they come from; none for a model without weights.
        license: of the weights.
        citation: with DOI.
        training_data: which images it was trained on.
        modalities: of the images that it is for; "any" for all.
        anatomies: of the images that it is for; "any" for all.
        intended_use: what it is for.
        limits: what it is not for.
        refinement: the similarity that suits the model's result; none forbids refining.
        fitting: how its weights are fitted to one pair; none forbids that.
        auto_rank: rank among the models that suit a pair for the choice "auto", the lowest first;
            models without a rank are not chosen.
        measured: figures by name, as text.
    """

    name: str = Field(pattern=r"^[a-z0-9_]+(\.[a-z0-9_]+)?$")
    title: str
    task: Task = "registration"
    structures: tuple[Structure, ...] = ()
    architecture: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    arguments: dict[str, Any] = {}
    code: dict[str, str] = {}
    input: Input
    output: Output
    options: dict[str, RunOption] = {}
    weights: Weights | None = None
    license: str
    citation: str
    training_data: str
    modalities: tuple[str, ...]
    anatomies: tuple[str, ...]
    intended_use: str
    limits: str
    refinement: Similarity | None = "auto"
    fitting: Fitting | None = None
    auto_rank: int | None = None
    measured: dict[str, str] = {}

    @property
    def trainable(self) -> bool:
        """Whether a training can start from it: a network with weights that moves points."""
        own_layout = self.weights is not None and self.weights.format in _STATES
        return own_layout and self.output.kind in _FIELDS

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.fitting and self.fitting.per and self.fitting.per not in self.options:
            raise ValueError(f"fitting.per names an option that is not there: {self.fitting.per}")
        if (self.output.kind == "labels") != (self.task != "registration"):
            raise ValueError(f"an output of kind {self.output.kind} is not for {self.task}")
        if self.output.kind == "labels" and not (
            self.structures and self.input.space == "centered"
        ):
            raise ValueError('an output of kind labels needs structures and space "centered"')
        if self.fitting and self.output.kind in ("features", "affine", "labels"):
            raise ValueError(f"an output of kind {self.output.kind} has no fitting")
        return self
