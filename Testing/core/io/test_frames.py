"""Frames of one file: all at once are those that are read one by one."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from neuralreg.geometry.grid import Grid
from neuralreg.io.itk_images import open_frames, open_volume


@pytest.mark.parametrize("name", ["four.nrrd", "four.mha", "five.mha", "four.mgz", "four.nii.gz"])
def test_all_frames_at_once_are_those_read_one_by_one(tmp_path, name):
    """Oblique, so that a direction that is cut out wrongly would be seen."""
    path, count = tmp_path / name, 6
    values = np.arange(count * 24, dtype=np.float32).reshape(count, 2, 3, 4)
    c, s = np.cos(0.3), np.sin(0.3)
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    if path.suffix == ".mgz":
        affine = np.eye(4)
        affine[:3, :3] = turn @ np.diag([1.0, 2.0, 3.0])
        nibabel.save(nibabel.MGHImage(values.T.copy(), affine), path)
    else:
        frames = [sitk.GetImageFromArray(part) for part in values]
        for frame in frames:
            frame.SetDirection(turn.ravel().tolist())
            frame.SetOrigin((7.0, 8.0, 9.0))
        image = sitk.JoinSeries(frames, 1.0, 2.5)
        if name.startswith("five"):
            image = sitk.JoinSeries([sitk.JoinSeries(frames[:3]), sitk.JoinSeries(frames[3:])])
        sitk.WriteImage(image, str(path), useCompression=True)
    together, _, _ = open_frames(path)
    assert len(together) == count
    for k, volume in enumerate(together):
        alone = open_volume(path, k).image
        np.testing.assert_array_equal(sitk.GetArrayFromImage(volume.image), values[k])
        np.testing.assert_array_equal(sitk.GetArrayFromImage(alone), values[k])
        assert Grid.of(volume.image) == Grid.of(alone)
        assert np.allclose(np.abs(Grid.of(alone).direction), np.abs(turn.ravel()))
