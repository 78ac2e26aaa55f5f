"""What can be chosen about a registration: one object for Python, command line, worker and panel.

Needs neither torch nor NumPy, so that a process that only shows images can import it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from neuralreg.errors import InvalidOption
from neuralreg.registration.guides.landmark_guide import LandmarkGuide

if TYPE_CHECKING:
    from neuralreg.zoo.loaded_network import RegistrationNetwork

Similarity = Literal["auto", "mind", "lncc"]
BRAIN_MODELS = ("auto", "mindgrab", "template")  # of masks for heads
FEWEST_SAMPLES = 32**3  # of an image that is made coarser; less shows no anatomy
STARTS = ("auto", "search", "labels")  # of the linear alignment
COLORS = ("luminance", "rgb")
LABEL_SOURCES = ("given", "auto")  # of labels that drive
Precision = Literal["float32", "bfloat16", "float16"]


class LinearAlignment(StrEnum):
    """How far the linear stage may go; AUTO is AFFINE with the simplest explanation preferred."""

    AUTO = "auto"
    NONE = "none"
    CENTER = "center"
    RIGID = "rigid"
    AFFINE = "affine"


def _check_refinement(refinement: Refinement) -> None:
    if refinement.similarity not in get_args(Similarity):
        raise _unknown("similarity of a refinement", refinement.similarity, get_args(Similarity))
    numbers = {
        "steps": refinement.steps,
        "regularity": refinement.regularity,
        "rate": refinement.rate,
    }
    for name, value in numbers.items():
        if value is not None and not value >= 0:
            raise InvalidOption(
                f"the {name} of a refinement is a number", got=f"{value}", wanted=">= 0"
            )


def _unknown(what: str, got: object, choices: list[Any] | tuple[Any, ...]) -> InvalidOption:
    return InvalidOption(f"unknown {what}", got=f"'{got}'", wanted=" or ".join(map(str, choices)))


@dataclass(frozen=True)
class FieldRefinement:
    """How a displacement field is refined by gradient descent on a stationary velocity field.

    Attributes:
        similarity: "auto" starts with MIND and ends with LNCC where both images show one modality.
        steps: of gradient descent, per similarity and resolution.
        regularity: 1 is the usual weight of the squared gradient of the velocity.
        rate: length of the first steps in voxels; unless given 1 for MIND and 0.5 for LNCC.

    Raises:
        InvalidOption: for an unknown similarity or a negative number.
    """

    similarity: Similarity = "auto"
    steps: int = 32
    regularity: float = 1.0
    rate: float | None = None

    def __post_init__(self) -> None:
        _check_refinement(self)


@dataclass(frozen=True)
class WeightRefinement:
    """How a copy of a network is fitted to one pair before it predicts (instance optimization).

    See `neuralreg.registration.instance_optimization`. The 50 steps are those of uniGradICON's
    tool.

    Attributes:
        similarity: "auto" is what the network was trained with.
        steps: of gradient descent.
        regularity: 1 is the weight on the network's card.
        rate: of Adam; the card's unless given.

    Raises:
        InvalidOption: for an unknown similarity or a negative number.
    """

    similarity: Similarity = "auto"
    steps: int = 50
    regularity: float = 1.0
    rate: float | None = None

    def __post_init__(self) -> None:
        _check_refinement(self)


Refinement: TypeAlias = FieldRefinement | WeightRefinement
_REFINEMENTS: dict[str, type[Refinement]] = {"field": FieldRefinement, "weights": WeightRefinement}


@dataclass(frozen=True)
class Preset:
    """Settings by the name of what is registered.

    Attributes:
        refinement: how the field of the search is refined.
        reason: why so.
    """

    refinement: FieldRefinement
    reason: str


PRESETS = {
    "generic": Preset(
        FieldRefinement(), "Nothing is known: the similarity is chosen by looking at the images."
    ),
    "brain MR": Preset(
        FieldRefinement(similarity="auto", regularity=0.7),
        "Cortex differs between people at the scale of a few voxels: a more flexible field.",
    ),
    "abdomen CT": Preset(
        FieldRefinement(similarity="lncc", regularity=1.3),
        "Organs have little contrast against noise: structure is safer than intensity.",
    ),
    "lung CT": Preset(
        FieldRefinement(similarity="lncc", regularity=1.3),
        "Density changes with the breath, so intensities do not correspond.",
    ),
    "cardiac": Preset(
        FieldRefinement(similarity="lncc", regularity=1.0),
        "One scanner and sequence; the wall moves far between neighboring slices.",
    ),
    "prostate multimodal": Preset(
        FieldRefinement(similarity="mind", regularity=2.0),
        "Little deforms within a session; diffusion images have few edges to trust.",
    ),
}


@dataclass(frozen=True)
class RegistrationOptions:
    """Everything that can be chosen about a registration but its images and its start.

    Attributes:
        model: name of a card, or a network of your own with a card. "auto" takes a network that
            is available and was made for such images, else the training-free engine; the result
            names it and the reason. A network whose result fails its own checks is left for the
            next one.
        model_options: of the model, by the names on its card, such as {"smoothness": 0.3}.
        linear: how far the alignment before the deformation may go.
        start: where the linear alignment begins: "search" compares headers, centers and turns by
            the images; "labels" takes the structures that a network finds in two heads (T1, weights
            on this machine); "auto" searches, and has both heads labeled where their headers
            disagree with what the search has found, if the weights are there.
        preset: settings of the training-free engine by the name of what is registered.
        refinement: replaces the preset's; after a network, nothing is refined unless it is given.
            With WeightRefinement, "auto" takes only networks whose weights can be fitted.
        extract_brain: find the brain of heads that have no mask first, by a model that `brain_mask`
            knows: "auto" (or True), "mindgrab" or "template".
        device: "auto", "cpu", "cuda" or "cuda:1".
        precision: of a network.
        full_resolution: compute the field on the fixed image's own grid, or the coarser one that
            `most_samples` leaves of it.
        most_samples: of each image, which is brought to a coarser grid of cubic voxels first where
            it has more; 0 takes all. Less memory is needed, and fine detail is not followed.
        landmarks: pairs of points that steer the alignment and the refinement of a field.
        label_weight: of the labels of both images beside their intensities; 1 is usual, with 0
            labels do not drive.
        label_source: "given", or "auto": what a network labels in two brains (T1, weights here).
        channel_weights: one for each channel, beside 1 of the images; 1 for all unless given.
        rigid_labels: values of the map of rigid parts that move as one piece each, such as (1, 5)
            or "1,5", or "all".
        surface_weight: of surfaces that pull, beside the images.
        colors: what is registered of images in colors, "luminance", or "rgb" as three channels.

    Raises:
        InvalidOption: for a value that is not among the choices.
    """

    model: str | RegistrationNetwork = "auto"
    model_options: Mapping[str, float] = field(default_factory=dict)
    linear: LinearAlignment = LinearAlignment.AUTO
    start: str = "auto"
    preset: str = "generic"
    refinement: Refinement | None = None
    extract_brain: bool | str = False
    device: str = "auto"
    precision: Precision = "float32"
    full_resolution: bool = False
    most_samples: int = 0
    landmarks: LandmarkGuide | None = None
    label_weight: float = 0.0
    label_source: str = "given"
    channel_weights: tuple[float, ...] = ()
    colors: str = "luminance"
    rigid_labels: tuple[int, ...] | str | None = None
    surface_weight: float = 1.0

    def __post_init__(self) -> None:
        self._check_guides()
        if self.linear not in list(LinearAlignment):
            raise _unknown("linear alignment (prealign)", self.linear, list(LinearAlignment))
        object.__setattr__(self, "linear", LinearAlignment(self.linear))
        if self.start not in STARTS:
            raise _unknown("start of the linear alignment", self.start, STARTS)
        unsearched = (LinearAlignment.NONE, LinearAlignment.CENTER)
        if self.start == "labels" and self.linear in unsearched:
            raise InvalidOption(
                "a start from labels is the beginning of a rigid or affine alignment",
                got=f"linear alignment (prealign) {self.linear.value}",
                wanted="auto, rigid or affine",
            )
        if self.preset not in PRESETS:
            raise _unknown("preset", self.preset, list(PRESETS))
        if self.precision not in get_args(Precision):
            raise _unknown("precision", self.precision, get_args(Precision))
        if self.extract_brain not in (True, False, *BRAIN_MODELS):
            what = "model for brain masks (extract_brain)"
            raise _unknown(what, self.extract_brain, BRAIN_MODELS)
        if self.extract_brain is True:
            object.__setattr__(self, "extract_brain", "auto")
        if not isinstance(self.model_options, Mapping):
            raise InvalidOption(
                "the options of a model are numbers by name",
                got=repr(self.model_options),
                wanted='such as {"smoothness": 0.3}',
            )
        if self.refinement is not None and not isinstance(self.refinement, Refinement):
            raise InvalidOption(
                "unknown kind of refinement",
                got=repr(self.refinement),
                wanted="FieldRefinement(...), WeightRefinement(...) or None",
            )
        self._check_samples()

    def _check_guides(self) -> None:
        if self.landmarks is not None and not isinstance(self.landmarks, LandmarkGuide):
            raise InvalidOption(
                "landmarks that steer are a LandmarkGuide",
                got=repr(self.landmarks)[:80],
                wanted='LandmarkGuide.read("fixed.mrk.json", "moving.mrk.json") or None',
            )
        for name in ("label_weight", "surface_weight"):
            weight = getattr(self, name)
            if not 0 <= weight < float("inf"):
                what = f"the weight of {name.removesuffix('_weight')}s is a number"
                raise InvalidOption(what, got=f"{weight}", wanted=">= 0")
        object.__setattr__(self, "channel_weights", tuple(self.channel_weights))
        for weight in self.channel_weights:
            if not (isinstance(weight, int | float) and 0 < weight < float("inf")):
                raise InvalidOption(
                    "the weight of a channel is a number", got=f"{weight}", wanted="> 0"
                )
        self._check_rigid_labels()
        if self.label_source not in LABEL_SOURCES:
            raise _unknown("source of labels", self.label_source, LABEL_SOURCES)
        if self.colors not in COLORS:
            raise _unknown("use of colors (channels)", self.colors, COLORS)

    def _check_rigid_labels(self) -> None:
        if self.rigid_labels in (None, "all"):
            return
        labels: Any = self.rigid_labels
        if isinstance(labels, str) and all(p.strip().isdigit() for p in labels.split(",")):
            labels = [int(part) for part in labels.split(",")]
        numbers = isinstance(labels, tuple | list) and len(labels) > 0
        if not numbers or not all(isinstance(v, int) and v > 0 for v in labels or ()):
            raise InvalidOption(
                "rigid parts are labels above 0", got=repr(labels)[:80], wanted='"all", or (1, 5)'
            )
        object.__setattr__(self, "rigid_labels", tuple(labels or ()))

    def _check_samples(self) -> None:
        most = self.most_samples
        if most != 0 and not (FEWEST_SAMPLES <= most < float("inf") and most == int(most)):
            raise InvalidOption(
                "the largest number of samples of an image is whole",
                got=f"most_samples {most}",
                wanted=f"at least {FEWEST_SAMPLES}, or 0 for all",
            )
        object.__setattr__(self, "most_samples", int(most))

    def replace(self, **changes: Any) -> RegistrationOptions:
        """The options with some of them changed.

        Raises:
            InvalidOption: for a name that is no option, and for values that are no choice.
        """
        for name in changes:
            if name not in NAMES:
                raise InvalidOption(
                    "there is no such option of a registration",
                    got=f"'{name}'",
                    wanted=" or ".join(NAMES),
                )
        return dataclasses.replace(self, **changes)

    def exchange_sides(self) -> RegistrationOptions:
        """The options of the registration of the fixed onto the moving image.

        Rigid parts are known in the fixed image only, so the other direction has none.
        """
        landmarks = self.landmarks and self.landmarks.exchange_sides()
        return self.replace(landmarks=landmarks, rigid_labels=None)

    def as_record(self) -> dict[str, Any]:
        """Plain values by name, ready for JSON; `from_record` reads them."""
        model = self.model if isinstance(self.model, str) else self.model.card.name
        return {
            **{name: getattr(self, name) for name in NAMES},
            "model": model,
            "model_options": dict(self.model_options),
            "linear": self.linear.value,
            "refinement": refinement_record(self.refinement),
            "landmarks": None if self.landmarks is None else self.landmarks.as_record(),
            "channel_weights": list(self.channel_weights),
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> RegistrationOptions:
        """The options that a record holds; also one by an earlier version, with its names.

        Raises:
            InvalidOption: for a name or a value that no version knows.
        """
        values = {_FORMER_NAMES.get(name, name): value for name, value in record.items()}
        if "refine" in values:
            steps = values.pop("refine_steps", None)
            values["refinement"] = parse_refinement(values.pop("refine"), steps)
        if isinstance(values.get("refinement"), Mapping):
            values["refinement"] = _read_refinement(values["refinement"])
        if isinstance(values.get("landmarks"), Mapping):
            values["landmarks"] = LandmarkGuide.from_record(values["landmarks"])
        if isinstance(values.get("linear"), str):
            values["linear"] = values["linear"].lower()
        return cls().replace(**values)


NAMES = tuple(option.name for option in fields(RegistrationOptions))
_FORMER_NAMES = {"prealign": "linear", "options": "model_options"}
USUAL = RegistrationOptions()


def parse_refinement(text: str | None, steps: int | None = None) -> Refinement | None:
    """The refinement that the command line spells "lncc", or "weights:lncc"; None for None.

    Raises:
        InvalidOption: for any other text, and for steps without a refinement.
    """
    if text is None:
        if steps is not None:
            raise InvalidOption("steps of a refinement need one", wanted="--refine as well")
        return None
    head, _, tail = text.partition(":")
    kind, similarity = ("weights", tail or "auto") if head == "weights" else ("field", text)
    if similarity not in get_args(Similarity):
        raise InvalidOption(
            "unknown refinement",
            got=f"'{text}'",
            wanted="auto, mind or lncc for the field; weights, weights:mind or weights:lncc",
        )
    record: dict[str, Any] = {"of": kind, "similarity": similarity}
    return _read_refinement(record if steps is None else {**record, "steps": steps})


def refinement_record(refinement: Refinement | None) -> dict[str, Any] | None:
    """Plain values by name; "of" is what is refined: "field" or "weights"."""
    if refinement is None:
        return None
    kind = "weights" if isinstance(refinement, WeightRefinement) else "field"
    return {**asdict(refinement), "of": kind}


def _read_refinement(record: Mapping[str, Any]) -> Refinement:
    settings = dict(record)
    of = settings.pop("of", "field")
    if of not in _REFINEMENTS:
        raise _unknown("kind of refinement", of, list(_REFINEMENTS))
    kind = _REFINEMENTS[of]
    names = [setting.name for setting in fields(kind)]
    for name in settings:
        if name not in names:
            raise InvalidOption(
                "there is no such setting of the refinement",
                got=f"'{name}'",
                wanted=" or ".join(names),
            )
    return kind(**settings)
