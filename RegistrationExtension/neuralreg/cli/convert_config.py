"""`neuralreg convert-config`: a configuration of DeepReg in our keys."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from neuralreg.cli.common_options import AsJson, OutputFile, Overwrite


def convert_config(
    old: Annotated[
        list[Path],
        typer.Argument(
            help="YAML files of DeepReg, of any version, merged as DeepReg merges them."
        ),
    ],
    output: OutputFile,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Translate a configuration of DeepReg, and say what is not the same."""
    from neuralreg.cli.terminal import print_result
    from neuralreg.cli.train import require_training
    from neuralreg.io.files import require_free

    require_training()
    from neuralreg.training.config.convert import convert
    from neuralreg.training.config.merging import merge_plain
    from neuralreg.training.configuration import merge_files, refuse_own, write_configuration

    require_free(output, overwrite, old)
    plain: dict[str, Any] = {}
    for file in old:
        plain = merge_plain(plain, merge_files([file])[0])
    refuse_own(plain, old)
    done = convert(plain)
    write_configuration(done.config, output)
    facts = {"output": str(output), "notes": done.notes}
    print_result(facts, as_json, lambda: "\n".join([*done.notes, f"wrote {output}"]))
