"""Hostile runs of tables and records: landmarks in every dialect, worklists as people treat them.

Landmark errors are known in closed form; decisions are what was written into the list.
"""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from benchmarks.hostile_tools import (
    REFUSED,
    REMARKED,
    RIGHT,
    WRONG,
    Array,
    Judgement,
    Outcome,
    body,
    call,
    fault_of,
)

SHIFT = np.array([6.0, 0, 0])  # of the transform
NAMES = ("apex", "Kapsel hinten (ä)", "3", "carina", "L4/5", "d, e", "7")
HEADER = ["fixed_x", "fixed_y", "fixed_z", "moving_x", "moving_y", "moving_z"]


def _points(rng: np.random.Generator) -> tuple[list[str], Array, Array]:
    """Names, fixed points and moving points with a known error against a shift of 6 mm."""
    count = int(rng.integers(2, 7))
    fixed = np.round(rng.uniform(-15, 15, (count, 3)), 2)
    return list(NAMES[:count]), fixed, fixed + SHIFT + np.round(rng.normal(size=(count, 3)), 2)


def _prepare(folder: Path) -> None:
    """An image and a transform, once per folder."""
    image = sitk.GetImageFromArray(body((12, 12, 12), (0, 0, 0)))
    image.SetOrigin((-16.0, -16.0, -16.0))
    image.SetSpacing((3.0, 3.0, 3.0))
    sitk.WriteImage(image, str(folder / "image.nrrd"))
    sitk.WriteTransform(sitk.TranslationTransform(3, SHIFT.tolist()), str(folder / "t.tfm"))


def _review(folder: Path, *landmarks: object) -> Outcome:
    files = [folder / "t.tfm", "--fixed", folder / "image.nrrd", "--landmarks", landmarks[0]]
    partner = ["--moving-landmarks", landmarks[1]] if len(landmarks) > 1 else []
    return call("review", *files, *partner, "--json", "-q")


def _judge(outcome: Outcome, path: Path, errors: Array, *, must_read: bool) -> Judgement:
    """The mean error of a review against the known one."""
    if outcome.crash or outcome.code not in (0, 1):
        fault = fault_of(outcome, path) or Judgement(WRONG, outcome.err[:300])
        if fault.verdict == REFUSED and must_read:
            return Judgement(WRONG, f"refused without need: {fault.words}")
        return fault
    lines = {line["name"]: line for line in json.loads(outcome.out)["lines"]}
    value, count = (lines.get("tre_mean", {}).get(key) for key in ("value", "count"))
    remark = "warning" in outcome.err
    if value is not None and count == len(errors) and abs(value - errors.mean()) < 1e-3:
        return Judgement(REMARKED if remark else RIGHT)
    words = f"error {value} of {count} points, not {errors.mean():.4f} of {len(errors)}"
    return Judgement(REMARKED if remark else WRONG, words)


def table_run(rng: np.random.Generator, folder: Path) -> Judgement:
    """One table of pairs in a dialect by chance; some dialects cannot be told apart."""
    _prepare(folder)
    names, fixed, moving = _points(rng)
    separator = str(rng.choice([",", ";", "\t", "|"]))
    point = "," if separator != "," and rng.random() < 0.5 else "."
    broken = separator == "," and rng.random() < 0.15
    if broken:
        point = ","
    header, named = bool(rng.random() < 0.6), bool(rng.random() < 0.7)
    rows = [["name"] * named + HEADER] if header else []
    for name, numbers in zip(names, np.hstack([fixed, moving]), strict=True):
        rows.append([name] * named + [repr(float(v)).replace(".", point) for v in numbers])
    if rng.random() < 0.2:
        start = int(rng.integers(2))
        rows = [[str(n + start - header) if n >= header else "", *row]
                for n, row in enumerate(rows)]  # fmt: skip
    text = io.StringIO()
    quoting = csv.QUOTE_ALL if rng.random() < 0.2 and not broken else csv.QUOTE_MINIMAL
    if broken:
        text.write("\n".join(separator.join(row) for row in rows))
    else:
        ending = str(rng.choice(["\n", "\r\n", "\r"]))
        csv.writer(text, delimiter=separator, lineterminator=ending, quoting=quoting).writerows(
            rows
        )
    content = text.getvalue()
    if rng.random() < 0.15 and not broken:
        content = f"sep={separator}\r\n{content}"
    path = folder / f"landmarks{rng.choice(['.csv', '.tsv', '.txt', '.CSV'])}"
    path.write_bytes(content.encode(str(rng.choice(["utf-8", "utf-8-sig", "cp1252", "utf-16"]))))
    errors = np.linalg.norm(fixed + SHIFT - moving, axis=1)
    return _judge(_review(folder, path), path, errors, must_read=not broken)


