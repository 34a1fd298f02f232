"""The study `look`."""
