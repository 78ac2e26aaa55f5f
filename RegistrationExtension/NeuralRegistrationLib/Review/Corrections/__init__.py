"""Corrections by hand of a result where it went wrong."""
