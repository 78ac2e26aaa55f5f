"""Registering nodes through the computing process: real MRML, real processes, a known engine."""

from __future__ import annotations

import sys
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest
import slicer
from neuralreg.errors import Cancelled, InputsChanged, InvalidOption
from neuralreg.registration.options import FieldRefinement, RegistrationOptions

from Testing.support.paths import TEST_DATA
from Testing.support.programs import run_python

KNOWN = [sys.executable, str(TEST_DATA / "known_engine.py")]
SHIFT_RAS = np.array([-3.0, 5.0, 7.0])


@pytest.fixture
def register(known_worker, a_scene):
    from NeuralRegistrationLib.Register.Logic import register

    return register


@pytest.fixture
def as_python(known_worker):
    from NeuralRegistrationLib.Register.AsPython import asPython

    return asPython


def a_volume(name: str, size=(16, 15, 14), kind="vtkMRMLScalarVolumeNode", dtype=np.int16):
    array = np.random.default_rng(len(name)).integers(1, 200, size).astype(dtype)
    node = slicer.util.addVolumeFromArray(array, None, name, kind)
    node.SetSpacing(2.0, 2.0, 3.0)
    return node


@pytest.fixture
def pair(a_scene):
    return a_volume("fixed"), a_volume("moving")


def a_segmentation(volume):
    labels = np.zeros((16, 15, 14), np.uint8)
    labels[4:9, 4:9, 4:8] = 1
    labels[4:9, 4:9, 8:12] = 2
    node = slicer.util.addVolumeFromArray(labels, None, "l", "vtkMRMLLabelMapVolumeNode")
    node.SetSpacing(*volume.GetSpacing())
    made = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "organs")
    made.CreateDefaultDisplayNodes()
    assert slicer.vtkSlicerSegmentationsModuleLogic.ImportLabelmapToSegmentationNode(node, made)
    slicer.mrmlScene.RemoveNode(node)
    return made


def names_in(scene) -> set[str]:
    return {scene.GetNthNode(i).GetID() for i in range(scene.GetNumberOfNodes())}


def moved(transform_node, point=(10.0, 11.0, 12.0)) -> np.ndarray:
    """Where a node's transform puts a point from its parent."""
    return np.array(transform_node.GetTransformFromParent().TransformPoint(point)) - point


def test_a_registration_through_the_worker_puts_its_results_into_the_scene(register, pair):
    fixed, moving = pair
    done = register(fixed, moving, inverse=True, segmentations=[a_segmentation(moving)])
    assert done.transformNode.GetName() == "moving to fixed"
    assert np.allclose(moved(done.transformNode), SHIFT_RAS, atol=1e-5)
    assert np.allclose(moved(done.inverseTransformNode), -SHIFT_RAS, atol=1e-5)
    assert done.warpedVolumeNode.GetName() == "moving on fixed"
    assert slicer.util.arrayFromVolume(done.warpedVolumeNode).dtype == np.int16
    assert done.result.warnings == ("this was known",)
    assert done.result.outcome.folding_percent == 0.5
    assert done.seconds > 0
    (copy,) = done.warpedSegmentationNodes
    assert copy.GetSegmentation().GetNumberOfSegments() == 2


def test_both_ways_of_computing_leave_the_same_in_the_scene(register, pair):
    """Through the worker, and in this process with the same engine."""
    fixed, moving = pair
    organs = a_segmentation(moving)
    extra = a_volume("more", dtype=np.uint16)
    wanted = {"segmentations": [organs], "volumes": [extra], "inverse": True}
    through = register(fixed, moving, **wanted)

    def register_known(fixed, moving, model, *, progress, **options):
        return _known_engine()["known"](fixed, moving, model, progress=progress, **options)

    here = register(fixed, moving, engine=register_known, **wanted)
    for one, other in (
        (through.warpedVolumeNode, here.warpedVolumeNode),
        (through.warpedVolumeNodes[0], here.warpedVolumeNodes[0]),
    ):
        arrays = [slicer.util.arrayFromVolume(node) for node in (one, other)]
        assert arrays[0].dtype == arrays[1].dtype
        assert np.array_equal(*arrays)
    assert np.array_equal(
        *(slicer.util.arrayFromGridTransform(d.transformNode) for d in (through, here))
    )


