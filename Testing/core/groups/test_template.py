"""`neuralreg template`, `longitudinal` and `atlas-segment` on made groups of known shape."""

from __future__ import annotations

import csv
import json
import shutil

import numpy as np
import pytest
import SimpleITK as sitk
from scipy.optimize import brentq

from Testing.support.command_line import neuralreg
from Testing.support.made_group import bent_body, write_group

SIZE = 20
BENDS = [(4.0, 0.0, -2.0), (-2.0, 3.0, 0.0), (-2.0, -3.0, 2.0)]  # of mean 0
FEW = "--refine-steps", "6", "-q", "--json"


def run(*arguments):
    done = neuralreg(*arguments, *FEW)
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)


def values_of(path):
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


@pytest.fixture(scope="module")
def group(tmp_path_factory):
    """Three images of known mean shape, with labels, and a table of them."""
    folder = tmp_path_factory.mktemp("group")
    paths = write_group(folder, BENDS, SIZE)
    rows = ["name,image,labels"]
    for n, (bend, path) in enumerate(zip(BENDS, paths, strict=True)):
        sitk.WriteImage(bent_body(bend, SIZE, labels=True), str(folder / f"l{n}.nii.gz"))
        rows.append(f"subject{n},{path.name},l{n}.nii.gz")
    (folder / "group.csv").write_text("\n".join(rows))
    return folder, paths


@pytest.fixture(scope="module")
def slices(tmp_path_factory):
    """The same bodies in 2D."""
    folder = tmp_path_factory.mktemp("slices")
    paths = [folder / f"s{n}.nii.gz" for n in range(3)]
    for n, (bend, path) in enumerate(zip(BENDS, paths, strict=True)):
        sitk.WriteImage(bent_body(bend, 32, seed=n)[:, :, 16], str(path))
    return paths


@pytest.fixture(scope="module")
def template(group, tmp_path_factory):
    out = tmp_path_factory.mktemp("template") / "out"
    facts = run("template", group[0] / "group.csv", "-o", out, "--rounds", "1")
    return out, facts


def test_the_template_has_the_mean_shape(template):
    """Its labels overlap with those of the mean body more than any subject's do."""
    out, facts = template
    truth = sitk.GetArrayFromImage(bent_body((0, 0, 0), SIZE, labels=True))

    def overlap(labels, name):
        one, two = labels == name, truth == name
        return 2 * (one & two).sum() / (one.sum() + two.sum())

    made = values_of(out / "labels.nii.gz")
    assert made.shape == truth.shape
    subjects = [sitk.GetArrayFromImage(bent_body(b, SIZE, labels=True)) for b in BENDS]
    for name in (1, 2, 3):
        assert overlap(made, name) > np.mean([overlap(one, name) for one in subjects])
        assert overlap(made, name) > 0.75
    assert [line["kind"] for line in facts["rounds"]] == ["rigid", "affine", "deformable"]
    similarity = [line["similarity"] for line in facts["rounds"]]
    assert similarity == sorted(similarity)


def test_both_directions_of_each_subject_are_inverse(template):
    out, _ = template
    points = np.random.default_rng(0).uniform(-20, 20, (30, 3)).tolist()
    for n in range(3):
        there, back = (
            sitk.DisplacementFieldTransform(sitk.ReadImage(str(path), sitk.sitkVectorFloat64))
            for path in (
                out / f"subject{n}_template_to_subject.nii.gz",
                out / f"subject{n}_subject_to_template.nii.gz",
            )
        )
        again = [back.TransformPoint(there.TransformPoint(p)) for p in points]
        assert np.abs(np.subtract(again, points)).max() < 0.3


def test_the_template_is_the_mean_of_the_subjects_resampled_once(template, group):
    out, _ = template
    made = sitk.ReadImage(str(out / "template.nii.gz"))
    total = 0
    for n, path in enumerate(group[1]):
        field = sitk.ReadImage(
            str(out / f"subject{n}_template_to_subject.nii.gz"), sitk.sitkVectorFloat64
        )
        moved = sitk.Resample(
            sitk.ReadImage(str(path)), made, sitk.DisplacementFieldTransform(field),
            sitk.sitkBSpline,
        )  # fmt: skip
        total = total + sitk.GetArrayFromImage(moved)
    inside = sitk.GetArrayFromImage(made) > 0.3
    ours = sitk.GetArrayFromImage(made)[inside]
    assert np.corrcoef(ours, total[inside])[0, 1] > 0.999


