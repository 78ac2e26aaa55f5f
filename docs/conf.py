"""How Sphinx builds the pages and the API reference: `make docs`."""

import neuralreg

# Before autodoc looks into pydantic's classes, after which new ones cannot be made.
import neuralreg.training.config.schema

project = "Neural Registration"
author = "The Neural Registration contributors"
release = version = neuralreg.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build", "results"]

html_theme = "furo"
html_title = "Neural Registration"

myst_heading_anchors = 3
myst_enable_extensions = ["attrs_inline"]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_attr_annotations = True

linkcheck_timeout = 20
linkcheck_ignore = [r"https://doi\.org/.*"]  # publishers turn away programs that ask
