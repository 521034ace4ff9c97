"""Becker & Risse (2024): heads that learn or unlearn random labels, as a measure of memorization."""
