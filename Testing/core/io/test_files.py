"""Drafts that a killed process left behind go, those of living processes stay."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from neuralreg.io.files import draft_folder, path_from, write_whole

pytestmark = pytest.mark.skipif(os.name == "nt", reason="processes are asked for on POSIX only")
WRITE_AND_WAIT = """
import sys, time
from pathlib import Path
from neuralreg.io.files import draft_folder
with draft_folder(Path(sys.argv[1]), last=""):
    print("writing", flush=True)
    time.sleep(60)
"""


def test_drafts_of_killed_processes_are_cleared_by_the_next_one(tmp_path):
    command = [sys.executable, "-c", WRITE_AND_WAIT, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        (draft,) = tmp_path.iterdir()
        make_old(draft)
        write(tmp_path)
        assert draft.exists()  # its process lives
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert draft.exists()
    write(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["result"]


def test_a_new_draft_stays_also_where_no_process_of_its_number_is_seen(tmp_path):
    """Two containers share a folder and a name of the machine, but no numbers of processes."""
    with draft_folder(tmp_path, last="") as draft:
        number = draft.name.split("-")[-2]
        foreign = tmp_path / draft.name.replace(f"-{number}-", "-999999999-")
        foreign.mkdir()
    write(tmp_path)
    assert foreign.exists()


def make_old(draft: Path) -> None:
    long_ago = time.time() - 10_000
    os.utime(draft, (long_ago, long_ago))


def write(folder: Path) -> None:
    with draft_folder(folder, last="result") as draft:
        (draft / "result").write_text("done")


def test_a_name_of_another_system_is_found(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "field.nii").write_text("")
    assert path_from(tmp_path, "a\\field.nii") == tmp_path / "a" / "field.nii"
    assert path_from(tmp_path, "a/field.nii") == tmp_path / "a" / "field.nii"
    assert path_from(tmp_path, str(tmp_path / "a")) == tmp_path / "a"


def test_many_writers_of_one_folder_do_not_disturb_each_other(tmp_path):
    def write(number: int) -> None:
        for part in range(40):
            with write_whole(tmp_path / f"{number}-{part}") as draft:
                draft.write_text("whole")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    assert len(list(tmp_path.iterdir())) == 8 * 40
