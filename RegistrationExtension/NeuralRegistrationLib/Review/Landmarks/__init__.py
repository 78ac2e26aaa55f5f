"""Landmarks of both images, and which of them belong together."""
