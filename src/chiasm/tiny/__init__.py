"""The embedded model: a real LLaVA-style checkpoint, small enough to ship, with the stages it was made in."""

from chiasm.tiny.store import NAMES, directory, names

__all__ = ["NAMES", "directory", "names"]
