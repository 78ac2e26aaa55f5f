"""How a review looks at a pair: layouts, overlays, outlines, maps."""
