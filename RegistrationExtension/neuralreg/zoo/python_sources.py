"""Python files of a user's own, as modules that a run takes along and that run from their text."""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from neuralreg.errors import RegistrationError, UnreadableFile

_INIT = ".__init__"
_HASH = re.compile(r"-[0-9a-f]{8}$")  # in the names of files that belong to imported models
_SITE = ("site-packages", "dist-packages")
_OURS = ("neuralreg", "NeuralRegistrationLib")
_in_a_file: ContextVar[bool] = ContextVar("_in_a_file", default=False)
_modules: dict[str, ModuleType] = {}  # those that ran, by the names that configurations use


@dataclass(frozen=True)
class PythonSource:
    """A module of a user's own.

    Attributes:
        module: its dotted name; that of a package for the file `__init__.py` of it.
        content: its text, as it is on disk. What is run is this, never a compiled file beside it.
        path: where it was read.
        is_package: whether it is the `__init__.py` of a package.
    """

    module: str
    content: bytes
    path: Path
    is_package: bool = False

    @cached_property
    def sha256(self) -> str:
        """Of the content."""
        return hashlib.sha256(self.content).hexdigest()

    @property
    def file_name(self) -> str:
        """What the file is called beside a run's others, without folders."""
        return f"{self.module}{_INIT if self.is_package else ''}.py"


def read_source(path: Path, module: str = "") -> PythonSource:
    """A Python file, with the name of its module.

    Args:
        path: of the file.
        module: dotted; what the name of the file says, unless given.

    Raises:
        UnreadableFile: it is missing, or no Python file.
    """
    if path.suffix != ".py" or not path.is_file():
        raise UnreadableFile(f"{path} is no Python file")
    name = module or _HASH.sub("", path.stem)
    is_package = name.endswith(_INIT) or (bool(module) and path.name == "__init__.py")
    return PythonSource(name.removesuffix(_INIT), path.read_bytes(), path, is_package)


def import_source(module: str, attributes: Iterable[str]) -> PythonSource:
    """A file that takes parts from an installed package.

    Args:
        module: of the package.
        attributes: what is taken.
    """
    text = f"from {module} import {', '.join(sorted(set(attributes)))}\n"
    return PythonSource(module, text.encode(), Path(f"{module}.py"))


def runs_from_a_file() -> bool:
    """Whether the code that runs now was named by a configuration or a model.

    Its parts replace those of other such files: each network is built just after its own code ran.
    """
    return _in_a_file.get()


def own_module(name: str) -> ModuleType | None:
    """The module of a user's own that ran last under a name."""
    return _modules.get(name)


def run_sources(sources: Sequence[PythonSource]) -> None:
    """Run files that register parts; they may import each other.

    Args:
        sources: in this order, unless one imports a later one.

    Raises:
        UnreadableFile: one cannot be run; with the line.
        RegistrationError: what a file itself raises so.
    """
    by_name = {_import_name(source.module): source for source in sources}
    with _serve(by_name):
        token = _in_a_file.set(True)
        try:
            for name, source in by_name.items():
                _import(name, source, sources)
        finally:
            _in_a_file.reset(token)


def _import(name: str, source: PythonSource, sources: Sequence[PythonSource]) -> None:
    try:
        importlib.import_module(name)
    except RegistrationError:
        raise
    except Exception as error:
        where = _line_of(error, sources) or str(source.path)
        remedy = "Correct the file."
        if isinstance(error, ImportError):
            remedy = (
                "Install what it imports on this machine. A run takes along Python files of "
                "yours that lie beside the file or in the current folder, but no packages."
            )
        raise UnreadableFile(
            "code of your own cannot be run",
            where=where,
            got=f"{type(error).__name__}: {error}",
            remedy=remedy,
        ) from error


