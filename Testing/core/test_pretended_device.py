"""What a GPU would refuse, found without one: all runs on a device that mixes with no other."""

import json
import subprocess
import sys

import pytest

from Testing.support.device_checks import CHECKS
from Testing.support.paths import ROOT


@pytest.fixture(scope="module")
def failures():
    program = [sys.executable, "-m", "Testing.support.device_checks"]
    child = subprocess.run(program, cwd=ROOT, capture_output=True, text=True)
    assert child.returncode == 0, child.stderr
    return json.loads(child.stdout.splitlines()[-1])


@pytest.mark.parametrize("check", CHECKS)
def test_the_pretended_device_computes_what_the_cpu_does(check, failures):
    assert failures[check] == ""