def test_tables_say_how_it_came_about(template):
    out, facts = template
    rounds = list(csv.DictReader((out / "template.csv").open()))
    assert float(rounds[-1]["shape_change_mm"]) == pytest.approx(
        facts["rounds"][-1]["shape_change_mm"], rel=1e-4
    )
    subjects = list(csv.DictReader((out / "subjects.csv").open()))
    assert {row["name"] for row in subjects} == {"subject0", "subject1", "subject2"}
    record = json.loads((out / "result.json").read_text())
    assert len({one["sha256"] for one in record["inputs"]}) == 3
    assert not (out / "registrations").exists()


def test_the_order_of_the_subjects_does_not_matter(slices, tmp_path):
    run("template", *slices, "-o", tmp_path / "a", "--rounds", "0")
    run("template", *reversed(slices), "-o", tmp_path / "b", "--rounds", "0")
    one, two = (values_of(tmp_path / name / "template.nii.gz") for name in "ab")
    np.testing.assert_array_equal(one, two)


def test_mirror_images_give_a_symmetric_template(tmp_path):
    bend = (4.0, 2.0, -3.0)
    for n, mirror in enumerate((False, True)):
        image = bent_body(bend, SIZE, seed=n, mirror=mirror)
        sitk.WriteImage(image, str(tmp_path / f"side{n}.nii.gz"))
    sides = [tmp_path / f"side{n}.nii.gz" for n in range(2)]
    run("template", *sides, "-o", tmp_path / "out", "--rounds", "0")
    flip = sitk.ScaleTransform(3, (-1.0, 1.0, 1.0))  # in the world, where the sides are mirrored

    def asymmetry(path):
        image = sitk.ReadImage(str(path))
        values, mirrored = map(sitk.GetArrayFromImage, (image, sitk.Resample(image, flip)))
        inside = (slice(3, -3),) * 3
        return np.abs(values - mirrored)[inside].mean() / values.std()

    assert asymmetry(tmp_path / "out" / "template.nii.gz") < 0.3 * asymmetry(sides[0])


@pytest.fixture(scope="module")
def ill_group(tmp_path_factory):
    """Slices with a second contrast on a grid of its own; the first subject has a lesion."""
    folder = tmp_path_factory.mktemp("ill")
    rows = ["image,mask,channel_T2"]
    for n, bend in enumerate(BENDS):
        image = bent_body(bend, 32, seed=n)[:, :, 16]
        if n == 0:
            mask = sitk.Cast(image > -1e6, sitk.sitkUInt8)
            image[18:23, 8:13], mask[17:24, 7:14] = 400.0, 0
            sitk.WriteImage(mask, str(folder / "mask.nii.gz"))
        sitk.WriteImage(image, str(folder / f"s{n}.nii.gz"))
        other = bent_body(bend, 48, seed=9 + n)[:, :, 24]
        sitk.WriteImage(150 - other, str(folder / f"t{n}.nii.gz"))
        rows.append(f"s{n}.nii.gz,{'mask.nii.gz' if n == 0 else ''},t{n}.nii.gz")
    (folder / "group.csv").write_text("\n".join(rows))
    return folder


def resampled(image, field, grid):
    """By ITK, as the template's own points lead there."""
    way = sitk.DisplacementFieldTransform(sitk.ReadImage(str(field), sitk.sitkVectorFloat64))
    return sitk.GetArrayFromImage(sitk.Resample(image, grid, way, sitk.sitkLinear))