def lists_run(rng: np.random.Generator, folder: Path) -> Judgement:
    """Two lists of points: .mrk.json, .fcsv or tables, LPS or RAS, some without a position."""
    _prepare(folder)
    names, fixed, moving = _points(rng)
    order = rng.permutation(len(names)) if rng.random() < 0.5 else np.arange(len(names))
    lost = set(rng.choice(len(names), int(rng.integers(0, 2)), replace=False).tolist())
    paths = []
    for side, points, indices in (("fixed", fixed, range(len(names))), ("moving", moving, order)):
        rows = [(names[i], points[i], side == "moving" and i in lost) for i in indices]
        paths.append(_write_list(rng, folder / side, rows))
    kept = [i for i in range(len(names)) if i not in lost]
    errors = np.linalg.norm(fixed + SHIFT - moving, axis=1)[kept]
    judgement = _judge(_review(folder, *paths), paths[0], errors, must_read=True)
    if lost and judgement.verdict == RIGHT:
        return Judgement(WRONG, "a point without a position was left out without a word")
    return judgement


def _write_list(rng: np.random.Generator, stem: Path, rows: list[tuple[str, Array, bool]]) -> Path:
    kind = str(rng.choice([".mrk.json", ".fcsv", ".csv"]))
    path = stem.with_name(stem.name + kind)
    ras = bool(rng.random() < 0.5) and kind != ".csv"
    flip = np.array([-1, -1, 1]) if ras else np.ones(3)
    if kind == ".mrk.json":
        points = [
            {"label": name, "position": (flip * point).tolist(),
             "positionStatus": "undefined" if lost else "defined"}
            for name, point, lost in rows
        ]  # fmt: skip
        markup = {"coordinateSystem": "RAS" if ras else "LPS", "controlPoints": points}
        path.write_text(json.dumps({"markups": [markup]}))
        return path
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    if kind == ".fcsv":
        text.write("# Markups fiducial file version = 4.11\n")
        text.write(f"# CoordinateSystem = {'RAS' if ras else 'LPS'}\n")
        text.write("# columns = id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID\n")
    else:
        lines.writerow(["name", "x", "y", "z"])
    for n, (name, point, lost) in enumerate(rows):
        numbers = ["nan"] * 3 if lost else (flip * point).tolist()
        more = [0, 0, 0, 1, 1, 1, 0, name, "", ""]
        lines.writerow([f"node_{n}", *numbers, *more] if kind == ".fcsv" else [name, *numbers])
    path.write_text(text.getvalue(), encoding="utf-8")
    return path


# Worklists


def _study(folder: Path, cases: int) -> Path:
    """A folder of results, beside the image that they were made from."""
    image = folder / "image.nrrd"
    sitk.WriteImage(sitk.GetImageFromArray(body((10, 10, 10), (0, 0, 0))), str(image))
    study = folder / "study"
    for n in range(cases):
        (study / f"case{n}").mkdir(parents=True)
        for name, sign in (("fixed_to_moving", 1), ("moving_to_fixed", -1)):
            _write_field(study / f"case{n}" / f"{name}.nii.gz", 0.1 * n * sign)
        inputs = {side: {"path": str(image)} for side in ("fixed", "moving")}
        (study / f"case{n}" / "result.json").write_text(json.dumps({"inputs": inputs}))
    return study


def _write_field(path: Path, shift: float) -> None:
    vectors = np.full((10, 10, 10, 3), shift, np.float32)
    sitk.WriteImage(sitk.GetImageFromArray(vectors, isVector=True), str(path))


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))


def _save(rng: np.random.Generator, path: Path, rows: list[dict[str, str]]) -> None:
    """As one of the spreadsheet programs saves it."""
    separator = str(rng.choice([",", ";", "\t"]))
    if separator != ",":
        rows = [{**row, "risk": row["risk"].replace(".", ",")} for row in rows]
    names = list(rng.permutation(list(rows[0])))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, delimiter=separator,
                            lineterminator=str(rng.choice(["\n", "\r\n"])))  # fmt: skip
    writer.writeheader()
    writer.writerows(rows)
    path.write_bytes(text.getvalue().encode(str(rng.choice(["utf-8", "utf-8-sig", "cp1252"]))))


