"""Networks that label one image of a brain: masks, structures, and what follows from them."""
