"""One file per family of file formats that ITK does not read, or not as it should."""