def _known_engine() -> dict:
    source = Path(KNOWN[1]).read_text().rpartition("jobs.KINDS")[0]
    made: dict = {"__name__": "known_engine"}
    exec(compile(source.replace("from __future__", "# "), KNOWN[1], "exec"), made)
    return made


def test_without_waiting_a_job_comes_back_at_once_and_tells_when_it_is_done(
    register, pair, wait_until
):
    ended, seen = [], []
    job = register(
        *pair, wait=False, onDone=ended.append, onProgress=lambda j: seen.append(j.state)
    )
    assert job.state == "waiting"
    wait_until(lambda: ended)
    assert ended == [job]
    assert job.result.transformNode.GetScene() is not None
    assert {"preparing", "running", "delivering"} <= set(seen)


def test_revert_takes_away_what_the_worker_brought(register, pair, a_scene):
    before = names_in(a_scene)
    done = register(*pair, inverse=True)
    assert names_in(a_scene) > before
    done.revert()
    assert names_in(a_scene) == before


@pytest.mark.parametrize("state", ["waiting", "preparing", "running", "delivering"])
def test_a_registration_cancelled_in_any_state_leaves_the_scene_as_it_was(
    register, pair, a_scene, wait_until, state
):
    before = names_in(a_scene)

    def stop(job):
        if job.state == state:
            job.cancel()

    job = register(*pair, wait=False, onProgress=stop, model_options={"seconds": 1.0})
    if state == "waiting":
        job.cancel()
    wait_until(lambda: job.ended)
    assert (job.state, type(job.error)) == ("cancelled", Cancelled)
    assert names_in(a_scene) == before


def test_a_progress_that_cancels_ends_a_registration_that_is_waited_for(register, pair):
    def stop(fraction, stage):
        if stage == "stage 5":
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        register(*pair, progress=stop, model_options={"seconds": 1.0})


def shift(node, a_scene):
    parent = a_scene.AddNewNodeByClass("vtkMRMLTransformNode", "couch")
    matrix = np.eye(4)
    matrix[:3, 3] = [1, 2, 3]
    parent.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    node.SetAndObserveTransformNodeID(parent.GetID())


def redraw(node, a_scene):
    slicer.util.arrayFromVolume(node)[:] = 5
    slicer.util.arrayFromVolumeModified(node)


CHANGES = {
    "deleted": lambda node, scene: scene.RemoveNode(node),
    "redrawn": redraw,
    "moved": shift,
    "stretched": lambda node, scene: node.SetSpacing(3.0, 2.0, 3.0),
    "replaced": lambda node, scene: node.SetAndObserveImageData(slicer.vtkOrientedImageData()),
}


@pytest.mark.parametrize(("which", "change"), [(n % 2, name) for n, name in enumerate(CHANGES)])
def test_a_result_is_dropped_when_a_volume_was_changed_meanwhile(
    register, pair, a_scene, wait_until, change, which
):
    job = register(*pair, wait=False, model_options={"seconds": 0.5})
    wait_until(lambda: job.progress.stage == "stage 3")
    CHANGES[change](pair[which], a_scene)
    before = names_in(a_scene)
    wait_until(lambda: job.ended)
    assert isinstance(job.error, InputsChanged)
    assert names_in(a_scene) == before


def test_a_volume_that_is_changed_while_its_job_waits_is_not_registered(
    register, pair, a_scene, wait_until
):
    register(*pair, wait=False, model_options={"seconds": 0.3})
    waiting = register(*pair, wait=False)
    shift(pair[0], a_scene)
    wait_until(lambda: waiting.ended)
    assert isinstance(waiting.error, InputsChanged)


def test_large_volumes_do_not_block_the_window(register, a_scene, late_ticks, wait_until):
    """Counted, not timed; a busy machine may itself be late once or twice."""
    pair = [a_volume(name, (192,) * 3, dtype=np.float32) for name in ("fixed", "moving")]
    before = late_ticks.total()
    job = register(*pair, wait=False)
    wait_until(lambda: job.ended)
    assert job.state == "done"
    assert late_ticks.total() > before + 50
    assert late_ticks.count() <= 2


