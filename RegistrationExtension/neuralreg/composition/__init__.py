"""Transforms and models as functions of coordinates, to build a registration from parts."""
