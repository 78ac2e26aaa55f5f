"""The Batch panel: many pairs, one after the other."""
