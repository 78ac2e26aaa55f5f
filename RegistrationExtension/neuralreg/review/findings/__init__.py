"""Measurements with their limits and verdicts, and the places to look at first."""
