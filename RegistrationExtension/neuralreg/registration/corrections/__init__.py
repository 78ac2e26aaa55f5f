"""Corrections by hand of a result where it went wrong; the rest of it stays as it is."""
