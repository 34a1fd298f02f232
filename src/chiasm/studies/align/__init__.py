"""The study `align`."""