def test_looking_at_a_volume_or_renaming_it_does_not_drop_its_result(register, pair, wait_until):
    fixed, moving = pair
    job = register(fixed, moving, wait=False, model_options={"seconds": 0.3})
    wait_until(lambda: job.progress.stage == "stage 3")
    fixed.GetDisplayNode().SetWindowLevel(50, 20)
    moving.SetName("renamed")
    fixed.GetImageData().GetScalarRange()
    moving.GetDisplayNode().GetImageDataConnection().GetProducer().Update()
    wait_until(lambda: job.ended)
    assert job.state == "done"
    assert job.result.transformNode.GetName() == "renamed to fixed"


def test_what_was_to_come_along_and_was_deleted_or_changed_is_left_out_with_a_word(
    register, pair, a_scene, wait_until
):
    organs, extra = a_segmentation(pair[1]), a_volume("more")
    curve = a_scene.AddNewNodeByClass("vtkMRMLMarkupsCurveNode", "curve")
    wanted = {"segmentations": [organs], "volumes": [extra], "carried": [curve]}
    job = register(*pair, wait=False, model_options={"seconds": 0.5}, **wanted)
    wait_until(lambda: job.progress.stage == "stage 3")
    for node in (organs, curve):
        a_scene.RemoveNode(node)
    redraw(extra, a_scene)
    wait_until(lambda: job.ended)
    done = job.result
    assert done.warpedVolumeNode is not None
    assert (done.warpedSegmentationNodes, done.warpedVolumeNodes) == ([], [])
    told = " ".join(done.result.warnings)
    assert "organs was deleted" in told
    assert "curve was deleted" in told
    assert "more was changed" in told


def test_a_scene_that_is_closed_meanwhile_gets_nothing(register, pair, a_scene, wait_until):
    job = register(*pair, wait=False, model_options={"seconds": 1.0})
    wait_until(lambda: job.progress.stage == "stage 3")
    a_scene.Clear(False)
    assert job.state == "cancelled"
    kept = names_in(a_scene)
    new = a_volume("another")
    assert names_in(a_scene) - kept == {new.GetID(), new.GetDisplayNodeID()}


def test_several_registrations_wait_in_order(register, pair, wait_until):
    made = [register(*pair, wait=False) for _ in range(3)]
    made[1].cancel()
    wait_until(lambda: made[2].ended)
    assert [job.state for job in made] == ["done", "cancelled", "done"]
    assert made[2].result.warpedVolumeNode.GetName() == "moving on fixed_1"


def test_chosen_outputs_are_filled_and_revert_gives_their_content_back(register, pair, a_scene):
    transform = a_scene.AddNewNodeByClass("vtkMRMLTransformNode", "mine")
    matrix = np.eye(4)
    matrix[:3, 3] = [4, 5, 6]
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    volume = a_volume("kept")
    volume.GetDisplayNode().SetAutoWindowLevel(False)
    volume.GetDisplayNode().SetWindowLevel(11, 12)
    voxels = slicer.util.arrayFromVolume(volume).copy()
    before = names_in(a_scene)
    done = register(*pair, outputTransform=transform, outputVolume=volume)
    assert done.transformNode is transform
    assert done.warpedVolumeNode is volume
    assert np.allclose(moved(transform), SHIFT_RAS, atol=1e-5)
    assert not np.array_equal(slicer.util.arrayFromVolume(volume), voxels)
    assert volume.GetDisplayNode().GetWindow() == 11
    assert names_in(a_scene) == before
    done.revert()
    assert np.allclose(moved(transform), [-4, -5, -6])
    assert np.array_equal(slicer.util.arrayFromVolume(volume), voxels)
    assert transform.GetNodeReference(transform.GetFixedNodeReferenceRole()) is None
    assert names_in(a_scene) == before


