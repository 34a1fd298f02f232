"""The embedded model: a real LLaVA-style checkpoint, small enough to ship, with the stages it was made in."""

from chiasm.tiny.registry import NAMES, names
from chiasm.tiny.store import directory

__all__ = ["NAMES", "directory", "names"]
