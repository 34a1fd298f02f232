"""The study `eval`."""
