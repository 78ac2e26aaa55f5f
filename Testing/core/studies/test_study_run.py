"""A study under supervision: real processes that are refused, hang, are killed and stopped.

The rows take no registration, see `Testing/data/study_jobs.py`; those of `test_batch_command.py`
do.
"""

from __future__ import annotations

import csv
import json
import os
import platform
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from neuralreg.errors import UnreadableFile
from neuralreg.resources import memory_kills
from neuralreg.studies.accounts.study_status import read_status
from neuralreg.studies.execution.row_execution import Settings
from neuralreg.studies.execution.row_locks import LockWatch
from neuralreg.studies.execution.row_records import (
    Failure,
    StudyFolder,
    read_record,
    write_record,
)
from neuralreg.studies.execution.study_plan import Choice

from Testing.support.lead_study import lead
from Testing.support.programs import all_end, environment

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals are tested")
QUICK = Settings(timeout_s=1.0, patience_s=20.0, thumbnails=False)


def table_of(folder: Path, *ids: str) -> Path:
    """A table of rows with these ids, whose files exist."""
    lines = ["id,fixed,moving"]
    for name in ids:
        for side in ("f", "m"):
            (folder / f"{name}.{side}").write_text(name + side)
        lines.append(f"{name},{name}.f,{name}.m")
    (folder / "t.csv").write_text("\n".join(lines) + "\n")
    return folder / "t.csv"


def log_of(folder: Path) -> Counter:
    """How often each row began and ended."""
    path = folder / "log.txt"
    lines = path.read_text().splitlines() if path.exists() else []
    return Counter(tuple(line.split()[:2]) for line in lines)


def table_rows(path: Path) -> dict[str, dict[str, str]]:
    with path.open(newline="") as file:
        return {row["id"]: row for row in csv.DictReader(file)}


@pytest.fixture(scope="module")
def supervision(tmp_path_factory):
    """A study in which every kind of thing happens."""
    folder = tmp_path_factory.mktemp("study")
    good = [f"good-{number}" for number in range(6)]
    table = table_of(
        folder, *good, "refused-1", "hangs-1", "dies-1", "diesonce-1", "hungry-1", "gone-1"
    )
    (folder / "gone-1.m").unlink()
    said = []
    records, _ = lead(table, folder / "study", 2, QUICK, say=said.append)
    return folder, {record.id: record for record in records}, said


def test_what_happens_to_one_row_does_not_stop_the_others(supervision):
    _, records, _ = supervision
    states = {name: record.state for name, record in records.items()}
    failed = {"refused-1", "hangs-1", "dies-1", "gone-1"}
    assert {name for name, state in states.items() if state == "failed"} == failed
    assert {states[name] for name in states if name not in failed} == {"done"}


def test_a_failure_has_its_class_its_reason_and_what_to_do(supervision):
    folder, records, _ = supervision
    kinds = {name: record.failure.kind for name, record in records.items() if record.failure}
    killed = "memory" if memory_kills() is None else "killed"  # Linux knows why
    assert kinds == {"refused-1": "input", "hangs-1": "time", "dies-1": killed, "gone-1": "input"}
    written = table_rows(folder / "study" / "failures.csv")
    assert set(written) == set(kinds)
    assert written["refused-1"]["reason"].startswith("this is refused (refused-1): got that")
    assert all(row["what_to_do"] for row in written.values())


def test_a_row_that_failed_was_tried_again_and_one_that_lost_its_worker_alone(supervision):
    _, records, said = supervision
    attempts = {name: record.attempts for name, record in records.items()}
    assert attempts["refused-1"] == attempts["hangs-1"] == attempts["diesonce-1"] == 2
    assert attempts["hungry-1"] == 2
    assert attempts["dies-1"] == (3 if memory_kills() is None else 5)
    assert attempts["good-0"] == 1
    assert any(text.startswith("hungry-1 is tried again alone: ") for text in said)


