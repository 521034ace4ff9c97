"""Bayat et al. (ICLR 2025): when memorization turns a spurious correlation into bad generalization."""
