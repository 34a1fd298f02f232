"""The study `flow`."""
