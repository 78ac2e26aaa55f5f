"""A leader in a process of its own, to be stopped and killed: lead_study.py TABLE STUDY WORKERS."""

from __future__ import annotations

import sys
from pathlib import Path

from neuralreg.registration.options import RegistrationOptions
from neuralreg.studies.accounts.study_summary import StudyFacts
from neuralreg.studies.execution.row_execution import Settings
from neuralreg.studies.execution.row_records import StudyFolder
from neuralreg.studies.execution.study_leader import Interrupts
from neuralreg.studies.execution.study_plan import Choice, plan_study
from neuralreg.studies.execution.study_run import LocalChoice, StudyRun
from neuralreg.studies.table.study_table import read_cells, rows_of

from Testing.support.paths import TEST_DATA

WORKER = (sys.executable, str(TEST_DATA / "study_jobs.py"), "--cold")


def lead(table, folder, workers, settings=None, choice=None, engines=None, say=None):
    """Run a study of rows without registrations; the records of all rows, and the interrupts."""
    options = RegistrationOptions()
    rows, faults = rows_of(read_cells(table), options, {})
    assert not faults, faults
    study, interrupts = StudyFolder(folder), Interrupts()
    run = StudyRun(
        study,
        StudyFacts(str(table), options),
        settings or Settings(thumbnails=False),
        engines or LocalChoice(workers, 1, "cpu", command=WORKER).engine,
        say or write_line,
        lambda fraction, message: None,
        lambda record: write_line(f"{record.id} {record.state}"),
    )
    return run.work(plan_study(study, rows, choice or Choice()), interrupts), interrupts


def write_line(text):
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    _, interrupts = lead(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
    sys.exit(interrupts.signal)