def _line_of(error: Exception, sources: Sequence[PythonSource]) -> str:
    """The last line of one of the files that had a part in an error."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}, line {error.lineno}"
    paths, where, frame = {str(source.path) for source in sources}, "", error.__traceback__
    while frame is not None:
        path = frame.tb_frame.f_code.co_filename
        where = f"{path}, line {frame.tb_lineno}" if path in paths else where
        frame = frame.tb_next
    return where


def _import_name(module: str) -> str:
    """A name under which a module takes the place of no other one."""
    top = module.partition(".")[0]
    if top in sys.stdlib_module_names or top in _OURS or is_installed(top):
        return f"neuralreg_own_{module.replace('.', '_')}"
    return module


@contextmanager
def _serve(by_name: dict[str, PythonSource]) -> Iterator[None]:
    """Imports find these modules first; modules of these names come back after the block.

    Where there are none, the new ones stay: functions may import them later.
    """
    finder = _Finder(by_name)
    names = {name for full in by_name for name in _prefixes(full)}
    earlier = {name: sys.modules.pop(name) for name in names if name in sys.modules}
    own = list(map(id, _modules.values()))
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in names:
            module = sys.modules.get(name)
            if module is not None:
                _modules[by_name[name].module if name in by_name else name] = module
            if name in earlier and id(earlier[name]) not in own:
                sys.modules[name] = earlier[name]


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, by_name: dict[str, PythonSource]) -> None:
        self._by_name = by_name

    def find_spec(
        self, name: str, path: Any = None, target: Any = None
    ) -> importlib.machinery.ModuleSpec | None:
        source = self._by_name.get(name)
        if source is not None:
            origin, package = str(source.path), source.is_package
            loader = _Loader(source)
            spec = importlib.util.spec_from_loader(name, loader, origin=origin, is_package=package)
            if spec is not None:
                spec.has_location = True
            return spec
        if any(other.startswith(f"{name}.") for other in self._by_name):
            return importlib.machinery.ModuleSpec(name, None, is_package=True)
        return None


class _Loader(importlib.abc.InspectLoader):
    """Compiles the text that was read, so that nothing else runs than what was agreed to."""

    def __init__(self, source: PythonSource) -> None:
        self._source = source

    def get_source(self, fullname: str) -> str:
        return importlib.util.decode_source(self._source.content)

    def get_code(self, fullname: str) -> CodeType:
        path = str(self._source.path)
        code: CodeType = compile(self._source.content, path, "exec", dont_inherit=True)
        return code

    def is_package(self, fullname: str) -> bool:
        return self._source.is_package


def with_imports(sources: Sequence[PythonSource]) -> list[PythonSource]:
    """Files of a user's own, followed by those that they import, in turn.

    Args:
        sources: the files. What they import is searched beside them, in the current folder, and on
            Python's path outside of installed packages.
    """
    roots = [*(source.path.parent for source in sources), *local_folders()]
    needed = {source.module: source for source in sources}
    waiting = list(sources)
    while waiting:
        for name in _imported_names(waiting.pop(0)):
            source = None if name in needed else find_source(name, roots)
            if source is not None:
                needed[name] = source
                waiting.append(source)
    return list(needed.values())


def find_source(module: str, roots: Sequence[Path]) -> PythonSource | None:
    """The file of a module that is a user's own; None where there is none in these folders."""
    top = module.partition(".")[0]
    if top in sys.stdlib_module_names or top in _OURS or is_installed(top):
        return None
    for root in roots:
        base = root.joinpath(*module.split("."))
        for path in (base / "__init__.py", base.with_name(f"{base.name}.py")):
            if path.is_file():
                return read_source(path, module)
    return None


def local_folders() -> list[Path]:
    """The current folder, and those on Python's path that hold no installed packages."""
    standard = {Path(ast.__file__).parent, Path(ast.__file__).parent / "lib-dynload"}
    folders = dict.fromkeys([Path.cwd(), *(Path(entry or ".") for entry in sys.path)])
    return [
        folder
        for folder in folders
        if folder.is_dir() and folder not in standard and not set(_SITE) & set(folder.parts)
    ]


def is_installed(top: str) -> bool:
    """Whether a package of that name is among the installed ones."""
    entries = [entry for entry in sys.path if set(_SITE) & set(Path(entry).parts)]
    return importlib.machinery.PathFinder.find_spec(top, entries) is not None


def _imported_names(source: PythonSource) -> Iterator[str]:
    """Names of modules that a file may import, with the packages around them."""
    package = source.module if source.is_package else source.module.rpartition(".")[0]
    try:
        nodes = list(ast.walk(ast.parse(source.content)))
    except SyntaxError:
        return  # said when the file runs
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _prefixes(alias.name)
        elif isinstance(node, ast.ImportFrom) and (package or not node.level):
            name = "." * node.level + (node.module or "")
            base = importlib.util.resolve_name(name, package) if node.level else name
            for alias in node.names:
                yield from _prefixes(f"{base}.{alias.name}")
    yield from _prefixes(source.module)


def _prefixes(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[: n + 1]) for n in range(len(parts))]
