"""Many pairs, run, resumed and accounted for: 07_study.py [OUTPUT FOLDER]

The same on the command line: `neuralreg batch pairs.csv -o study`, then
`neuralreg batch status study`.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import SimpleITK as sitk
from made_images import make_pair
from neuralreg.registration.options import RegistrationOptions
from neuralreg.studies.accounts.study_summary import StudyFacts
from neuralreg.studies.execution.row_execution import Settings
from neuralreg.studies.execution.row_records import StudyFolder
from neuralreg.studies.execution.study_leader import Interrupts
from neuralreg.studies.execution.study_plan import Choice, plan_study
from neuralreg.studies.execution.study_run import LocalChoice, StudyRun
from neuralreg.studies.table.study_table import read_cells, rows_of

out = Path(sys.argv[1] if len(sys.argv) > 1 else "many")
out.mkdir(parents=True, exist_ok=True)
for image, name in zip(make_pair(), ("first", "second"), strict=True):
    sitk.WriteImage(image, str(out / f"{name}.nii.gz"))

# One row a pair; any option of a registration is a column. The third row cannot be computed.
table = out / "pairs.csv"
table.write_text(
    "id,fixed,moving,prealign\n"
    "forth,first.nii.gz,second.nii.gz,none\n"
    "back,second.nii.gz,first.nii.gz,none\n"
    "lost,first.nii.gz,third.nii.gz,none\n"
)
options = RegistrationOptions()
rows, faults = rows_of(read_cells(table), options, {})
assert not faults

study = StudyFolder(out / "study")
run = StudyRun(
    study,
    StudyFacts(str(table), options),
    Settings(timeout_s=600),
    LocalChoice(workers=1, device="cpu").engine,  # DaskChoice(scheduler="tcp://...") for many
    say=print,
    progress=lambda fraction, words: print(f"{100 * fraction:3.0f} % {words}"),
    report=lambda record: None,
)
run.work(plan_study(study, rows, Choice()), Interrupts())

for row in csv.DictReader(study.table.open()):
    print(row["id"], row["state"], row["similarity_final"] or row["reason"])

# Again: what is done is not computed once more.
assert not plan_study(study, rows, Choice()).compute
