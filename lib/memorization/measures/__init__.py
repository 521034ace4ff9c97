"""What it memorized: stability, feature alignment, accuracies, probes, and the formulas that predict them."""
