"""The study `prune`."""
