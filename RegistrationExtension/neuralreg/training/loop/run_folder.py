"""The folder of a run: one run at a time, an earlier one kept until another takes its place."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from neuralreg import __version__
from neuralreg.errors import (
    IncompatibleModel,
    InvalidOption,
    RegistrationError,
    UnreadableFile,
    UnwritableOutput,
)
from neuralreg.io.files import DRAFTS, remove_path, sha256_of, write_whole
from neuralreg.io.locks.folder_locks import FolderLock, hold_folder, remove_empty
from neuralreg.training.config import schema
from neuralreg.training.configuration import merge_files, write_configuration
from neuralreg.training.run_files import (
    CARD,
    CHECKPOINTS,
    CODE,
    CONFIGURATION,
    CURVES,
    HISTORY,
    LOGS,
    PICTURE,
    REPLACED,
)
from neuralreg.training.tensor_files import newest_checkpoint, read_checkpoint
from neuralreg.zoo.card import TRAINED
from neuralreg.zoo.own_code import trust

LINGER_S = 6.0  # that loading processes live on after their training was killed
_OF_A_RUN = (CHECKPOINTS, LOGS, CURVES, PICTURE, CARD, HISTORY, CODE, f"{TRAINED}.py")


class RunFolder:
    """Begins, replaces and resumes the run in a folder.

    An earlier run is moved aside when another one begins, deleted when that one has a checkpoint
    with a step in it, and put back when it fails before. The configuration moves first and comes
    back last, so that a process that is killed at any moment leaves one of both whole.

    Args:
        path: of the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._new: list[Path] = []  # folders that `begin` has made
        self._foreign: set[str] = set()  # names of a run's files that somebody else's have
        self._lock: FolderLock | None = None  # that keeps other trainings away
        self._is_held = self._has_begun = False

    @property
    def holds_a_run(self) -> bool:
        """Whether there is a run, or one that was moved aside."""
        marks = (HISTORY, CHECKPOINTS, LOGS)
        is_run = any((self.path / mark).exists() for mark in marks)
        return ((self.path / CONFIGURATION).exists() and is_run) or self._earlier.is_dir()

    @property
    def replaces(self) -> bool:
        """Whether an earlier run is kept aside."""
        return self._earlier.is_dir()

    @property
    def _earlier(self) -> Path:
        return self.path / REPLACED

    def require_free(self, *, overwrite: bool) -> None:
        """Raise UnwritableOutput when there is a run that must not be replaced."""
        if not self.holds_a_run and (self.path / CONFIGURATION).exists():
            raise UnwritableOutput(
                f"{self.path / CONFIGURATION} would be replaced, and no run wrote it",
                remedy="Choose another folder.",
            )
        if not self.holds_a_run and any((self.path / CHECKPOINTS).glob("*.pt")):
            raise UnwritableOutput(
                f"{self.path} holds checkpoints of a run, and no {CONFIGURATION}",
                remedy="Choose another folder, or put that file back.",
            )
        if self.holds_a_run and not overwrite:
            raise UnwritableOutput(
                f"{self.path} holds a run",
                remedy="Choose another folder, --resume or --overwrite.",
            )

    def hold(self) -> None:
        """Keep other trainings from the folder, if it is there, until `release`.

        Raises:
            UnwritableOutput: another one trains in it.
        """
        if self._is_held or not self.path.is_dir():
            return
        try:
            self._lock = hold_folder(self.path, LINGER_S)
        except BlockingIOError as error:
            raise UnwritableOutput(
                f"another training is under way in {self.path}",
                remedy="Stop it first, or choose another folder.",
            ) from error
        self._is_held = True

    def release(self) -> None:
        """Let others train in the folder."""
        if self._lock is not None:
            self._lock.release()
            self._remove_empty()
        self._lock, self._is_held = None, False

    def begin(self, config: schema.Configuration, images: Mapping[str, str]) -> None:
        """Write what a new run begins with; an earlier one is moved aside.

        Args:
            config: of the new run.
            images: what its data are, see `Task.describe_images`.

        Raises:
            UnwritableOutput: the folder cannot be written to.
        """
        self._new = [each for each in (self.path, *self.path.parents) if not each.exists()]
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._hold_new()
            self._clear_drafts()
            self._recover()
            self._move_aside()
            self._foreign = {path.name for path in self._files()}
        except OSError as error:
            raise UnwritableOutput(
                f"{self.path} cannot be written to",
                got=error.strerror or str(error),
                remedy="Choose a folder that you may write to.",
            ) from error
        self._take_code_along(config)
        self._write_history([{**_now(), "step": 0, "images": dict(images)}])
        self._write_configuration(config, [])

    def resume(
        self, config: schema.Configuration, changes: Mapping[str, list[Any]], step: int
    ) -> None:
        """Record that a run goes on, and what is changed from now on.

        Args:
            config: from now on.
            changes: what was, and what is, by key.
            step: that was reached.
        """
        self._clear_drafts()
        history = [*self.history(), {**_now(), "step": step, "changes": dict(changes)}]
        self._write_history(history)
        self._write_configuration(config, history)

    def _hold_new(self) -> None:
        """Hold a folder that was not there before; another training may have made it meanwhile."""
        if not self._is_held:
            self.hold()
            self.require_free(overwrite=False)
        self._has_begun = True

    def settle(self) -> None:
        """The new run has a checkpoint: the earlier one is deleted."""
        shutil.rmtree(self._earlier, ignore_errors=True)

    def undo(self) -> None:
        """Take away a run that has come to nothing; the folder is what it was before."""
        if not self._has_begun:
            return
        if self._earlier.is_dir():
            (self.path / CONFIGURATION).unlink(missing_ok=True)
            self._recover()
            return
        for path in self._files():
            if path.name not in self._foreign:
                remove_path(path)
        self._remove_empty()

    def _remove_empty(self) -> None:
        """Remove folders that `begin` has made and nothing is in."""
        for folder in self._new:
            remove_empty(folder)

    def history(self) -> list[dict[str, Any]]:
        """When the run began and was resumed; empty for runs of earlier versions."""
        path = self.path / HISTORY
        if not path.is_file():
            return []
        try:
            records: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise UnreadableFile(f"{path} is damaged", got=str(error)) from error
        if not isinstance(records, list) or not all(isinstance(one, dict) for one in records):
            raise UnreadableFile(f"{path} is damaged", wanted="a list of records")
        return records

    def configuration(self) -> schema.Configuration:
        """The configuration of the run, as it was last started.

        Raises:
            InvalidOption: there is no run.
        """
        path = self.path / CONFIGURATION
        if not path.is_file():
            raise InvalidOption(
                "there is nothing to resume", where=str(self.path), wanted=CONFIGURATION
            )
        return schema.Configuration.from_source(merge_files([path])[0])

    def _clear_drafts(self) -> None:
        """Delete what a process that was killed had begun to write."""
        for folder in (self.path, self.path / CHECKPOINTS):
            for draft in folder.glob(DRAFTS):
                shutil.rmtree(draft, ignore_errors=True)

    def _has_steps(self) -> bool:
        """Whether the run in the folder has a checkpoint with a step in it."""
        try:
            newest = newest_checkpoint(self.path / CHECKPOINTS)
            return bool(read_checkpoint(newest, lazily=True)["state"]["step"])
        except RegistrationError:
            return False

    def _recover(self) -> None:
        """Finish what a killed process began: the earlier run comes back, or goes."""
        if not self._earlier.is_dir():
            return
        if (self.path / CONFIGURATION).is_file() and self._has_steps():
            self.settle()
            return
        for path in self._files():
            remove_path(path)
        for path in sorted(self._earlier.iterdir(), key=lambda path: path.name == CONFIGURATION):
            path.replace(self.path / path.name)
        self._earlier.rmdir()

    def _move_aside(self) -> None:
        files = self._files()
        if not (self.path / CONFIGURATION).is_file():
            return
        self._earlier.mkdir()
        for path in files:
            path.replace(self._earlier / path.name)

    def _files(self) -> list[Path]:
        """What belongs to the run in the folder, its configuration first; never its data."""
        config = self.path / CONFIGURATION
        names = [CONFIGURATION, *_OF_A_RUN]
        if config.is_file():
            names.append(f"{merge_files([config])[0].get('name', 'trained')}.pt")
        return [path for name in dict.fromkeys(names) if (path := self.path / name).exists()]

    def _write_history(self, history: list[dict[str, Any]]) -> None:
        with write_whole(self.path / HISTORY) as draft:
            draft.write_text(json.dumps(history, indent=2, default=str), encoding="utf-8")

    def _write_configuration(
        self, config: schema.Configuration, history: list[dict[str, Any]]
    ) -> None:
        comments = [
            f"From step {record['step']}: {key} {new}, before {old}."
            for record in history
            for key, (old, new) in record.get("changes", {}).items()
        ]
        with write_whole(self.path / CONFIGURATION) as draft:
            code = [f"{CODE}/{each.file_name}" for each in config.code_sources]
            source = {**config.source, **({"code": code} if code else {})}
            write_configuration(source, draft, comments)

    def _take_code_along(self, config: schema.Configuration) -> None:
        """Copy the user's own parts: a run can be predicted with and imported without its source.

        The user has run these files, so a model of this run may run them on this machine.
        """
        for source in config.code_sources:
            with write_whole(_ensure(self.path / CODE) / source.file_name) as draft:
                draft.write_bytes(source.content)
        trust([source.sha256 for source in config.code_sources])

    def require_same_code(self, config: schema.Configuration) -> None:
        """Check that a run is resumed with the code that it was begun with.

        Raises:
            IncompatibleModel: a file has another content.
        """
        for source in config.code_sources:
            before = self.path / CODE / source.file_name
            if before.is_file() and sha256_of(before) != source.sha256:
                raise IncompatibleModel(
                    "a resumed run goes on with the same code",
                    where=str(self.path),
                    got=str(source.path),
                    wanted=str(before),
                    remedy="Resume with RUN/config.yaml, or begin a new run with model.weights.",
                )


def _ensure(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _now() -> dict[str, str]:
    return {"time": datetime.now(UTC).isoformat(timespec="seconds"), "version": __version__}
