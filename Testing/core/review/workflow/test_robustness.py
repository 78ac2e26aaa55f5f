"""The spread of answers from several starts, with engines whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from neuralreg.errors import InvalidOption
from neuralreg.geometry.field import DisplacementField
from neuralreg.geometry.image import Image
from neuralreg.geometry.linear import LinearTransform
from neuralreg.io.itk import linear_from_itk
from neuralreg.registration.result import RegistrationResult
from neuralreg.review.workflow.robustness import Perturbation, robustness

from Testing.support.known_results import known_result
from Testing.support.phantom import CUBE


def answer(start: LinearTransform) -> RegistrationResult:
    there, back = (DisplacementField.from_linear(one, CUBE) for one in (start, start.inverse()))
    return known_result(there, back, linear=start)


class Engine:
    """Answers with where it was told to begin, or always the same."""

    def __init__(self, *, sure: bool) -> None:
        self.sure, self.starts = sure, []

    def __call__(self, fixed, moving, model, *, initial=None, progress=None):
        start = LinearTransform.identity(3)
        if initial is not None:
            self.starts.append(linear_from_itk(initial))
            start = start if self.sure else self.starts[-1]
        return answer(start)


@pytest.fixture
def an_image() -> Image:
    return Image(torch.zeros(1, *CUBE.shape), CUBE)


def test_an_engine_that_is_sure_spreads_nothing(an_image):
    found = robustness(an_image, an_image, engine=Engine(sure=True))
    assert found.spread_mm.max() == 0
    assert found.starts == 4


def test_an_engine_that_stays_where_it_begins_spreads_as_the_starts_do(an_image):
    engine = Engine(sure=False)
    found = robustness(an_image, an_image, engine=engine, starts=5)
    corner = np.array(CUBE.origin)
    ends = np.array([start(corner) for start in (LinearTransform.identity(3), *engine.starts)])
    expected = np.sqrt(((ends - ends.mean(0)) ** 2).sum(1).mean())
    assert found.spread_mm[0, 0, 0] == pytest.approx(expected, rel=1e-4)
    assert found.spread_mm[0, 0, 0] > found.spread_mm[18, 22, 20]  # turns move the corners most


def test_starts_are_turned_and_shifted_around_the_first_answer(an_image):
    engine = Engine(sure=True)
    perturbation = Perturbation(shift_share=0.05, turn_degrees=5)
    robustness(an_image, an_image, engine=engine, starts=3, perturbation=perturbation)
    assert len(engine.starts) == 2
    for start in engine.starts:
        moved = np.linalg.norm(start(CUBE.center) - CUBE.center)
        assert 0.1 < moved < 30
        assert start.determinant == pytest.approx(1.0)


def test_the_same_seed_gives_the_same_starts(an_image):
    first, second = Engine(sure=True), Engine(sure=True)
    for engine in (first, second):
        robustness(an_image, an_image, engine=engine, starts=2)
    assert np.array_equal(first.starts[0].matrix, second.starts[0].matrix)


def test_progress_goes_through_all_starts(an_image):
    told = []

    def engine(fixed, moving, model, *, initial=None, progress):
        progress(1.0, "done")
        return answer(LinearTransform.identity(3))

    robustness(an_image, an_image, engine=engine, starts=4, progress=lambda f, _: told.append(f))
    assert told == pytest.approx([0.25, 0.5, 0.75, 1.0])


def test_one_start_has_no_spread(an_image):
    with pytest.raises(InvalidOption, match="two starts"):
        robustness(an_image, an_image, starts=1)


def test_a_real_registration_takes_the_moved_starts():
    """The composite of turn and shift is linear, so the engine takes it as a start."""
    turn = sitk.Euler3DTransform((0, 0, 0), 0.1, 0, 0)
    shift = sitk.TranslationTransform(3, (1, 2, 3))
    assert sitk.CompositeTransform([turn, shift]).IsLinear()
