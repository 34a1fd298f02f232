"""The study `inside`."""
