"""What a console or a script imports from the Slicer side."""

from __future__ import annotations

import subprocess
import sys

import pytest

from Testing.support.paths import EXTENSION


def test_the_face_loads_nothing_before_it_is_used():
    code = (
        f"import sys; sys.path.insert(0, {str(EXTENSION)!r}); import NeuralRegistrationLib; "
        "print([m for m in ('slicer', 'vtk', 'numpy', 'neuralreg') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_face_is_what_the_panels_use(the_application):
    import NeuralRegistrationLib
    from NeuralRegistrationLib import HeadlessScene, LandmarkPairs, Subject, register, review
    from NeuralRegistrationLib.Register import Logic
    from NeuralRegistrationLib.Review import Jobs

    assert register is Logic.register
    assert review is Jobs.review
    assert Subject.__name__ == "Subject"
    assert HeadlessScene.__name__ == "HeadlessScene"
    assert LandmarkPairs.__name__.endswith("LandmarkPairs")
    assert sorted(NeuralRegistrationLib.__all__) == dir(NeuralRegistrationLib)
    with pytest.raises(AttributeError):
        _ = NeuralRegistrationLib.noSuchName
