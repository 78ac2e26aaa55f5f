"""How well two heads agree, said by SimpleITK and not by what registered them."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk


def agreement(fixed: sitk.Image, other: sitk.Image, brain: sitk.Image) -> dict[str, float]:
    """Correlation and mutual information of gray values, Dice of the tissues, inside a mask.

    All on one grid. The tissues are what Otsu's thresholds make of each image by itself (fluid,
    gray, white), so the labels of both sides are independent of each other.
    Source: Otsu 1979, doi:10.1109/TSMC.1979.4310076.
    """
    inside = sitk.GetArrayViewFromImage(brain) > 0
    a, b = (sitk.GetArrayViewFromImage(image)[inside] for image in (fixed, other))
    tissues = [_tissues(image, brain)[inside] for image in (fixed, other)]
    found = {
        "correlation": float(np.corrcoef(a, b)[0, 1]),
        "mutual information": _mutual_information(fixed, other, brain),
    }
    for label, name in ((1, "fluid"), (2, "gray matter"), (3, "white matter")):
        here, there = (part == label for part in tissues)
        found[f"Dice {name}"] = float(2 * (here & there).sum() / (here.sum() + there.sum()))
    return found


def _tissues(image: sitk.Image, brain: sitk.Image) -> np.ndarray:
    otsu = sitk.OtsuMultipleThresholdsImageFilter()
    otsu.SetNumberOfThresholds(2)
    values = sitk.GetArrayViewFromImage(image)[sitk.GetArrayViewFromImage(brain) > 0]
    otsu.Execute(sitk.GetImageFromArray(values[None].astype(np.float32)))
    return 1 + np.digitize(sitk.GetArrayViewFromImage(image), otsu.GetThresholds())


def _mutual_information(fixed: sitk.Image, other: sitk.Image, brain: sitk.Image) -> float:
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(numberOfHistogramBins=50)
    method.SetMetricFixedMask(brain)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetInitialTransform(sitk.TranslationTransform(3))
    return -float(method.MetricEvaluate(fixed, other))
