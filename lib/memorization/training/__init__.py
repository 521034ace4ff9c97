"""How it learns: the training loop and its objectives (nothing in the first paper is trained by steps)."""
