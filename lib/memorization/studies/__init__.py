"""One folder a page: the experiments and figures of its paper, and what that paper alone needs."""
