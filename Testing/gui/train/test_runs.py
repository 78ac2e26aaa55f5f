"""Any run below a folder is opened from the panel: to look at, continue, import and predict."""

from __future__ import annotations

import csv
import shutil

import pytest
import slicer
import yaml


@pytest.fixture
def runs(a_run, tmp_path):
    """A finished run, a run that was killed when it had its best checkpoint only, and a ruin."""
    folder = tmp_path / "runs"
    shutil.copytree(a_run, folder / "first")
    second = shutil.copytree(a_run, folder / "deep" / "second")
    (second / "checkpoints" / "last.pt").unlink()
    values = yaml.safe_load((second / "config.yaml").read_text())
    values["training"]["epochs"] = 20
    (second / "config.yaml").write_text(yaml.safe_dump(values))
    (folder / "ruin" / "checkpoints").mkdir(parents=True)
    (folder / "ruin" / "config.yaml").write_text("dataset: 3")
    return folder


@pytest.fixture
def choose(monkeypatch):
    """Answers the next dialog for a folder."""

    import qt

    def answer(folder) -> None:
        monkeypatch.setattr(qt.QFileDialog, "getExistingDirectory", lambda *_: str(folder))

    return answer


def rows_of(table) -> list[list[str]]:
    columns = range(table.columnCount)
    return [[table.item(row, c).text() for c in columns] for row in range(table.rowCount)]


def test_the_runs_below_a_folder_are_listed_and_one_is_opened_to_predict(
    panel, runs, idle, choose, tmp_path
):
    ui = panel.ui
    choose(runs)
    ui.listRunsButton.click()
    idle(panel)
    assert ui.trainStatusLabel.text == "3 runs: click one to open it."
    second, first, ruin = rows_of(ui.trainRunsTable)
    assert first[:3] == ["first", "finished", "15/15"]
    assert first[3].startswith("dice 0.")
    assert second[:2] == ["deep/second", "stopped"]
    assert second[2].endswith("/20")
    assert (ruin[0], ruin[1][:8]) == ("ruin", "damaged:")
    assert "training.epochs: 20" in ui.trainRunsTable.item(0, 0).toolTip()

    ui.trainRunsTable.selectRow(1)
    assert panel.parameters.runFolder == str(runs / "first")
    assert ui.trainStatusLabel.text.startswith("This folder contains a run: 15 epochs, 60 steps.")
    assert not ui.trainCurveLabel.isHidden()
    assert ui.useModelButton.enabled
    ui.trainRunsTable.selectRow(0)
    assert panel.parameters.runFolder == str(runs / "deep" / "second")
    assert ui.continueTrainingButton.enabled  # from its best checkpoint

    (tmp_path / "out").mkdir()
    choose(tmp_path / "out")
    ui.predictRunButton.click()
    idle(panel)
    assert ui.trainStatusLabel.text.startswith(f"Predictions are in {tmp_path / 'out'}: dice")
    with (tmp_path / "out" / "metrics.csv").open() as file:
        assert {row["fixed"] for row in csv.DictReader(file)} <= {"ball00", "ball01"}
    ui.predictRunButton.click()  # into the same folder
    idle(panel)
    assert "Predictions are in" not in ui.trainStatusLabel.text
    assert str(tmp_path / "out") in ui.trainStatusLabel.text


def test_code_that_a_run_brought_along_is_asked_for(panel, runs, idle, choose, monkeypatch):
    run = runs / "first"
    (run / "code").mkdir()
    (run / "code" / "parts.py").write_text(f"open({str(run / 'ran')!r}, 'w')\n")
    with (run / "config.yaml").open("a") as file:
        file.write("code: code/parts.py\n")
    asked = []
    monkeypatch.setattr(
        slicer.util, "confirmOkCancelDisplay", lambda text: asked.append(text) or len(asked) > 2
    )
    ui = panel.ui
    ui.runFolderEdit.text = str(run)
    for button in (ui.continueTrainingButton, ui.predictRunButton):
        button.click()
        assert not panel.training.busy
        assert ui.trainStatusLabel.text == "Its code was not agreed to: nothing was run."
    assert all(str(run / "code" / "parts.py") in text for text in asked)
    ui.trainEpochsSpinBox.value = 16
    ui.continueTrainingButton.click()
    idle(panel)
    assert ui.trainStatusLabel.text == "Done: 16 epochs, 64 steps."
    assert (run / "ran").exists()
    choose("")
    ui.predictRunButton.click()  # is asked once
    assert len(asked) == 3


def test_a_folder_without_runs_is_one_message(panel, idle, choose, tmp_path):
    choose(tmp_path)
    panel.ui.listRunsButton.click()
    idle(panel)
    assert "holds no run" in panel.ui.trainStatusLabel.text
    assert panel.ui.trainRunsTable.isHidden()
