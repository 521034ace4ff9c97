"""What it memorized: stability, feature alignment, accuracies, and the formulas that predict them."""
