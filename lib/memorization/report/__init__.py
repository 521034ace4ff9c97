"""How it is shown: theme, figures, claims and their verdicts."""