@pytest.mark.parametrize("options", [(), ("--model", "convex")])
def test_channels_are_averaged_and_a_lesion_does_not_count(ill_group, tmp_path, options):
    out = tmp_path / "out"
    facts = run("template", ill_group / "group.csv", "-o", out, "--rounds", "1", *options)
    assert {"template.nii.gz", "template_T2.nii.gz"} <= set(facts["files"])
    grid = sitk.ReadImage(str(out / "template.nii.gz"))
    fields = [out / f"s{n}_template_to_subject.nii.gz" for n in range(3)]
    mask = sitk.ReadImage(str(ill_group / "mask.nii.gz"))
    counts = resampled(mask, fields[0], grid) == 1
    second = [sitk.ReadImage(str(ill_group / f"t{n}.nii.gz")) for n in range(3)]
    mean = sum(resampled(image, field, grid) for image, field in zip(second, fields, strict=True))
    made = values_of(out / "template_T2.nii.gz")
    body = counts & (values_of(out / "template.nii.gz") > 0.3)
    assert np.corrcoef(made[body], mean[body])[0, 1] > 0.99
    # Brighter than anything else where it is; without the mask a third of it would be in the mean.
    lesion = resampled(sitk.ReadImage(str(ill_group / "s0.nii.gz")), fields[0], grid) > 300
    assert lesion.sum() > 10
    assert values_of(out / "template.nii.gz")[lesion].max() < 1.1
    record = json.loads((out / "result.json").read_text())
    assert len(record["inputs"]) == 7  # three images, three channels, a mask


def test_a_subject_without_one_of_the_channels_is_named(ill_group, tmp_path):
    text = (ill_group / "group.csv").read_text().replace("t1.nii.gz", "")
    (ill_group / "gap.csv").write_text(text)
    done = neuralreg("template", ill_group / "gap.csv", "-o", tmp_path / "out")
    assert done.exit_code == 1
    words = " ".join(done.output.split())
    assert "each subject of a group has all of its images" in words
    assert "line 3" in words
    assert "channel_T2" in words
    assert not (tmp_path / "out").exists()


def test_a_build_that_was_stopped_goes_on(slices, tmp_path, monkeypatch):
    from neuralreg.groups.template_pairs import TemplatePairs

    calls = []
    real = TemplatePairs._follow

    def stop_at_the_third(self, *arguments):
        calls.append(arguments[1].name)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(self, *arguments)

    monkeypatch.setattr(TemplatePairs, "_follow", stop_at_the_third)
    ask = "template", *slices, "-o", tmp_path / "out", "--rounds", "1", "-q"
    assert neuralreg(*ask).exit_code == 130
    assert not (tmp_path / "out" / "template.nii.gz").exists()
    assert neuralreg(*ask).exit_code == 0
    assert len(calls) == 4  # the first two were kept
    assert (tmp_path / "out" / "template.nii.gz").exists()


def test_who_does_not_belong_to_the_group_is_named(slices, tmp_path):
    mouse = bent_body((0, 0, 0), SIZE)[:, :, 10]
    mouse.SetSpacing([0.3] * 2)
    sitk.WriteImage(mouse, str(tmp_path / "mouse.nii.gz"))
    shutil.copy(slices[0], tmp_path / "again.nii.gz")
    extra = tmp_path / "mouse.nii.gz", tmp_path / "again.nii.gz"
    facts = run("template", *slices, *extra, "-o", tmp_path / "out", "--rounds", "0")
    words = " ".join(facts["warnings"])
    assert "mouse shows a body of" in words
    assert "is the same image as" in words
    assert len(facts["similarities"]) == 3


def test_single_slices_of_volumes_have_a_template_in_their_plane(tmp_path):
    for n, bend in enumerate(BENDS):
        image = bent_body(bend, 40, seed=n)[:, :, 20:21]
        sitk.WriteImage(image, str(tmp_path / f"s{n}.nii.gz"))
    slices = [tmp_path / f"s{n}.nii.gz" for n in range(len(BENDS))]
    facts = run("template", *slices, "-o", tmp_path / "out", "--rounds", "1")
    assert facts["rounds"][-1]["kind"] == "deformable"
    field = values_of(tmp_path / "out" / "s0_template_to_subject.nii.gz")
    assert np.abs(field[..., 2]).max() < 1e-3
    assert np.abs(field[..., :2]).max() > 1


def test_images_of_two_dimensions_are_refused_as_a_whole(group, tmp_path):
    sitk.WriteImage(bent_body((0, 0, 0), SIZE)[:, :, 8], str(tmp_path / "flat.nii.gz"))
    done = neuralreg("template", *group[1], tmp_path / "flat.nii.gz", "-o", tmp_path / "out")
    assert done.exit_code == 1
    assert "flat.nii.gz in 2D" in " ".join(done.output.split())
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    """One body, and the same a year later with a larger first cavity, with labels of both."""
    folder = tmp_path_factory.mktemp("scans")
    first = bent_body((0, 0, 0), 36)
    sitk.WriteImage(first, str(folder / "first.nii.gz"))
    for name, share in GROWTHS.items():
        way = sitk.DisplacementFieldTransform(_growth(first, share))
        sitk.WriteImage(sitk.Resample(first, way, sitk.sitkBSpline), str(folder / f"{name}.nii.gz"))
    return folder


