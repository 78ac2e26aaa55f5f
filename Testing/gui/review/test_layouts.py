"""The layouts of the Review panel: which view shows what, linked views, and saved scenes."""

from __future__ import annotations

import numpy as np
import pytest

from Testing.support.review_scene import SHIFT, pick

BROUGHT = "Fixed above, warped below"
OWN = "Fixed above, moving below"


def test_the_layouts_show_one_image_above_the_other(panel, review, views, a_scene):
    layout = views.layoutNode
    ui, p = panel.ui, panel.parameters
    pick(ui.reviewLayoutSelector, BROUGHT)
    assert views.shown() == {
        f"Review{side}{plane}"
        for side in ("Fixed", "Moving")
        for plane in ("Axial", "Coronal", "Sagittal")
    }
    upper, lower = (views[f"Review{side}Axial"][1] for side in ("Fixed", "Moving"))
    assert upper.GetBackgroundVolumeID() == p.fixedVolume.GetID()
    assert lower.GetBackgroundVolumeID() == panel.viewControls.views.movingVolume.GetID()
    assert upper.GetLinkedControl()
    pick(ui.reviewLayoutSelector, "Both images in each view")
    assert layout.GetViewArrangement() == layout.SlicerLayoutFourUpView
    assert views.shown() > {"Red", "Green", "Yellow"}


@pytest.mark.parametrize("order", [(BROUGHT, OWN), (OWN, BROUGHT)])
def test_rows_scroll_together_in_one_layout_and_alone_in_the_other(panel, views, order):
    for layout in order:
        pick(panel.ui.reviewLayoutSelector, layout)
        groups = {
            views[f"Review{side}{plane}"][0].GetViewGroup()
            for side in ("Fixed", "Moving")
            for plane in ("Axial", "Coronal")
        }
        assert len(groups) == {BROUGHT: 1, OWN: 2}[layout]


@pytest.mark.parametrize("layout", [BROUGHT, OWN])
def test_a_map_is_seen_in_linked_views_and_follows_the_slider(panel, review, views, layout):
    review()
    pick(panel.ui.reviewLayoutSelector, layout)
    upper, lower = (views[f"Review{side}Axial"][1] for side in ("Fixed", "Moving"))
    assert upper.GetForegroundOpacity() == 0  # each row alone at first
    pick(panel.ui.reviewMapSelector, "Volume change (Jacobian)")
    assert upper.GetForegroundVolumeID() == panel.viewControls._mapNode.GetID()
    assert upper.GetForegroundOpacity() == pytest.approx(0.5)
    panel.ui.reviewMixSlider.value = 80
    assert upper.GetForegroundOpacity() == pytest.approx(0.8)
    assert lower.GetForegroundVolumeID() is None
    pick(panel.ui.reviewMapSelector, "None")
    panel.ui.reviewMixSlider.value = 30
    assert [c.GetForegroundOpacity() for c in (upper, lower)] == pytest.approx([0.3, 0.3])


def test_linked_views_get_back_the_opacity_that_each_had(panel, review, views):
    composites = [views[name][1] for name in ("Red", "Green", "Yellow")]
    for number, composite in enumerate(composites):
        composite.SetForegroundOpacity(number / 4)
    for composite in composites:
        composite.SetLinkedControl(True)
    panel.ui.reviewMixSlider.value = 70
    panel.viewControls.begin()
    panel.close()
    assert [c.GetForegroundOpacity() for c in composites] == [0, 0.25, 0.5]
    assert all(composite.GetLinkedControl() for composite in composites)


def test_a_scene_saved_in_a_layout_of_ours_opens_with_views(
    panel, review, views, a_headless_scene, tmp_path, the_application
):
    pick(panel.ui.reviewLayoutSelector, BROUGHT)
    arrangement = views.layoutNode.GetViewArrangement()
    a_headless_scene.scene.SetURL(str(tmp_path / "scene.mrml"))
    saving = a_headless_scene.scene.SaveState
    a_headless_scene.scene.StartState(saving)  # as qSlicerSaveDataDialogPrivate::save does
    assert a_headless_scene.scene.Commit()
    a_headless_scene.scene.EndState(saving)
    text = (tmp_path / "scene.mrml").read_text("utf-8")
    assert f'currentViewArrangement="{arrangement}"' not in text  # also where we are not installed
    assert views.layoutNode.GetViewArrangement() == arrangement  # shown again
    hidden = panel.viewControls.views.movingVolume.GetID()
    assert hidden not in text
    assert views["ReviewMovingAxial"][1].GetBackgroundVolumeID() == hidden


def test_new_views_show_all_of_the_volume_once_they_have_their_size(
    panel, review, views, the_application
):
    """The size comes with the next turn of the event loop, after the layout was chosen."""
    pick(panel.ui.reviewLayoutSelector, BROUGHT)
    node = views["ReviewFixedAxial"][0]
    node.SetDimensions(400, 100, 1)
    the_application.processEvents()
    width, height, _ = node.GetFieldOfView()
    assert width / height == pytest.approx(4.0)
    assert height >= 15 * 2.0  # mm, of the volume


def test_the_application_knows_the_layouts_before_the_panel_is_opened(
    views, a_scene, the_application
):
    import NeuralRegistration

    NeuralRegistration.introduce()
    views.layoutNode.SetViewArrangement(6731)
    assert len(views.shown()) == 6


def test_in_its_own_space_the_cursor_of_one_image_is_mapped_into_the_other(
    panel, review, views, a_scene
):
    pick(panel.ui.reviewLayoutSelector, "Fixed above, moving below")
    cursor = panel.viewControls.cursor
    ras = SHIFT * [-1, -1, 1]
    cursor.at("ReviewFixedAxial", (10.0, 20.0, 6.0))
    lower, upper = views["ReviewMovingAxial"][0], views["ReviewFixedAxial"][0]
    assert lower.GetSliceToRAS().GetElement(2, 3) == pytest.approx(6 + ras[2])
    cursor.at("ReviewMovingAxial", np.array([10.0, 20.0, 6.0]) + ras)
    assert upper.GetSliceToRAS().GetElement(2, 3) == pytest.approx(6.0, abs=0.02)
    marker = cursor.markers["ReviewFixed"]
    place = np.zeros(3)
    marker.GetNthControlPointPositionWorld(0, place)
    assert place == pytest.approx([10, 20, 6], abs=0.02)
    review()
    panel.ui.reviewPlacesTable.selectRow(0)
    assert lower.GetSliceToRAS().GetElement(2, 3) == pytest.approx(8 + ras[2])
    pick(panel.ui.reviewLayoutSelector, "Both images in each view")
    assert marker.GetScene() is None