@pytest.mark.skipif(memory_kills() is None, reason="only Linux says why a process was killed")
def test_a_worker_killed_before_its_row_began_takes_no_attempt_of_it(tmp_path, monkeypatch):
    (marks := tmp_path / "marks").mkdir()
    monkeypatch.setenv("DIES_AT_START", str(marks))
    records, _ = lead(table_of(tmp_path, "good-1"), tmp_path / "study", 1, QUICK)
    assert [(record.state, record.attempts) for record in records] == [("done", 1)]
    assert len(list(marks.iterdir())) == 2


def test_every_good_row_is_computed_once(supervision):
    folder, _, _ = supervision
    ends = {name: count for (name, word), count in log_of(folder).items() if word == "ends"}
    good = {f"good-{number}" for number in range(6)}
    assert ends == dict.fromkeys(good | {"diesonce-1", "hungry-1"}, 1)


def test_the_accounts_tell_of_every_row(supervision):
    folder, records, _ = supervision
    written = table_rows(folder / "study" / "study.csv")
    assert {name: row["state"] for name, row in written.items()} == {
        name: record.state for name, record in records.items()
    }
    assert written["good-0"]["similarity_final"] == "0.5"
    about = json.loads((folder / "study" / "study.json").read_text())
    assert about["rows"]["good-0"]["inputs"]["fixed"]["sha256"]
    assert about["states"] == {"done": 8, "failed": 4}
    assert read_status(folder / "study").facts()["states"] == {"done": 8, "failed": 4}


def test_nothing_half_written_and_no_lock_stays(supervision):
    folder, _, _ = supervision
    names = [path.name for path in (folder / "study").rglob("*")]
    assert not [name for name in names if name == "lock" or name.startswith(".writing")]
    assert not (folder / "study" / "refused-1").exists()


def test_the_same_command_again_computes_nothing_and_retry_only_what_failed(supervision):
    folder, _, _ = supervision
    before, records = log_of(folder), list((folder / "study").rglob("row.json"))
    times = [path.stat().st_mtime_ns for path in records]
    lead(folder / "t.csv", folder / "study", 1, QUICK)
    assert log_of(folder) == before
    assert [path.stat().st_mtime_ns for path in records] == times
    lead(folder / "t.csv", folder / "study", 1, QUICK, Choice(retry=True, only=("refused-1",)))
    assert log_of(folder) - before == Counter({("refused-1", "begins"): 2})


def test_a_changed_row_is_computed_again_and_a_touched_one_is_not(tmp_path):
    table, study = table_of(tmp_path, "good-1", "good-2", "good-3"), tmp_path / "study"
    lead(table, study, 1)
    (tmp_path / "good-1.f").write_text("another")
    (tmp_path / "good-2.f").touch()
    (tmp_path / "t.csv").write_text(
        "id,fixed,moving,preset\ngood-1,good-1.f,good-1.m,\ngood-2,good-2.f,good-2.m,\n"
    )
    lead(table, study, 1)
    ends = {name: count for (name, word), count in log_of(tmp_path).items() if word == "ends"}
    assert ends == {"good-1": 2, "good-2": 1, "good-3": 1}
    written = table_rows(study / "study.csv")
    assert written["good-3"]["state"] == "gone"
    assert (study / "good-3" / "result.json").exists()
    (tmp_path / "t.csv").write_text("id,fixed,moving,preset\ngood-2,good-2.f,good-2.m,cardiac\n")
    lead(table, study, 1)
    assert log_of(tmp_path)["good-2", "ends"] == 2


