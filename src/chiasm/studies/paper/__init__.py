"""The study `paper`."""
