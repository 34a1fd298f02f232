"""What is found by its file, so that a new one needs no line in a list."""

from importlib import import_module
from pkgutil import iter_modules
from typing import TypeVar

T = TypeVar("T")


def classes_in(package: str, base: type[T]) -> list[type[T]]:
    """The subclasses of `base` that the files of a package define, by the names of their files."""
    found: list[type[T]] = []
    for module in iter_modules(import_module(package).__path__):
        name = f"{package}.{module.name}"
        kinds = [kind for kind in vars(import_module(name)).values() if isinstance(kind, type)]
        found += [kind for kind in kinds if issubclass(kind, base) and kind is not base and kind.__module__ == name]
    return found
