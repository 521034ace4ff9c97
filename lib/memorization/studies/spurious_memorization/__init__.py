"""Bombari and Mondelli (ICML 2024): how much of a spurious feature an interpolating model memorizes."""