GROWTHS = {"larger": 0.12, "smaller": -0.0169}  # of distances from the middle of the cavity


def _growth(image, share: float) -> sitk.Image:
    """Where points of the later body were: nearer to the middle of the cavity, within 20 mm."""
    index = np.indices(image.GetSize()[::-1])[::-1]
    points = np.stack(
        [o + s * i for o, s, i in zip(image.GetOrigin(), image.GetSpacing(), index, strict=True)],
        -1,
    )
    away = points - np.array([9.0, -8.0, 0.0])
    radius = np.linalg.norm(away, axis=-1, keepdims=True)
    field = sitk.GetImageFromArray(-share * away * np.exp(-((radius / 14) ** 4)), isVector=True)
    field.CopyInformation(image)
    return sitk.Cast(field, sitk.sitkVectorFloat64)


@pytest.mark.parametrize("name", GROWTHS)
def test_growth_and_shrinking_are_found_where_they_are(scans, tmp_path, name):
    """38 % of the volume within 8 mm, and -4.5 %."""
    pair = scans / "first.nii.gz", scans / f"{name}.nii.gz"
    done = neuralreg("longitudinal", *pair, "-o", tmp_path, "-q")
    assert done.exit_code == 0, done.stderr
    change = values_of(tmp_path / f"first_to_{name}_change.nii.gz")
    image = sitk.ReadImage(str(tmp_path / "template.nii.gz"))
    z, y, x = np.indices(change.shape)
    points = [
        o + s * i for o, s, i in zip(image.GetOrigin(), image.GetSpacing(), (x, y, z), strict=True)
    ]
    share = GROWTHS[name]
    later = brentq(lambda r: r * (1 - share * np.exp(-((r / 14) ** 4))) - 8, 1, 20)  # of 8 mm
    near = sum((p - c) ** 2 for p, c in zip(points, (9.0, -8.0, 0.0), strict=True)) < 8**2
    truth = (later / 8) ** 3 - 1
    assert np.exp(change[near]).mean() - 1 == pytest.approx(truth, rel=0.06)
    far = sum((p - c) ** 2 for p, c in zip(points, (-12.0, 8.0, 0.0), strict=True)) < 8**2
    assert np.exp(change[far]).mean() == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("deformation", ["affine", "deformable"])
def test_the_other_order_of_time_is_the_inverse_change(slices, tmp_path, deformation):
    first, later = slices[:2]
    options = "--deformation", deformation
    run("longitudinal", first, later, "-o", tmp_path / "a", *options)
    run("longitudinal", later, first, "-o", tmp_path / "b", *options)
    change = values_of(tmp_path / "a" / "s0_to_s1_change.nii.gz")
    back = values_of(tmp_path / "b" / "s1_to_s0_change.nii.gz")
    assert np.abs(change).max() > 0.01
    np.testing.assert_allclose(change, -back, atol=1e-3)


def test_identical_scans_show_no_change(slices, tmp_path):
    shutil.copy(slices[0], tmp_path / "second.nii.gz")
    two = slices[0], tmp_path / "second.nii.gz"
    run("longitudinal", *two, "-o", tmp_path / "out", "--deformation", "affine")
    assert np.abs(values_of(tmp_path / "out" / "s0_to_second_change.nii.gz")).max() < 1e-6


@pytest.fixture(scope="module")
def segmentation(group, tmp_path_factory):
    folder = tmp_path_factory.mktemp("atlas")
    bend = (1.0, 2.0, 2.0)
    sitk.WriteImage(bent_body(bend, SIZE, seed=9), str(folder / "image.nii.gz"))
    truth = sitk.GetArrayFromImage(bent_body(bend, SIZE, labels=True))
    facts = run(
        "atlas-segment", folder / "image.nii.gz", "--atlases", group[0] / "group.csv",
        "-o", folder / "out",
    )  # fmt: skip
    return folder / "out", facts, truth