def test_a_second_registration_into_the_same_outputs_reverts_to_the_first(register, pair, a_scene):
    transform = a_scene.AddNewNodeByClass("vtkMRMLTransformNode", "mine")
    volume = a_scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "new")
    outputs = {"outputTransform": transform, "outputVolume": volume}
    register(*pair, **outputs)
    first = slicer.util.arrayFromVolume(volume).copy()
    second = register(pair[1], pair[0], **outputs)
    assert not np.array_equal(slicer.util.arrayFromVolume(volume), first)
    second.revert()
    assert np.array_equal(slicer.util.arrayFromVolume(volume), first)
    assert np.allclose(moved(transform), SHIFT_RAS, atol=1e-5)


def test_an_empty_output_volume_is_empty_again_after_revert(register, pair, a_scene):
    volume = a_scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "new")
    before = names_in(a_scene)
    done = register(*pair, outputVolume=volume)
    assert volume.GetDisplayNode() is not None
    done.revert()
    assert volume.GetImageData() is None
    assert names_in(a_scene) == before


def test_an_input_is_never_overwritten(register, pair):
    with pytest.raises(InvalidOption, match="another one than the inputs"):
        register(*pair, outputVolume=pair[0])


def test_a_transform_above_an_input_is_never_overwritten(register, pair, a_scene):
    shift(pair[1], a_scene)
    above = pair[1].GetParentTransformNode()
    with pytest.raises(InvalidOption, match="it is above moving"):
        register(*pair, outputTransform=above)


def test_every_option_reaches_the_engine_through_the_worker(register, pair):
    given = {"preset": "lung CT", "device": "cpu", "model_options": {"smoothness": 0.2}}
    done = register(*pair, model="other", refinement={"steps": 4}, prealign="rigid", **given)
    asked = done.result.provenance["asked"]
    assert done.result.model == "other"
    assert asked["preset"] == "'lung CT'"
    assert asked["model_options"] == "{'smoothness': 0.2}"
    assert "steps=4" in asked["refinement"]
    assert "RIGID" in asked["linear"]


def test_masks_reach_the_engine_also_by_segment(register, pair):
    fixed, moving = pair
    organs = a_segmentation(moving)
    first = organs.GetSegmentation().GetNthSegmentID(0)
    both = register(fixed, moving, movingMask=organs).result.provenance["asked"]
    one = register(fixed, moving, movingMask=organs, movingMaskSegments=[first])
    assert both["moving_mask"] == 5 * 5 * 8
    assert one.result.provenance["asked"]["moving_mask"] == 5 * 5 * 4
    assert both["fixed_mask"] is None


def test_a_start_is_the_transform_that_would_carry_the_moving_volume(register, pair, a_scene):
    """A node that shifts things by +4 along R brings the moving volume there: points go back."""
    start = a_scene.AddNewNodeByClass("vtkMRMLTransformNode", "start")
    matrix = np.eye(4)
    matrix[:3, 3] = [4, 0, 0]
    start.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    done = register(*pair, initialTransform=start)
    assert done.result.provenance["asked"]["initial"] == pytest.approx([-10 + 4, -10, 10])
    again = register(*pair, initialTransform=done.transformNode)
    found = again.result.provenance["asked"]["initial"]
    assert found == pytest.approx([-10 + 3, -10 - 5, 10 + 7], abs=1e-4)


def test_volumes_under_bending_transforms_are_resampled_by_the_worker(register, pair, wait_until):
    """The known shift stands above the moving volume: both cancel out."""
    fixed, moving = pair
    first = register(fixed, moving, inverse=True)
    moving.SetAndObserveTransformNodeID(first.transformNode.GetID())
    before = slicer.util.arrayFromVolume(moving).copy()
    done = register(fixed, moving)
    assert "moving image was resampled" in done.result.warnings[0]
    assert np.array_equal(slicer.util.arrayFromVolume(moving), before)
    # The engine shifts by s, the transform above by s once more: the voxels are shifted by 2 s.
    twice = slicer.util.arrayFromVolume(done.warpedVolumeNode).astype(float)
    k, j, i = np.indices(twice.shape)
    ras = np.stack([2.0 * i, 2.0 * j, 3.0 * k], -1) + 2 * SHIFT_RAS
    index = ras / (2.0, 2.0, 3.0)
    inside = ((index >= 0) & (index <= np.array(twice.shape[::-1]) - 1)).all(-1)
    from scipy.ndimage import map_coordinates

    expected = map_coordinates(before.astype(float), np.moveaxis(index[..., ::-1], -1, 0), order=1)
    assert inside.sum() > 100
    assert np.abs(twice - expected)[inside].max() <= 0.6


