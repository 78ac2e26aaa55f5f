"""From files to batches: data sets, pairs, grids, augmentation, checks before a training."""
