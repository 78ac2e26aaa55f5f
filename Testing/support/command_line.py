"""The command `neuralreg`: in this process where the process itself is not what is tested."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from neuralreg.cli.main import app
from typer.testing import CliRunner

COMMAND = [sys.executable, "-m", "neuralreg"]


def neuralreg(*arguments: object) -> Any:
    """The command in this process: starting Python and torch takes longer than most of its work."""
    return CliRunner().invoke(app, list(map(str, arguments)))


def facts_of(*arguments: object) -> Any:
    """What the command tells programs about what it did, which must have gone well."""
    outcome = neuralreg(*arguments, "--json")
    assert outcome.exit_code == 0, outcome.stderr
    return json.loads(outcome.stdout)


def neuralreg_process(*arguments: object) -> subprocess.CompletedProcess[str]:
    """The command as a user starts it."""
    command = [*COMMAND, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
