"""Registration that needs no trained weights."""
