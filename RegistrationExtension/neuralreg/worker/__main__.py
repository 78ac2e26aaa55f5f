"""`python -m neuralreg.worker`: the worker with nothing around it, for a Python without typer."""

from neuralreg.worker.server import main

main()