def test_a_row_whose_leader_died_between_two_attempts_gets_the_second_one(tmp_path):
    table, study = table_of(tmp_path, "diesonce-1", "refused-1"), StudyFolder(tmp_path / "study")
    lead(table, study.path, 1, QUICK)
    for name in ("diesonce-1", "refused-1"):
        record = read_record(study, name)
        failure = Failure("worker", "the computing process ended", "")
        write_record(study, replace(record, state="failed", attempts=1, failure=failure))
    before = log_of(tmp_path)
    records, _ = lead(table, study.path, 1, QUICK)
    assert [record.state for record in records] == ["done", "failed"]
    begun = log_of(tmp_path) - before
    assert (begun["diesonce-1", "begins"], begun["refused-1", "begins"]) == (1, 1)
    assert records[1].attempts == 2


def test_a_worklist_that_somebody_broke_is_said_and_stops_nothing(tmp_path):
    table, said = table_of(tmp_path, "good-1"), []
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "worklist.csv").write_text("no,columns\n")
    records, _ = lead(table, tmp_path / "study", 1, say=said.append)
    assert [record.state for record in records] == ["done"]
    assert sum("worklist.csv has no column 'transform'" in text for text in said) == 1


def test_shards_are_parts_of_the_table_and_a_limit_counts(tmp_path):
    table, study = table_of(tmp_path, *(f"good-{n}" for n in range(5))), tmp_path / "study"
    lead(table, study, 1, choice=Choice(shard=(2, 2)))
    assert {name for name, _ in log_of(tmp_path)} == {"good-1", "good-3"}
    lead(table, study, 1, choice=Choice(limit=1))
    assert {name for name, _ in log_of(tmp_path)} == {"good-0", "good-1", "good-3"}


def test_two_runs_on_one_folder_never_compute_a_row_twice(tmp_path):
    table = table_of(tmp_path, *(f"good-{number}" for number in range(12)))
    runs = [start(table, tmp_path / "study", 2) for _ in range(2)]
    assert [run.wait(timeout=60) for run in runs] == [0, 0]
    counts = log_of(tmp_path)
    assert {counts[f"good-{number}", "ends"] for number in range(12)} == {1}
    assert set(read_status(tmp_path / "study").facts()["states"]) == {"done"}


