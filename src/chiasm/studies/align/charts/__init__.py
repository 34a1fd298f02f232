"""The figures of `chiasm align`."""
