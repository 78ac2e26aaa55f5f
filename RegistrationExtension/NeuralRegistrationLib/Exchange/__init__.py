"""Transforms of the scene as files of other programs, and back."""
