"""How it learns: one loop for one network or many stacked, and what it is asked to make small."""
