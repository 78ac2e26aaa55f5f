"""From two images to a transform: checks, alignment, prediction, refinement, result."""