def start(table: Path, study: Path, workers: int, **variables: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "Testing.support.lead_study"]
    return subprocess.Popen(
        [*command, str(table), str(study), str(workers)],
        env=environment(**variables),
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(condition, within_s=20.0):
    end = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end, "it did not come about in time"
        time.sleep(0.02)


def test_a_leader_that_is_killed_loses_nothing_and_leaves_no_process(tmp_path):
    table = table_of(tmp_path, *(f"good-{number}" for number in range(8)))
    run = start(table, tmp_path / "study", 2, ROW_SECONDS="0.5")
    wait_for(lambda: log_of(tmp_path)["good-1", "ends"])
    workers = {int(line.split()[2]) for line in (tmp_path / "log.txt").read_text().splitlines()}
    run.kill()
    run.communicate()
    assert all_end(workers, 5.0)
    done = {name for name, word in log_of(tmp_path) if word == "ends"}
    records, _ = lead(table, tmp_path / "study", 2)
    assert {record.state for record in records} == {"done"}
    again = {name for name in done if log_of(tmp_path)[name, "ends"] > 1}
    assert len(again) <= 2  # rows that had ended when the leader died, without a record yet
    assert not list((tmp_path / "study").rglob("lock"))


@pytest.mark.parametrize("signals", [[signal.SIGINT], [signal.SIGINT] * 2, [signal.SIGTERM]])
def test_a_signal_stops_the_study_and_the_next_run_goes_on(tmp_path, signals):
    table = table_of(tmp_path, *(f"good-{number}" for number in range(4)), "hangs-1")
    gentle = len(signals) == 1 and signals[0] == signal.SIGINT
    ids = [f"good-{number}" for number in range(4)]
    table = table_of(tmp_path, *(ids if gentle else ["hangs-1", *ids]))
    run = start(table, tmp_path / "study", 1, ROW_SECONDS="1")
    wait_for(lambda: sum(log_of(tmp_path).values()))
    for number in signals:
        run.send_signal(number)
        time.sleep(0.5)
    _, errors = run.communicate(timeout=10)
    assert run.returncode == signals[0]
    assert "Traceback" not in errors
    states = {record.id: record.state for record in read_status(tmp_path / "study").records}
    if gentle:
        assert states["good-0"] == "done"
    else:
        assert states["hangs-1"] == "waiting"
    assert list(states.values()).count("waiting") >= 3
    assert not list((tmp_path / "study").rglob("lock"))


def test_a_full_disk_is_waited_for_and_said(tmp_path, monkeypatch):
    """Where this process may not mount a small disk, a closed folder stands for it."""
    table = table_of(tmp_path, "good-1", "good-2")
    study, said = tmp_path / "study", []
    (tmp_path / "away").mkdir()

    def come_back():
        wait_for(lambda: any("trying again" in text for text in said))
        (tmp_path / "away").rename(tmp_path / "mount")

    study.symlink_to(tmp_path / "mount" / "study")
    thread = threading.Thread(target=come_back)
    (tmp_path / "away" / "study").mkdir()
    (tmp_path / "away").rename(tmp_path / "mount")
    vanish = threading.Timer(0.0, lambda: (tmp_path / "mount").rename(tmp_path / "away"))

    def say(text):
        said.append(text)
        if "threads of each" in text:
            vanish.run()
            thread.start()

    records, _ = lead(table, study, 1, QUICK, say=say)
    assert {record.state for record in records} == {"done"}
    assert any("trying again" in text for text in said)


def test_a_disk_that_is_full_after_the_transforms_is_waited_for_too(tmp_path):
    table, said = table_of(tmp_path, "fullonce-1"), []
    (record,), _ = lead(table, tmp_path / "study", 1, QUICK, say=said.append)
    assert (record.state, record.attempts) == ("done", 1)
    assert log_of(tmp_path)["fullonce-1", "ends"] == 2
    assert any("No space left on device" in text and "trying again" in text for text in said)


def test_a_lock_of_a_process_that_has_ended_is_taken_over_and_a_living_one_is_not(tmp_path):
    code = f"""
from pathlib import Path; from neuralreg.studies.execution.row_locks import LockWatch
assert LockWatch().acquire(Path({str(tmp_path / "lock")!r})); print("held", flush=True); input()"""
    owner = subprocess.Popen(
        [sys.executable, "-c", code], env=environment(), stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert owner.stdout.readline() == "held\n"
    watch = LockWatch()
    assert watch.acquire(tmp_path / "lock") is None
    owner.kill()
    owner.communicate()
    lock = watch.acquire(tmp_path / "lock")
    assert lock is not None
    lock.release()
    assert not (tmp_path / "lock").exists()


def test_a_lock_of_another_machine_expires_when_nobody_touches_it(tmp_path):
    path = tmp_path / "lock"
    path.write_text(json.dumps({"token": "1", "host": "elsewhere", "pid": os.getpid()}))
    watch = LockWatch(stale_s=0.3)
    assert watch.acquire(path) is None
    time.sleep(0.2)
    os.utime(path)
    assert watch.acquire(path) is None
    time.sleep(0.2)
    assert watch.acquire(path) is None  # it was touched 0.2 s ago
    time.sleep(0.2)
    assert watch.acquire(path) is not None


def test_a_lock_of_another_container_with_this_machine_s_name_is_not_taken_at_once(tmp_path):
    owner = {"token": "1", "host": platform.node(), "pid": 2**22 + 1, "space": "another"}
    (tmp_path / "lock").write_text(json.dumps(owner))
    assert LockWatch().acquire(tmp_path / "lock") is None


def test_a_record_that_is_none_is_refused_with_what_to_do(tmp_path):
    study = StudyFolder(tmp_path)
    study.work("a").mkdir(parents=True)
    (study.work("a") / "row.json").write_text("{}")
    with pytest.raises(UnreadableFile, match="Delete it"):
        read_record(study, "a")