def worklist_run(rng: np.random.Generator, folder: Path) -> Judgement:
    """Decisions outlive whatever happens to list and folder, and end with their transform."""
    study = _study(folder, 3)
    elsewhere = bool(rng.random() < 0.4)
    path = folder / "list.csv" if elsewhere else study / "worklist.csv"
    to = ["-o", path] if elsewhere else []
    first = call("worklist", study, *to, "-q")
    if first.crash or first.code not in (0, 1):
        return Judgement(WRONG, f"{first.crash or first.err}"[:400])
    rows = _rows(path)
    decided = {}
    for row in rows:
        if rng.random() < 0.6:
            word = str(rng.choice(["accepted", "rejected", "needs work"]))
            row.update(decision=word, by="Jürgen", note="all; slices,\nseen", time="2026")
            decided[row["case"]] = word
    _save(rng, path, rows)
    changed = ""
    what = rng.choice(["nothing", "again", "relative", "renamed", "changed", "foreign", "broken"])
    arguments: list[object] = [study, *to, "-q"]
    if what == "again":
        arguments.append("--again")
    elif what == "relative":
        arguments[0] = os.path.relpath(study)
    elif what == "renamed":
        arguments[0] = study.rename(folder / "moved")
        path = path if elsewhere else folder / "moved" / "worklist.csv"
    elif what == "changed":
        changed = "case1"
        _write_field(study / changed / "fixed_to_moving.nii.gz", 0.7)
    elif what == "foreign":
        (study / "other").mkdir()
        (study / "other" / "result.json").write_text('{"score": 1}')
    elif what == "broken":
        (study / "case2" / "fixed_to_moving.nii.gz").write_bytes(b"broken")
    done = call("worklist", *arguments)
    if done.crash or done.code not in (0, 1):
        return Judgement(WRONG, f"{what}: {done.crash or done.err}"[:400])
    after = {row["case"]: row for row in _rows(path)}
    for case, word in decided.items():
        row = after.get(case, {})
        if case == changed:
            if row.get("decision") or word not in row.get("note", ""):
                return Judgement(WRONG, f"{what}: a decision about another transform stands")
        elif (row.get("decision"), row.get("by")) != (word, "Jürgen"):
            return Judgement(WRONG, f"{what}: the decision on {case} is lost: {row}")
        elif row.get("note", "").split() != ["all;", "slices,", "seen"]:
            return Judgement(WRONG, f"{what}: the note is {row.get('note')!r}")
    undecided = {f"case{n}" for n in range(3)} - set(decided)
    if any(after[case]["decision"] for case in undecided):
        return Judgement(WRONG, f"{what}: a decision that nobody made")
    return Judgement(RIGHT, what)


def own_input_run(rng: np.random.Generator, folder: Path) -> Judgement:
    """An output that is an input under another name is refused, and the input stays as it was."""
    _prepare(folder)
    image = folder / "image.nrrd"
    before = image.read_bytes()
    name = str(rng.choice(["itself", "symbolic link", "hard link", "dots", "folder link"]))
    out = folder / "out.nrrd"
    if name == "itself":
        out = image
    elif name == "symbolic link":
        out.symlink_to(image)
    elif name == "hard link":
        out.hardlink_to(image)
    elif name == "dots":
        (folder / "sub").mkdir()
        out = folder / "sub" / ".." / "image.nrrd"
    else:
        (folder / "sub").symlink_to(folder, target_is_directory=True)
        out = folder / "sub" / "image.nrrd"
    command = ["warp", image, folder / "t.tfm", "-r", image, "-o", out, "--overwrite"]
    if rng.random() < 0.3:
        command = ["invert", folder / "t.tfm", "-r", image, "-o", folder / "t.tfm", "--overwrite"]
        out = folder / "t.tfm"
    outcome = call(*command)
    if image.read_bytes() != before or not (folder / "t.tfm").stat().st_size:
        return Judgement(WRONG, f"{name}: the input was replaced")
    if outcome.code == 0:
        return Judgement(WRONG, f"{name}: exit 0")
    return fault_of(outcome, out) or Judgement(WRONG)


def unwritable_run(rng: np.random.Generator, folder: Path) -> Judgement:
    """No folder, a folder as a file, no format, a file that is there: refused before any work."""
    _prepare(folder)
    (folder / "there.nrrd").write_text("mine")
    (folder / "folder.nrrd").mkdir()
    names = ["none/out.nrrd", "folder.nrrd", "out.xyz", "out", "there.nrrd", "image.nrrd/out.nrrd"]
    out = folder / str(rng.choice(names))
    outcome = call("warp", folder / "image.nrrd", folder / "t.tfm", "-r", folder / "image.nrrd",
                   "-o", out)  # fmt: skip
    if (folder / "there.nrrd").read_text() != "mine":
        return Judgement(WRONG, "a file was replaced")
    if outcome.code == 0:
        return Judgement(WRONG, f"{out.name} was written")
    shutil.rmtree(folder / "folder.nrrd")
    parent = out.parent if out.name == "out.nrrd" else out
    return fault_of(outcome, parent) or Judgement(WRONG)


KINDS = {
    "tables of landmarks": (table_run, 60),
    "lists of landmarks": (lists_run, 40),
    "worklists": (worklist_run, 30),
    "outputs that are inputs": (own_input_run, 15),
    "outputs that cannot be": (unwritable_run, 15),
}
