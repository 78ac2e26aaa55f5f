"""Pairs of images in Slicer's module Sample Data, for a first try and for the tutorials.

The files are Slicer's own public ones, by the addresses and hashes that Slicer publishes.
"""

from __future__ import annotations

import slicer
from slicer.i18n import tr as _

from NeuralRegistrationLib.Paths import resourcePath

CATEGORY = "Registration"
_FOLDER = "https://github.com/Slicer/SlicerTestingData/releases/download/"
# Name of the pair, then name, file and hash of each image: SampleData.py of Slicer 5.12.
_PAIRS = (
    (
        "HeadTwoScans",
        (
            (
                "HeadScan1",
                "RegLib_C01_1.nrrd",
                "998cb522173839c78657f4bc0ea907cea09fd04e44601f17c82ea27927937b95",
            ),
            (
                "HeadScan2",
                "RegLib_C01_2.nrrd",
                "1a64f3f422eb3d1c9b093d1a18da354b13bcf307907c66317e2463ee530b7a97",
            ),
        ),
    ),
    (
        "HeadCTAndMR",
        (
            (
                "HeadCT",
                "CT-brain.nrrd",
                "6a5b6caccb76576a863beb095e3bfb910c50ca78f4c9bf043aa42f976cfa53d1",
            ),
            (
                "HeadMR",
                "MR-brain-T1.nrrd",
                "2da3f655ed20356ee8cdf32aa0f8f9420385de4b6e407d28e67f9974d7ce1593",
            ),
        ),
    ),
)


def introduce() -> None:
    """List the pairs in Sample Data; does nothing in an application without that module."""
    if getattr(slicer.modules, "sampledata", None) is None:
        return
    from SampleData import SampleDataLogic

    if hasattr(SampleDataLogic, "registerCustomSampleDataCategory"):  # from Slicer 5.12 on
        SampleDataLogic.registerCustomSampleDataCategory(CATEGORY, title=_("Registration"))
    for pair, images in _PAIRS:
        names, files, hashes = map(list, zip(*images, strict=True))
        SampleDataLogic.registerCustomSampleDataSource(
            category=CATEGORY,
            sampleName=pair,
            thumbnailFileName=resourcePath("Icons/NeuralRegistration.png"),
            uris=[f"{_FOLDER}SHA256/{each}" for each in hashes],
            fileNames=files,
            checksums=[f"SHA256:{each}" for each in hashes],
            nodeNames=names,
        )
