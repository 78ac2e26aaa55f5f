"""Parts of a training by name: ours, and yours by a decorator or a dotted path."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from neuralreg.errors import IncompatibleModel, InvalidOption
from neuralreg.zoo.python_sources import own_module, runs_from_a_file

if TYPE_CHECKING:
    from neuralreg.networks.network import RegistrationModule

Part = TypeVar("Part", bound=Callable[..., Any])


class Registry:
    """Callables of one kind by name; their options are read off their signatures.

    Args:
        kind: how errors call them.
        home: module that registers ours, imported at the first use.
        filled: names of parameters that the program fills, so that a configuration may not.
    """

    def __init__(self, kind: str, home: str, filled: tuple[str, ...] = ()) -> None:
        self.kind, self.home, self.filled = kind, home, filled
        self._parts: dict[str, Callable[..., Any]] = {}

    def register(self, name: str, *, force: bool = False) -> Callable[[Part], Part]:
        """The decorator that offers a callable under a name.

        Args:
            name: as a configuration gives it.
            force: replace one that has this name.

        Raises:
            InvalidOption: the name is taken.
        """

        def keep(part: Part) -> Part:
            existing = self._parts.get(name)
            replaces = force or (runs_from_a_file() and not _is_ours(existing))
            if existing is not None and not replaces and not _same(existing, part):
                raise InvalidOption(
                    f"there is a {self.kind} of that name",
                    got=f"'{name}'",
                    remedy="Choose another name, or register with force=True.",
                )
            self._parts[name] = part
            return part

        return keep

    def names(self) -> list[str]:
        """All names that may be used."""
        return sorted(self._load_parts())

    def holds(self, name: str) -> bool:
        """Whether a part of that name was registered."""
        return name in self._load_parts()

    def _load_parts(self) -> Mapping[str, Callable[..., Any]]:
        importlib.import_module(self.home)
        return self._parts

    def find(self, name: str) -> Callable[..., Any]:
        """The part of a name, or at a dotted path such as "my_package.my_file.MyNet".

        Raises:
            InvalidOption: there is none.
        """
        if name in self._load_parts():
            return self._parts[name]
        if "." in name:
            return _own_part(name, self.kind)
        names = self.names()
        near = get_close_matches(name, names, 1)
        raise InvalidOption(
            f"there is no {self.kind} of that name",
            got=f"'{name}'",
            wanted=", ".join(names) + ", or a dotted path to your own",
            remedy=f"Did you mean '{near[0]}'?" if near else "",
        )

    def options(self, name: str, options: Mapping[str, Any]) -> dict[str, Any]:
        """The options for a part, checked and converted by its annotations.

        Args:
            name: of the part.
            options: as a configuration gives them.

        Raises:
            ValidationError: of pydantic, for an unknown option or a value of a wrong type.
        """
        model = _signature_model(self.find(name), self.filled)
        checked = model.model_validate(dict(options))
        return {key: getattr(checked, key) for key in checked.model_fields_set} | (
            checked.model_extra or {}
        )

    def option_names(self, name: str) -> list[str]:
        """Names of the options of a part."""
        return list(_signature_model(self.find(name), self.filled).model_fields)

    def build(self, name: str, options: Mapping[str, Any], **filled: Any) -> Any:
        """The result of calling a part with its options and with what the program fills in.

        Args:
            name: of the part.
            options: as a configuration gives them.
            filled: what the program fills in.

        Raises:
            InvalidOption: an unknown name, an unknown option, or a value of a wrong type.
        """
        try:
            return self.find(name)(**filled, **self.options(name, options))
        except ValidationError as error:
            first = error.errors()[0]
            raise InvalidOption(
                f"an option of {self.kind} '{name}' cannot be used",
                where=".".join(map(str, first["loc"])),
                got=repr(first.get("input")),
                wanted=first["msg"],
            ) from error


def _signature_model(part: Callable[..., Any], filled: tuple[str, ...]) -> type[BaseModel]:
    """A schema of the parameters that a configuration may set."""
    target = part.__init__ if inspect.isclass(part) else part
    hints = get_type_hints(target)
    fields: dict[str, Any] = {}
    extra: Literal["allow", "forbid"] = "forbid"
    for name, parameter in inspect.signature(target).parameters.items():
        if name in ("self", *filled) or parameter.kind is parameter.VAR_POSITIONAL:
            continue
        if parameter.kind is parameter.VAR_KEYWORD:
            extra = "allow"
            continue
        needed = parameter.default is parameter.empty
        fields[name] = (hints.get(name, Any), ... if needed else parameter.default)
    return create_model(
        "Options",
        __config__=ConfigDict(extra=extra, arbitrary_types_allowed=True, protected_namespaces=()),
        **fields,
    )


def _own_part(path: str, kind: str) -> Callable[..., Any]:
    """The object at a dotted path into code that ran; nothing is imported for it."""
    name, _, attribute = path.rpartition(".")
    module = own_module(name)
    if module is not None and hasattr(module, attribute):
        part: Callable[..., Any] = getattr(module, attribute)
        return part
    lack = f"the module '{name}' has no attribute '{attribute}'"
    raise InvalidOption(
        f"there is no {kind} at that path",
        got=f"'{path}': {lack if module else f'no module {name}'}",
        wanted="what a module holds",
        remedy="The module must be installed, or be in the current folder. Of a run or a model its "
        "code must have come along: name its file by `code` otherwise.",
    )


def _is_ours(part: Callable[..., Any] | None) -> bool:
    """Whether a part comes with this package, so that no model takes its place."""
    return part is not None and part.__module__.split(".")[0] == __name__.split(".")[0]


def _same(one: Callable[..., Any], other: Callable[..., Any]) -> bool:
    """Whether two callables are one and the same source, loaded twice."""
    names = ((f.__module__, f.__qualname__) for f in (one, other))
    return len(set(names)) == 1


class BackboneRegistry(Registry):
    """Networks by name: those that were registered, and every trainable architecture of the zoo.

    What a configuration may set are the arguments of the class; `dimension`, `shape`, `inputs` and
    `outputs` are filled in where it takes them.
    """

    def names(self) -> list[str]:
        """All names that may be used; files of the user's own beside their cards may be, too."""
        from neuralreg.zoo.registry import architecture_names

        architectures = {name for name in architecture_names() if _trainable_architecture(name)}
        return sorted({*super().names(), *architectures})

    def find(self, name: str) -> Callable[..., Any]:
        """The network of a name, or at a dotted path.

        Raises:
            InvalidOption: there is none.
        """
        if name in self._load_parts():
            return self._parts[name]
        return _trainable_architecture(name) or super().find(name)

    def build(self, name: str, options: Mapping[str, Any], **filled: Any) -> Any:
        """A network from its options, and from what the program fills in.

        Args:
            name: of the network.
            options: as a configuration gives them.
            filled: `dimension`, `shape`, `inputs` and `outputs`.

        Raises:
            InvalidOption: an option of a wrong type, or a network for other images or channels.
        """
        part = self.find(name)
        takes = inspect.signature(part).parameters
        if "inputs" not in takes and filled["inputs"] != 2:
            raise InvalidOption(
                f"{name} sees two images and no label",
                wanted="a backbone that takes `inputs` and `outputs`, such as unet or local",
            )
        network_class = _as_network_class(part)
        if network_class is not None:
            if filled["dimension"] not in network_class.dimensions:
                raise InvalidOption(
                    f"{name} is a network for volumes", got=f"{filled['dimension']} axes"
                )
            options = {**network_class.training_defaults, **options}
        needed = {key: value for key, value in filled.items() if key in takes}
        return super().build(name, options, **needed)


