"""Which models there are: their cards, their weights, loading them."""