def test_an_image_gets_labels_of_atlases(segmentation):
    out, facts, truth = segmentation
    made = values_of(out / "labels.nii.gz")
    assert set(np.unique(made)) == {0, 1, 2, 3}
    for name in (1, 2, 3):
        ours, theirs = made == name, truth == name
        assert 2 * (ours & theirs).sum() / (ours.sum() + theirs.sum()) > 0.75
    doubt = values_of(out / "uncertainty.nii.gz")
    wrong = made != truth
    assert doubt[wrong].mean() > 3 * doubt[~wrong].mean()
    assert facts["used"] == 3


def test_the_atlases_are_ranked_and_compared(segmentation):
    out, facts, _ = segmentation
    rows = list(csv.DictReader((out / "atlases.csv").open()))
    similarity = [float(row["similarity"]) for row in rows]
    assert similarity == sorted(similarity, reverse=True)
    assert [row["name"] for row in rows] == facts["atlases"]
    table = {row["label"]: row for row in csv.DictReader((out / "agreement.csv").open())}
    volume = (values_of(out / "labels.nii.gz") == 2).sum() * 4.0**3 / 1000
    assert float(table["2"]["milliliters"]) == pytest.approx(volume, rel=1e-4)


def test_an_atlas_without_labels_is_refused(group, tmp_path):
    (tmp_path / "t.csv").write_text("image\n" + "\n".join(map(str, group[1])))
    done = neuralreg("atlas-segment", group[1][0], "--atlases", tmp_path / "t.csv", "-o", tmp_path)
    assert done.exit_code == 1
    assert "an atlas is an image and its labels" in " ".join(done.output.split())


def test_the_maps_of_all_subjects_are_each_subject_s_own(template, tmp_path):
    """As `neuralreg jacobian` and `warp` make them, one by one."""
    out, _ = template
    (tmp_path / "design.csv").write_text(
        "id;age\n" + "\n".join(f"subject{n};{50 + n}" for n in range(3))
    )
    options = "--labels", out / "labels.nii.gz", "--design", tmp_path / "design.csv", "-q"
    done = neuralreg("study-maps", out, "-o", tmp_path / "maps", *options)
    assert done.exit_code == 0, done.stderr
    rows = list(csv.DictReader((tmp_path / "maps" / "subjects.csv").open()))
    assert [row["age"] for row in rows] == [str(50 + int(row["id"][-1])) for row in rows]
    logs = values_of(tmp_path / "maps" / "log_jacobian.nii.gz")
    images = values_of(tmp_path / "maps" / "images.nii.gz")
    made = out / "template.nii.gz"
    for n, row in enumerate(rows):
        field = out / f"{row['id']}_template_to_subject.nii.gz"
        alone = tmp_path / f"{n}.nii.gz"
        assert neuralreg("jacobian", field, "-o", alone, "--log", "--on", made).exit_code == 0
        np.testing.assert_allclose(logs[n], values_of(alone), atol=1e-5)
        warped = tmp_path / f"w{n}.nii.gz"
        done = neuralreg("warp", row["image"], field, "-r", made, "-o", warped)
        assert done.exit_code == 0, done.stderr
        np.testing.assert_allclose(images[n], values_of(warped), rtol=1e-4, atol=1e-3)
    regions = list(csv.DictReader((tmp_path / "maps" / "regions.csv").open()))
    first = next(row for row in regions if row["measure"] == "log_jacobian")
    inside = values_of(out / "labels.nii.gz") == int(first["region"])
    n = [row["id"] for row in rows].index(first["id"])
    assert float(first["mean"]) == pytest.approx(logs[n][inside].mean(), rel=1e-4)


def test_a_design_without_a_subject_and_other_folders_are_refused(template, tmp_path):
    (tmp_path / "design.csv").write_text("id,age\nsubject0,50\n")
    design = "--design", tmp_path / "design.csv"
    done = neuralreg("study-maps", template[0], "-o", tmp_path / "maps", *design)
    assert done.exit_code == 1
    assert "no row for" in " ".join(done.output.split())
    done = neuralreg("study-maps", tmp_path, "-o", tmp_path / "maps")
    assert done.exit_code == 1
    assert not (tmp_path / "maps").exists()
