"""MRML: volumes, transforms, segmentations, views, and what reverts changes to them."""
