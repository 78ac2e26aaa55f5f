"""One number or one map from tensors: how alike, how regular, how well overlapping."""
