"""One file per family of file formats; the conventions of other programs end here."""
