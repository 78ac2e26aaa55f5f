"""What a training configuration may say. `docs/training.md` explains it with examples."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, model_validator

from neuralreg.zoo.card import FrozenRecord, Input
from neuralreg.zoo.python_sources import PythonSource


class NamedPart(BaseModel):
    """A part by name, and its options."""

    model_config = ConfigDict(frozen=True, extra="allow")
    name: str

    @property
    def options(self) -> dict[str, Any]:
        """What is to be given to the part."""
        return dict(self.model_extra or {})


class WeightedLoss(NamedPart):
    """A loss, its options and its share in the total."""

    weight: float = Field(default=1.0, ge=0)


class Step(NamedPart):
    """One network of a chain, each of which sees what the ones before have warped.

    Its name and options are those of the backbone.

    Attributes:
        answer: what its numbers mean; as `model.method` unless given.
        downsample: factor by which the images are reduced for it.
        times: how often it is applied, with one set of weights.
    """

    answer: Literal["displacement", "velocity", "affine"] | None = None
    downsample: int = Field(default=1, ge=1)
    times: int = Field(default=1, ge=1)


class Augmentation(NamedPart):
    """A random change of the training images.

    Attributes:
        of: the image that it is for.
        together: whether both images get the same change.
    """

    of: Literal["both", "fixed", "moving"] = "both"
    together: bool = False


def _one_or_many(value: Any) -> Any:
    """A single entry as a list of one; a bare name as an entry without options."""
    values = value if isinstance(value, list | tuple) else [] if value is None else [value]
    return [{"name": v} if isinstance(v, str) else v for v in values]


def _paths(value: Any) -> Any:
    return [value] if isinstance(value, str | Path) else value


def _name(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


Losses = Annotated[tuple[WeightedLoss, ...], BeforeValidator(_one_or_many)]
Folders = Annotated[tuple[Path, ...], BeforeValidator(_paths), Field(min_length=1)]


class Split(FrozenRecord):
    """The images of training, validation or test.

    Attributes:
        dir: one folder or several.
        format: "nifti" (also NRRD and MetaImage) or "h5".
        labeled: whether label maps are used.
        masked: whether masks are used, from the folder "masks" next to the images; image losses
            count inside of both only.
    """

    dir: Folders
    format: Literal["nifti", "h5"] = "nifti"
    labeled: bool = False
    masked: bool = False


class Patch(FrozenRecord):
    """Pieces instead of whole images in training.

    Attributes:
        size: samples x y z.
        foreground: fraction of the pieces that are in the body.
    """

    size: tuple[int, ...]
    foreground: float = Field(default=0.9, ge=0, le=1)


class Dataset(FrozenRecord):
    """Images, how they make pairs, and how a network sees them.

    Attributes:
        type: "paired", "unpaired", "grouped", or your own; "shapes" for random shapes that are made
            as they are needed, for the method "features".
        size: samples x y z that the field of view is divided into.
        train: images of the training.
        valid: images of the validation.
        test: images of the test.
        space: "own", each image's own field of view; "world", that of the fixed image, for images
            that are in one position.
        intensity: how values are scaled to 0..1, see `registration.preprocess`.
        labels: the values of the label maps that count; all unless given.
        sample_label: one label of a pair at a time, or all; validation and test use all.
        intra_group_prob: of "grouped", see `pairing`.
        intra_group_option: of "grouped", see `pairing`.
        sample_image_in_group: of "grouped", see `pairing`.
        patch: pieces instead of whole images in training.
        augmentation: random changes, in this order.
        cache: where resampled images are kept.
        workers: processes that load.
        options: of a type of your own.
        pairs: of "shapes", in an epoch.
        input: what a published network takes, as its card describes; set by `start_from`.
    """

    type: str = "unpaired"
    size: tuple[Annotated[int, Field(ge=4)], ...] = Field(min_length=2, max_length=3)
    train: Split | None = None
    valid: Split | None = None
    test: Split | None = None
    space: Literal["own", "world"] = "own"
    intensity: Literal["extremes", "unit", "brain", "modality"] = "extremes"
    labels: tuple[int, ...] | None = None
    sample_label: Literal["sample", "all"] = "sample"
    intra_group_prob: float = Field(default=1.0, ge=0, le=1)
    intra_group_option: Literal["forward", "backward", "unconstrained"] = "unconstrained"
    sample_image_in_group: bool = True
    patch: Patch | None = None
    augmentation: Annotated[tuple[Augmentation, ...], BeforeValidator(_one_or_many)] = ()
    cache: Literal["memory", "disk", "none"] = "memory"
    workers: int = Field(default=0, ge=0)
    options: dict[str, Any] = Field(default_factory=dict)
    pairs: int = Field(default=200, ge=1)
    input: Input | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """The size in array order, z y x."""
        return self.size[::-1]

    @property
    def network_shape(self) -> tuple[int, ...]:
        """What the network is built for, z y x: patches where there are, else whole images."""
        return self.patch.size[::-1] if self.patch else self.shape

    @model_validator(mode="after")
    def _patch_fits(self) -> Self:
        if self.patch is not None:
            pairs = zip(self.patch.size, self.size, strict=False)
            if len(self.patch.size) != len(self.size) or any(p > n for p, n in pairs):
                raise ValueError(f"a patch of {self.patch.size} does not fit into {self.size}")
        return self


class Model(FrozenRecord):
    """What is trained.

    Attributes:
        method: what a network's numbers mean: "displacement", "velocity" (diffeomorphic), "affine",
            or "conditional" (from label to label, without a transform), "features" (descriptions
            of each voxel, for the search of the default engine to compare).
        backbone: one network, or a list of steps, see `Step`.
        inverse_consistent: the transforms of both orders are inverse to each other by construction
            (velocities only).
        multi_resolution: the last of several steps sees the images as they are, each one before at
            half of the resolution (ICON's nesting).
        integration_steps: squarings of a velocity.
        weights: of another run or of a model of the zoo, to begin with.
        start_from: a model of the zoo, a card or a run, whose network, weights and input are taken
            over, see `starting_point`.
    """

    method: Literal["displacement", "velocity", "affine", "conditional", "features"] = (
        "displacement"
    )
    backbone: Annotated[tuple[Step, ...], BeforeValidator(_one_or_many), Field(min_length=1)]
    inverse_consistent: bool = False
    multi_resolution: bool = False
    integration_steps: int = Field(default=7, ge=1)
    weights: str | None = None
    start_from: str | None = None

    @model_validator(mode="after")
    def _suits(self) -> Self:
        if self.inverse_consistent and (self.method != "velocity" or len(self.backbone) > 1):
            raise ValueError("inverse_consistent needs method velocity and one backbone")
        if self.method == "conditional" and (
            len(self.backbone) > 1 or self.backbone[0].times > 1 or self.backbone[0].downsample > 1
        ):
            raise ValueError("conditional has one step at full resolution: there is no transform")
        if self.weights and self.start_from:
            raise ValueError("start_from sets the weights: leave out weights")
        return self


class MatchingLoss(FrozenRecord):
    """How descriptions are compared, see `descriptor_loss.MatchingStep`."""

    cell: int = Field(default=4, ge=2, multiple_of=2)
    reach: int = Field(default=3, ge=1)
    sharpness: float = Field(default=10.0, gt=0)
    near_sharpness: float = Field(default=7.2, gt=0)
    places: int = Field(default=1500, ge=1)


class Loss(FrozenRecord):
    """What is minimized: the sum of weight times loss.

    Attributes:
        features: options of the matching loss, for the method "features" only.
        image: losses on the images.
        label: losses on the labels.
        deformation: losses on the deformation.
        symmetric: whether the losses of both directions are added.
    """

    features: MatchingLoss | None = None
    image: Losses = ()
    label: Losses = ()
    deformation: Losses = ()
    symmetric: bool = False

    @model_validator(mode="after")
    def _something(self) -> Self:
        parts = (*self.image, *self.label, *self.deformation)
        if self.features is None and not any(part.weight for part in parts):
            raise ValueError("a training needs a loss with a weight above 0")
        return self


class Stage(FrozenRecord):
    """Some epochs in which a part of the model is trained.

    Attributes:
        epochs: of the stage.
        freeze: patterns (with "*") of the names of parameters that stay as they are.
        levels: how many levels of a pyramid make the output, the coarsest first; the finer ones do
            nothing; all unless given.
    """

    epochs: int = Field(ge=1)
    freeze: Annotated[tuple[str, ...], BeforeValidator(_paths)] = ()
    levels: int | None = Field(default=None, ge=1)


class Training(FrozenRecord):
    """How the loop runs.

    Attributes:
        epochs: passes over the pairs.
        max_steps: largest number of steps.
        batch_size: pairs per batch.
        optimizer: a class of torch.optim and its options.
        schedule: one of torch.optim.lr_scheduler, stepped after each epoch.
        accumulate: batches per step.
        clip: largest norm of the gradient.
        precision: "float32", "bfloat16" or "float16" (autocast).
        device: "auto", or a device as torch names it.
        threads: of torch on a CPU.
        seed: of all random numbers.
        deterministic: the same numbers on every run with one device.
        validate_period: epochs between validations.
        save_period: epochs between checkpoints that are kept.
        best: the validation metric that decides which weights are the result, such as "dice" or
            "loss".
        patience: validations without an improvement until the end.
        pictures: epochs between pictures in TensorBoard; 0 for none.
        stages: what is trained first, one after the other; then everything is, for the rest of the
            epochs. "best" is judged anew, and patience counts, from the last stage on.
    """

    epochs: int = Field(default=100, ge=1)
    max_steps: int | None = Field(default=None, ge=1)
    batch_size: int = Field(default=1, ge=1)
    optimizer: Annotated[NamedPart, BeforeValidator(_name)] = NamedPart(name="Adam", lr=1e-4)  # type: ignore[call-arg]
    schedule: Annotated[NamedPart | None, BeforeValidator(_name)] = None
    accumulate: int = Field(default=1, ge=1)
    clip: float | None = Field(default=None, gt=0)
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    device: str = "auto"
    threads: int | None = Field(default=None, ge=1)
    seed: int = 0
    deterministic: bool = False
    validate_period: int = Field(default=1, ge=1)
    save_period: int | None = Field(default=None, ge=1)
    best: str = "loss"
    patience: int | None = Field(default=None, ge=1)
    pictures: int = Field(default=10, ge=0)
    stages: tuple[Stage, ...] = ()

    @model_validator(mode="after")
    def _stages_fit(self) -> Self:
        needed = sum(stage.epochs for stage in self.stages)
        if self.stages and needed >= self.epochs:
            raise ValueError(
                f"the stages take {needed} epochs and leave none of {self.epochs} in which all is "
                "trained"
            )
        return self


class Configuration(FrozenRecord):
    """A whole training.

    Attributes:
        name: of the trained model.
        title: of a recipe, for the list of the panel Train.
        offered: of a recipe, its position in that list; none leaves it out.
        dataset: the images.
        model: what is trained.
        loss: what is minimized.
        training: how the loop runs.
        code: Python files that register parts of your own.
    """

    name: str = Field(default="trained", pattern=r"^[a-z0-9_]+(\.[a-z0-9_]+)?$")
    title: str = ""
    offered: int | None = None
    dataset: Dataset
    model: Model
    loss: Loss
    training: Training = Training()
    code: Annotated[tuple[Path, ...], BeforeValidator(_paths)] = ()
    _source: dict[str, Any] = PrivateAttr(default_factory=dict)
    _sources: tuple[PythonSource, ...] = PrivateAttr(default=())

    @classmethod
    def from_source(cls, source: dict[str, Any]) -> Self:
        """The configuration of plain values, which it keeps."""
        config = cls.model_validate(source)
        config._source = source
        return config

    @property
    def source(self) -> dict[str, Any]:
        """The plain values that it was made of, as merged, without defaults."""
        return self._source or self.model_dump(mode="json", exclude_unset=True)

    @property
    def code_sources(self) -> tuple[PythonSource, ...]:
        """All Python files of the user's own that it needs, once they were run."""
        return self._sources

    def keep_code(self, sources: Sequence[PythonSource]) -> None:
        """Remember the Python files that it needs."""
        self._sources = tuple(sources)

    @model_validator(mode="after")
    def _features_learn_from_shapes(self) -> Self:
        asked_for = (
            self.model.method == "features",
            self.dataset.type == "shapes",
            self.loss.features is not None,
        )
        if any(asked_for) and not all(asked_for):
            raise ValueError(
                "method features, dataset type shapes and loss.features belong together"
            )
        return self
