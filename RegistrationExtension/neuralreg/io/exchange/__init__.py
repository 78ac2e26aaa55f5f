"""Transform files of other programs: one module per family, one convention inside."""
