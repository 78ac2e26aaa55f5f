"""What a computing process inherits."""

from __future__ import annotations

from pathlib import Path


def test_a_variable_that_is_not_text_is_left_out_and_the_others_arrive(
    the_application, monkeypatch
):
    from NeuralRegistrationLib.Worker import WorkerProcess

    given = {"GOOD": "ü", "BAD": b"\xff".decode("utf-8", "surrogateescape")}
    monkeypatch.setattr(WorkerProcess, "environment", lambda mark: given)
    variables = WorkerProcess.surroundings("mark")
    assert variables.value("GOOD") == "ü"
    assert not variables.contains("BAD")


def test_a_folder_whose_files_are_still_mapped_is_deleted_as_soon_as_they_are_free(
    the_application, monkeypatch, tmp_path, wait_until
):
    """On Windows, where a killed worker keeps its files for a moment."""
    from NeuralRegistrationLib.Worker import IncrementalWork

    folder = tmp_path / "job"
    folder.mkdir()
    (folder / "0.npy").write_bytes(b"mapped")
    unlink, tried = Path.unlink, []

    def locked(path, missing_ok=False):
        tried.append(path)
        if len(tried) < 3:
            raise PermissionError(13, "used by another process")
        unlink(path, missing_ok)

    def rmtree(path, ignore_errors):
        assert ignore_errors
        if not any(path.iterdir()):
            path.rmdir()

    monkeypatch.setattr(Path, "unlink", locked)
    monkeypatch.setattr(IncrementalWork.shutil, "rmtree", rmtree)
    monkeypatch.setattr(IncrementalWork, "_AGAIN_MS", 5)
    IncrementalWork.remove(folder)
    wait_until(lambda: not folder.exists())
    wait_until(lambda: folder not in IncrementalWork._removing)
    assert len(tried) == 3


def test_a_folder_that_stays_locked_is_tried_a_last_time_at_the_end(
    the_application, monkeypatch, tmp_path, wait_until
):
    from NeuralRegistrationLib.Worker import IncrementalWork

    folder = tmp_path / "job"
    folder.mkdir()
    asked = []
    monkeypatch.setattr(
        IncrementalWork.shutil, "rmtree", lambda path, ignore_errors: asked.append(path)
    )
    IncrementalWork.remove(folder, attempts=1)
    wait_until(lambda: asked == [folder])
    the_application.processEvents()
    IncrementalWork.removeAllNow()
    assert asked == [folder, folder]
