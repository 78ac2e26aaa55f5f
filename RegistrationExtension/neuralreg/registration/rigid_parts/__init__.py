"""Parts of the fixed image that a deformation moves as one piece each: bones, implants."""