def test_the_examples_of_the_logic_run(register, a_scene, wait_until, capsys):
    from NeuralRegistrationLib.Register import Logic

    a_volume("MRHead")
    a_segmentation(a_volume("Atlas")).SetName("Atlas labels")
    blocks = Logic.__doc__.split("\n\n")
    code = "\n".join(dedent(block) for block in blocks if block.startswith("    "))
    made: dict = {"getNode": slicer.util.getNode}
    exec(code, made)
    wait_until(lambda: made["job"].ended)
    told = capsys.readouterr().out
    assert told.startswith("Outcome(similarity='none'")
    assert "done Outcome(" in told
    assert len(made["done"].warpedSegmentationNodes) == 1


def test_copy_as_python_gives_a_call_that_does_the_same(register, as_python, pair, monkeypatch):
    fixed, moving = pair
    organs = a_segmentation(moving)
    twin = a_volume("moving")  # the name alone would not do
    refinement = FieldRefinement(similarity="lncc", steps=4)
    options = RegistrationOptions(model="other", preset="lung CT", refinement=refinement)
    settings = {
        "segmentations": [organs], "movingMask": organs, "inverse": True, "outputVolume": None,
    }  # fmt: skip
    text = as_python(fixed, moving, options, **settings)
    asked = {}

    def watch(*nodes, **given):
        asked.update(given, nodes=nodes)
        return register(*nodes, **given)

    monkeypatch.setattr("NeuralRegistrationLib.Register.Logic.register", watch)
    made: dict = {"getNode": slicer.util.getNode}
    exec(text.replace("print(", "str("), made)
    assert asked.pop("nodes") == (fixed, moving)
    del settings["outputVolume"]
    changes = {name: asked.pop(name) for name in ("model", "preset", "refinement")}
    assert RegistrationOptions.from_record(changes) == options
    assert asked == settings
    assert twin is not moving
    assert made["done"].result.provenance["asked"]["preset"] == "'lung CT'"


def test_copy_as_python_leaves_out_what_says_nothing(as_python, pair):
    text = as_python(*pair, segmentations=[], fixedMask=None)
    assert text == (
        "from NeuralRegistrationLib import register\n\n"
        "done = register(\n"
        '    getNode("fixed"),\n    getNode("moving"),\n)\nprint(done.result.outcome)\n'
    ).replace('"', "'")


WHOLE_JOB = """
import sys
from Testing.gui import standin
standin.install()
from NeuralRegistrationLib.Scene.Headless import HeadlessScene
world = HeadlessScene()
import numpy as np, slicer
from NeuralRegistrationLib.Register.Logic import register
k, j, i = np.mgrid[:24, :24, :24] - 11.5
def body(s):
    inside = ((i - s) / 8) ** 2 + (j / 9) ** 2 + (k / 8) ** 2 < 1
    return (inside * (100 + 30 * np.sin((i - s) / 2.5) * np.cos(j / 3))).astype(np.float32)
fixed, moving = (slicer.util.addVolumeFromArray(body(s), None, str(s)) for s in (0, 3))
done = register(fixed, moving)
gaps = [np.abs(slicer.util.arrayFromVolume(n) - body(0)).mean()
        for n in (moving, done.warpedVolumeNode)]
heavy = [m for m in ("torch", "SimpleITK", "pydantic", "typer") if m in sys.modules]
sys.stdout.write(f"{gaps[1] < 0.5 * gaps[0]} {heavy}")
sys.stdout.flush()
from NeuralRegistrationLib.Worker.Queue import queue
queue().close()
import os
os._exit(0)
"""


def test_a_whole_job_with_the_default_engine_loads_neither_torch_nor_itk_into_slicer():
    assert run_python(WHOLE_JOB) == "True []"
