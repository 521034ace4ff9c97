"""Zhang et al. (ICML 2024): networks learn features that are uncorrelated with the label."""
