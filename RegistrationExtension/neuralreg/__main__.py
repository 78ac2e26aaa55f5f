"""`python -m neuralreg` is the command line."""

from neuralreg.cli.main import main

main()