def _trainable_architecture(name: str) -> type[RegistrationModule] | None:
    """The class of an architecture of the zoo; None where there is none, or it is not trained."""
    from neuralreg.zoo.registry import find_architecture

    try:
        network_class = _as_network_class(find_architecture(name))
    except IncompatibleModel:
        return None
    return network_class if network_class is not None and network_class.trainable else None


def _as_network_class(part: Callable[..., Any]) -> type[RegistrationModule] | None:
    from neuralreg.networks.network import RegistrationModule

    return part if inspect.isclass(part) and issubclass(part, RegistrationModule) else None


BACKBONES = BackboneRegistry(
    "backbone", "neuralreg.training.model.backbones", ("dimension", "shape", "inputs", "outputs")
)
FEATURES = Registry("feature network", "neuralreg.training.descriptors.features", ("dimension",))
IMAGE_LOSSES = Registry(
    "image loss", "neuralreg.training.losses.image_losses", ("fixed", "warped", "weight")
)
LABEL_LOSSES = Registry("label loss", "neuralreg.training.losses.label_losses", ("fixed", "warped"))
DEFORMATION_LOSSES = Registry(
    "deformation loss", "neuralreg.training.losses.deformation_losses", ("prediction",)
)
LOSSES = {"image": IMAGE_LOSSES, "label": LABEL_LOSSES, "deformation": DEFORMATION_LOSSES}
DATASETS = Registry("dataset type", "neuralreg.training.data.pairing", ("cases", "training"))
AUGMENTATIONS = Registry(
    "augmentation", "neuralreg.training.data.augmentation", ("keys", "dimension")
)


def register_backbone(name: str, *, force: bool = False) -> Callable[[Part], Part]:
    """Offer a network to configurations.

    It is called with the options of a configuration, and with those of `dimension`, `shape` (z y
    x), `inputs` and `outputs` (channels) that it takes. The result is a `RegistrationModule`, or
    any module whose `network(fixed, moving)` gives a displacement (n, d, z, y, x) in voxels,
    components x y z. Architectures of the zoo, also your own, need not be registered.

    Args:
        name: as `model.backbone` gives it.
        force: replace one that has this name.

    Raises:
        InvalidOption: the name is taken.
    """
    return BACKBONES.register(name, force=force)


def register_loss(on: str, name: str, *, force: bool = False) -> Callable[[Part], Part]:
    """Offer a loss to configurations.

    Args:
        on: "image" or "label", called as `loss(fixed, warped, **options)`, image losses also with
            `weight=` (where the moving image was seen); or "deformation", called as
            `loss(prediction, **options)`, see `methods.Prediction`.
        name: as `loss` gives it.
        force: replace one that has this name.

    Raises:
        InvalidOption: the name is taken.
    """
    if on not in LOSSES:
        raise InvalidOption("unknown kind of loss", got=f"'{on}'", wanted=" or ".join(LOSSES))
    return LOSSES[on].register(name, force=force)


def register_dataset(name: str, *, force: bool = False) -> Callable[[Part], Part]:
    """Offer a type of dataset: which cases make pairs in an epoch, see `pairing.Pairing`.

    Args:
        name: as `dataset.type` gives it.
        force: replace one that has this name.

    Raises:
        InvalidOption: the name is taken.
    """
    return DATASETS.register(name, force=force)


def register_augmentation(name: str, *, force: bool = False) -> Callable[[Part], Part]:
    """Offer an augmentation: takes keys, dimension and options and gives a MONAI transform.

    Args:
        name: as `dataset.augmentation` gives it.
        force: replace one that has this name.

    Raises:
        InvalidOption: the name is taken.
    """
    return AUGMENTATIONS.register(name, force=force)
