"""Surfaces of both sides that pull each other: closest points, both ways."""
