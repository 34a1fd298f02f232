"""Members of a tar archive by where their bytes lie: nothing is unpacked, and no name in it becomes a path.

The format is POSIX ustar (IEEE Std 1003.1, pax), with pax records of `path` and `size` and GNU's long names. Only the
headers are read; what a header claims is checked against the file before anything of that size is read.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple, final

from chiasm.core.errors import ChiasmError, ExampleError
from chiasm.core.packed import Packed
from chiasm.data.plain_files import open_plain

_BLOCK = 512
_LONGEST = 1 << 20  # bytes of a pax header or a long name
_KINDS = {b"1": "a link", b"2": "a link", b"3": "a device", b"4": "a device", b"5": "a folder", b"6": "a pipe"}


@final
@dataclass(frozen=True, slots=True)
class Member(Packed):
    """The bytes of a member: `size` of them from `offset` on in the archive."""

    offset: int
    size: int

    def read(self) -> bytes:
        self.require_unchanged()
        self.require_size(self.size)
        with self.file.open("rb") as file:
            file.seek(self.offset)
            content = file.read(self.size)
        if len(content) < self.size:
            raise ExampleError(f"{self.file.name} is cut short")
        return content


class Entry(NamedTuple):
    """A member, and why it is not read where it is none that can be: a link, a device, a name that leads outside."""

    member: Member
    fault: str


class _Header(NamedTuple):
    name: str
    size: int
    kind: bytes


def entries(path: Path) -> Iterator[Entry]:
    """The members of an archive that are no folders, in its order.

    **Errors:** `ChiasmError` for a file that is no tar archive, or one that is cut short.
    """
    changed, end = path.stat().st_mtime_ns, path.stat().st_size
    with open_plain(path) as file:
        at, long_name, long_size = 0, "", -1
        while at < end:
            header = _header(file, path, at)
            if header is None:
                return
            size = long_size if long_size >= 0 else header.size
            data, at = at + _BLOCK, at + _BLOCK + -(-size // _BLOCK) * _BLOCK
            if data + size > end:
                raise _broken(path, f"a member of {size:,} bytes begins at byte {data:,} and the file has {end:,}")
            if header.kind in (b"x", b"L"):
                content = _small(file, path, data, size)
                if header.kind == b"L":
                    long_name = content.rstrip(b"\x00").decode("utf-8", "replace")
                else:
                    name, found = _records(path, content)
                    long_name, long_size = name or long_name, found
            elif header.kind in (b"g", b"K"):  # of all members; of a link's target
                continue
            else:
                name, long_name, long_size = long_name or header.name, "", -1
                if header.kind != b"5":
                    yield Entry(Member(path, changed, name, data, size), _fault(name, header.kind))


def _header(file: BinaryIO, path: Path, at: int) -> _Header | None:
    """The header at a place; None for the blocks of zeros that end an archive."""
    file.seek(at)
    block = file.read(_BLOCK)
    if not block.strip(b"\x00") and at:
        return None
    if len(block) < _BLOCK:
        raise _broken(path, f"it ends within the header at byte {at:,}")
    summed = sum(block[:148]) + sum(block[156:]) + 8 * ord(" ")
    if _number(block[148:156]) != summed:
        raise _broken(path, f"there is no header at byte {at:,}")
    name = _text(block[:100])
    if block[257:263] == b"ustar\x00" and (prefix := _text(block[345:500])):
        name = f"{prefix}/{name}"
    size, kind = _number(block[124:136]), block[156:157]
    if size is None:
        raise _broken(path, f"the header at byte {at:,} has no size")
    # Links and devices have no content, whatever size they claim.
    return _Header(name, 0 if kind in _KINDS else size, kind)


def _number(field: bytes) -> int | None:
    """An octal number, or GNU's binary one; None for neither."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    try:
        digits = field.strip(b" \x00")
        return int(digits, 8) if digits.isdigit() or not digits else None
    except ValueError:
        return None


def _text(field: bytes) -> str:
    return field.partition(b"\x00")[0].decode("utf-8", "replace")


def _small(file: BinaryIO, path: Path, at: int, size: int) -> bytes:
    if size > _LONGEST:
        raise _broken(path, f"a name at byte {at:,} has {size:,} bytes")
    file.seek(at)
    return file.read(size)


def _records(path: Path, content: bytes) -> tuple[str, int]:
    """`path` (or nothing) and `size` (or -1) of pax records: `length key=value` and a line's end, over and over."""
    name, size = "", -1
    while content.strip(b"\x00"):
        digits = content.partition(b" ")[0]
        length = int(digits) if digits.isdigit() and len(digits) < 8 else 0
        record = content[len(digits) + 1 : length - 1]
        key, equals, value = record.partition(b"=")
        if length <= len(digits) or not equals:
            raise _broken(path, "a pax header is malformed")
        if key == b"path":
            name = value.decode("utf-8", "replace")
        if key == b"size":
            if not value.isdigit() or len(value) > 20:
                raise _broken(path, "a pax header is malformed")
            size = int(value)
        content = content[length:]
    return name, size


def _fault(name: str, kind: bytes) -> str:
    if kind not in (b"0", b"\x00", b"7"):
        return f"it is {_KINDS.get(kind, 'no plain file')}, which is not followed"
    if name.startswith(("/", "\\")) or ".." in name.replace("\\", "/").split("/"):
        return "its name leads out of the archive"
    return ""


def _broken(path: Path, found: str) -> ChiasmError:
    todo = "Write it anew, not compressed" if path.suffix == ".tar" else "Name a .tar file"
    return ChiasmError(f"read {path}", f"it is not a whole tar archive: {found}", todo)
