"""Configuration files, merged from left to right, and errors that name file and line."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import BaseModel, ValidationError

from neuralreg.errors import InvalidOption, UnreadableFile
from neuralreg.training.config.merging import merge
from neuralreg.training.config.own_parts import (
    collect_code,
    is_without_file,
    join_sources,
    sources_of_parts,
)
from neuralreg.training.config.part_registry import (
    AUGMENTATIONS,
    BACKBONES,
    DATASETS,
    FEATURES,
    LOSSES,
    Registry,
)
from neuralreg.training.config.schema import Configuration
from neuralreg.training.run_files import CONFIGURATION, MARKS
from neuralreg.zoo.own_code import is_notice, notice_of
from neuralreg.zoo.python_sources import PythonSource, run_sources

Path_ = tuple[str | int, ...]  # of keys and places in lists

_HERE = "${here}"  # in a file: its own folder
_FROM_DEEPREG = {"train"}  # a key that only DeepReg's files have at the top


@dataclass(frozen=True)
class Problem:
    """One error in a configuration.

    Attributes:
        where: file and line.
        key: dotted.
        got: what was given.
        wanted: what is allowed.
    """

    where: str
    key: str
    got: str
    wanted: str

    def __str__(self) -> str:
        got = f" got {self.got}," if self.got else ""
        return f"{self.where}: {self.key}:{got} {self.wanted}"


def read_configuration(
    files: Sequence[str | Path],
    overrides: Sequence[str] = (),
    *,
    run: Path | None = None,
    trusted: Sequence[str] = (),
) -> Configuration:
    """The configuration that several files make together; its `source` holds the plain values.

    The Python files that it names are run, as programs of yours are; those that came with a run or
    a model only after somebody has agreed to their content.

    Args:
        files: merged from left to right, the last one wins; lists are replaced as a whole.
        overrides: "key.of.something=value", merged last.
        run: the file among them that belongs to a run, if its folder does not show that.
        trusted: SHA-256 of Python files of a run or model that the user agrees to run.

    Returns:
        The configuration, with what `model.start_from` adds.

    Raises:
        UnreadableFile: a file is missing, or is not YAML.
        InvalidOption: with all problems: file, line, key, what was given, what is allowed.
        IncompatibleModel: a training cannot start from the model that is named.
        CodeNotTrusted: nobody has agreed to code of a run or a model.
        WeightsUnavailable: its weights are not on this machine.
    """
    from neuralreg.training.model.fine_tuning import take_over_start  # loads torch

    runs = [file for file in map(Path, files) if file == run or _belongs_to_a_run(file)]
    plain, lines = merge_files(files, overrides)
    _refuse_deepreg(plain, files)
    code: tuple[PythonSource, ...] = ()
    if not lines.get(("model", "start_from"), "").startswith(tuple(f"{each}, " for each in runs)):
        plain, code = take_over_start(plain, trusted)  # of a run it was done when it began
    try:
        configuration = Configuration.from_source(plain)
    except ValidationError as error:
        raise _invalid([_problem(e, lines, Configuration) for e in error.errors()]) from error
    parts = list(_named_parts(configuration))
    sources = collect_code(configuration.code, [Path(f) for f in files], runs, trusted)
    if not runs:
        names = [(part.architecture, part.kind) for part in parts]
        known = {source.module for source in (*code, *sources)}
        sources = join_sources(sources, sources_of_parts(names, known))
    configuration.keep_code(join_sources(code, sources))
    run_sources(configuration.code_sources)
    problems = [problem for part in parts for problem in _problems_of(part, lines)]
    if problems:
        raise _invalid(problems)
    return configuration


def note_parts_without_file(configuration: Configuration) -> list[str]:
    """Names of parts that only the program that runs now defines; its code says so from now on.

    Args:
        configuration: of a training.
    """
    named = {(part.kind.kind, part.name): part for part in _named_parts(configuration)}
    without = [key for key, part in named.items() if is_without_file(part.name, part.kind)]
    if without and not any(map(is_notice, configuration.code_sources)):
        configuration.keep_code((*configuration.code_sources, notice_of(without)))
    return [name for _kind, name in without]


def _belongs_to_a_run(file: Path) -> bool:
    return file.name == CONFIGURATION and any((file.parent / mark).exists() for mark in MARKS)


def merge_files(
    files: Sequence[str | Path], overrides: Sequence[str] = ()
) -> tuple[dict[str, Any], dict[Path_, str]]:
    """The merged values, and where each key was last given.

    A file or override with `start_from` removes the networks of those before it.

    Args:
        files: as for `read_configuration`.
        overrides: as for `read_configuration`.
    """
    parts, lines = [], {}
    for file in map(Path, files):
        parts.append(_read(file))
        lines.update(_lines_of(file))
    for text in overrides:
        parts.append(_override(text))
        lines[tuple(text.partition("=")[0].split("."))] = f"--set {text}"
    try:
        plain = OmegaConf.to_container(_in_order(parts), resolve=True)
    except OmegaConfBaseException as error:
        raise InvalidOption(
            "the configurations cannot be merged", got=str(error).splitlines()[0]
        ) from error
    assert isinstance(plain, dict)  # of the parts that were merged
    return plain, lines


def _in_order(parts: Sequence[Any]) -> Any:
    merged: dict[str, Any] = {}
    for part in parts:
        plain = OmegaConf.to_container(part, resolve=False)
        if not isinstance(plain, dict):
            raise InvalidOption(
                "a configuration consists of keys and values", got=type(plain).__name__
            )
        if OmegaConf.select(part, "model.start_from"):
            merged.pop("model", None)
        merged = merge(merged, {str(key): value for key, value in plain.items()})
    return OmegaConf.create(merged)


def write_configuration(plain: dict[str, Any], path: Path, comments: Sequence[str] = ()) -> None:
    """The merged values as a file that `train` and `predict` take again.

    Args:
        plain: the values.
        path: of the file.
        comments: lines above them.
    """
    head = "".join(f"# {comment}\n" for comment in comments)
    path.write_text(head + yaml.safe_dump(plain, sort_keys=False), encoding="utf-8")


def _read(file: Path) -> Any:
    if not file.is_file():
        raise UnreadableFile(f"{file} is missing", wanted="a YAML file")
    try:
        text = file.read_text(encoding="utf-8").replace(_HERE, file.parent.resolve().as_posix())
        return OmegaConf.create(text)
    except (yaml.YAMLError, OmegaConfBaseException, UnicodeDecodeError) as error:
        raise UnreadableFile(f"{file} is no YAML", got=" ".join(str(error).split())) from error


def _override(text: str) -> Any:
    if not re.match(r"^[\w.]+=", text):
        raise InvalidOption("--set wants key=value", got=f"'{text}'", wanted="training.epochs=10")
    return OmegaConf.from_dotlist([text])


def _lines_of(file: Path) -> dict[Path_, str]:
    def walk(node: Any, at: Path_) -> Iterator[tuple[Path_, str]]:
        yield at, f"{file}, line {node.start_mark.line + 1}"
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                yield from walk(value, (*at, key.value))
                yield (*at, key.value), f"{file}, line {key.start_mark.line + 1}"
        elif isinstance(node, yaml.SequenceNode):
            for location, value in enumerate(node.value):
                yield from walk(value, (*at, location))

    node = yaml.compose(file.read_text(encoding="utf-8"), yaml.SafeLoader)
    return dict(walk(node, ())) if node else {(): f"{file}, line 1"}


def _where(at: Path_, lines: dict[Path_, str]) -> str:
    """The line of a key, or of what holds it; a list of one may be written without the list."""
    for location in (at, tuple(k for k in at if not isinstance(k, int))):
        for length in range(len(location), -1, -1):
            if location[:length] in lines and (length or not location or location is not at):
                return lines[location[:length]]
    return "configuration"


def _problem(error: Any, lines: dict[Path_, str], root: type[BaseModel]) -> Problem:
    at: Path_ = tuple(error["loc"])
    allowed = str(error["msg"]).removeprefix("Value error, ")
    got = "" if error["type"] == "missing" else repr(error.get("input"))
    if isinstance(error.get("input"), dict) and error["type"] != "extra_forbidden":
        got = ""
    if error["type"] == "extra_forbidden":
        return _unknown_key(at, lines, _fields_at(root, at[:-1]))
    if error["type"] == "missing":
        allowed = "is missing; it is needed"
    return Problem(_where(at, lines), ".".join(map(str, at)), got[:200], f"allowed: {allowed}")


def _unknown_key(at: Path_, lines: dict[Path_, str], option_names: list[str]) -> Problem:
    near = get_close_matches(str(at[-1]), option_names, 1)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    return Problem(
        _where(at, lines),
        ".".join(map(str, at)),
        f"the key '{at[-1]}'",
        f"allowed: {', '.join(option_names) or 'no options'}{hint}",
    )


def _fields_at(model: Any, at: Path_) -> list[str]:
    """The keys that the schema knows at some place."""
    for key in at:
        if isinstance(key, int):
            continue
        model = _record_in(model.model_fields[key].annotation)
    return list(model.model_fields)


def _record_in(annotation: Any) -> Any:
    """The schema inside of an optional, a tuple or an annotated type."""
    if get_origin(annotation) is None or get_origin(annotation) is Literal:
        return annotation
    inner = [_record_in(a) for a in get_args(annotation)]
    return next((a for a in inner if isinstance(a, type) and issubclass(a, BaseModel)), None)


@dataclass(frozen=True)
class _NamedPart:
    """A backbone, loss or other part: its key, name, options (a dataset has none) and registry."""

    at: Path_
    name: str
    options: dict[str, Any] | None
    kind: Registry

    @property
    def architecture(self) -> str:
        """The name; of a network that was published elsewhere, that of its architecture."""
        return str((self.options or {}).get("architecture", self.name))


def _named_parts(config: Configuration) -> Iterator[_NamedPart]:
    networks = FEATURES if config.model.method == "features" else BACKBONES
    for n, step in enumerate(config.model.backbone):
        yield _NamedPart(("model", "backbone", n), step.name, step.options, networks)
    for on, kind in LOSSES.items():
        for n, loss in enumerate(getattr(config.loss, on)):
            yield _NamedPart(("loss", on, n), loss.name, loss.options, kind)
    for n, each in enumerate(config.dataset.augmentation):
        yield _NamedPart(("dataset", "augmentation", n), each.name, each.options, AUGMENTATIONS)
    if config.dataset.type != "shapes":
        yield _NamedPart(("dataset",), config.dataset.type, None, DATASETS)


def _problems_of(part: _NamedPart, lines: dict[Path_, str]) -> Iterator[Problem]:
    """What is wrong with the name and options of a part."""
    key = "type" if part.options is None else "name"
    try:
        part.kind.find(part.name)
    except InvalidOption as error:
        location = (*part.at, key)
        where = _where(location, lines)
        advice = f"allowed: {error.wanted}. {error.remedy}".strip()
        yield Problem(where, ".".join(map(str, location)), error.got or repr(part.name), advice)
        return
    try:
        part.kind.options(part.name, part.options or {})
    except ValidationError as error:
        for one in error.errors():
            location = (*part.at, *one["loc"])
            if one["type"] == "extra_forbidden":
                yield _unknown_key(location, lines, part.kind.option_names(part.name))
            else:
                got = "" if one["type"] == "missing" else repr(one.get("input"))
                key = ".".join(map(str, location))
                yield Problem(_where(location, lines), key, got, f"allowed: {one['msg']}")


def _invalid(problems: list[Problem]) -> InvalidOption:
    return InvalidOption(
        "the configuration cannot be used:\n  " + "\n  ".join(map(str, problems)) + "\n",
        remedy="`docs/training.md` lists all keys.",
    )


def refuse_own(plain: dict[str, Any], files: Sequence[Path]) -> None:
    """Raise InvalidOption when files to be translated from DeepReg are configurations of ours."""
    if "model" in plain and not _FROM_DEEPREG & plain.keys():
        raise InvalidOption(
            "this is a configuration of neuralreg already",
            where=", ".join(map(str, files)),
            remedy="`neuralreg train` takes it as it is.",
        )


def _refuse_deepreg(plain: dict[str, Any], files: Sequence[str | Path]) -> None:
    if _FROM_DEEPREG & plain.keys() and "model" not in plain:
        raise InvalidOption(
            "this looks like a configuration of DeepReg",
            where=", ".join(map(str, files)),
            remedy="`neuralreg convert-config OLD -o NEW` translates it and says what it could "
            "not.",
        )
