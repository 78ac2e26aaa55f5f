"""The Python files that a configuration needs: those that it names, and those of its parts."""

from __future__ import annotations

import importlib.util
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from neuralreg.errors import IncompatibleModel, UnreadableFile
from neuralreg.training.config.part_registry import (
    AUGMENTATIONS,
    BACKBONES,
    DATASETS,
    FEATURES,
    LOSSES,
    Registry,
)
from neuralreg.zoo.own_code import require_trust, trust_among
from neuralreg.zoo.python_sources import (
    PythonSource,
    find_source,
    import_source,
    local_folders,
    read_source,
    with_imports,
)
from neuralreg.zoo.registry import architecture_source


def collect_code(
    code: Sequence[Path], configs: Sequence[Path], runs: Sequence[Path], trusted: Sequence[str]
) -> list[PythonSource]:
    """The files that `code` names, and what they import.

    Args:
        code: as the configuration has it; relative to the folder of one of its files.
        configs: the files of the configuration.
        runs: those of them that belong to a run, whose code somebody else may have written. It is
            complete: nothing that it imports is looked for.
        trusted: SHA-256 of files of runs that the user agrees to run.

    Raises:
        UnreadableFile: one is missing, or no Python file.
        CodeNotTrusted: nobody has agreed to one of a run.
    """
    own: list[PythonSource] = []
    others: list[PythonSource] = []
    for file in code:
        config = next((each for each in configs if (each.parent / file).is_file()), None)
        if config is None:
            candidates = [str(each.parent / file) for each in configs]
            raise UnreadableFile(f"{file} is missing", wanted=" or ".join(candidates))
        of_run = config in runs or (file.is_absolute() and bool(runs))
        (others if of_run else own).append(read_source(config.parent / file))
    trust_among(others, trusted)
    require_trust(others, ", ".join(str(each.parent) for each in runs))
    return join_sources(others, with_imports(join_sources([], own)))


def sources_of_parts(
    parts: Iterable[tuple[str, Registry]], known: Collection[str]
) -> list[PythonSource]:
    """The files of parts by a dotted path, and of architectures beside the user's own cards.

    Args:
        parts: names, as a configuration has them, and where they are registered.
        known: names of modules that came along already.
    """
    sources: list[PythonSource] = []
    attributes: dict[str, list[str]] = {}
    for name, kind in parts:
        module, _, attribute = name.rpartition(".")
        if kind is BACKBONES and not module:
            source = architecture_source(name)
        elif kind is FEATURES or not module or module in known or kind.holds(name):
            continue
        else:
            source = find_source(module, local_folders())
            if source is None and _is_importable(module):
                attributes.setdefault(module, []).append(attribute)
        sources += [source] if source else []
    from_packages = [import_source(module, names) for module, names in attributes.items()]
    return join_sources(from_packages, with_imports(join_sources([], sources)))


def require_parts(parts: Sequence[tuple[str, str]]) -> None:
    """Check that parts which no file of a run defines are there, as in the program that trained.

    Args:
        parts: kind and name of each.

    Raises:
        IncompatibleModel: one is missing.
    """
    kinds = {kind.kind: kind for kind in (BACKBONES, AUGMENTATIONS, DATASETS, *LOSSES.values())}
    missing = [f"{kind} '{name}'" for kind, name in parts if not kinds[kind].holds(name)]
    if missing:
        raise IncompatibleModel(
            "the run needs a part that was defined in a notebook, a console or the program that "
            "trained, and is in no file of the run",
            got=f"no {', '.join(missing)}",
            remedy="Use the run where the part is defined; or put the part into a Python file, "
            "name that by `code`, and train again, from these weights by model.weights.",
        )


def is_without_file(name: str, kind: Registry) -> bool:
    """Whether a part is defined in a notebook, a console or the program itself: `__main__`."""
    return kind.holds(name) and getattr(kind.find(name), "__module__", "") == "__main__"


def join_sources(first: Sequence[PythonSource], then: Sequence[PythonSource]) -> list[PythonSource]:
    """Both, each file once; another file with the name of one before it gets a name of its own."""
    joined = {source.module: source for source in first}
    for source in then:
        module, number = source.module, 1
        while module in joined and joined[module].content != source.content:
            number += 1
            module = f"{source.module}_{number}"
        joined[module] = replace(source, module=module)
    return list(joined.values())


def _is_importable(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ModuleNotFoundError, ValueError):
        return False
