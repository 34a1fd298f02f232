"""What differs between two tables of mapped types, in words: `python -m tests.support.breadth.changes OLD NEW`."""

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    """A line for each type that is new, gone, or found otherwise than before."""
    old, new = before["types"], after["types"]
    for name in new.keys() - old.keys():
        yield f"- `{name}` is new: {new[name]['status']} {new[name]['reason']}".rstrip()
    for name in old.keys() - new.keys():
        yield f"- `{name}` is no longer mapped"
    for name in (name for name in new if name in old):
        yield from _of_one(name, old[name], new[name])


def _of_one(name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    if old["status"] != new["status"]:
        yield f"- `{name}` was {old['status']} and is {new['status']} {new['reason']}".rstrip()
        return
    for entry in ("takes", "places"):
        if old[entry] != new[entry]:
            yield f"- `{name}`: {entry} were {old[entry]} and are {new[entry]}"
    for capability, verdict in new["capabilities"].items():
        if old["capabilities"].get(capability) != verdict:
            yield f"- `{name}`, {capability}: was {old['capabilities'].get(capability)!r}, is {verdict!r}"


def main(arguments: list[str]) -> int:
    before, after = (json.loads(Path(path).read_text()) for path in arguments)
    found = sorted(changes(before, after))
    print(f"# transformers {before['transformers']} to {after['transformers']}\n")
    print("\n".join(found) or "Nothing changed.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
