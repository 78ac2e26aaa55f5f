"""Losses of images, labels and deformations, and the step that combines them."""
