"""Media that lie inside a larger file: a member of an archive, a cell of a table."""

import os
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

from chiasm.core.errors import ExampleError

MAX_BYTES = 512 << 20
"""The most that is read of one image or sound inside another file; beyond is no image that is decoded."""


@dataclass(frozen=True, slots=True)
class Packed(ABC):
    """The bytes of one image or sound, by where they are; read when they are needed, and never written to a file.

    `file` holds it, and was last `changed` (in ns) when its parts were found. `name`: what it is called there.
    """

    file: Path
    changed: int
    name: str

    @abstractmethod
    def read(self) -> bytes:
        """The bytes.

        **Errors:** `ExampleError` where they cannot be read by now, or are too many.
        """

    def require_unchanged(self) -> None:
        """**Errors:** `ExampleError` where the file is not the one in which this was found."""
        try:
            found = os.stat(self.file).st_mtime_ns
        except OSError as error:
            raise ExampleError(f"{self.file.name} cannot be read ({error.strerror})") from error
        if found != self.changed:
            raise ExampleError(f"{self.file.name} has changed since its examples were read")

    def require_size(self, size: int) -> None:
        """**Errors:** `ExampleError` for none, or more than `MAX_BYTES`."""
        if not size:
            raise ExampleError("the file is empty (0 bytes)")
        if size > MAX_BYTES:
            raise ExampleError(f"it has {size:,} bytes, and more than {MAX_BYTES:,} are not read")
