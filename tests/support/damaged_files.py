"""Files and JSON values damaged at places that are drawn."""

import copy
import json
import math
import random
from typing import Any

_NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF)
_VALUES: tuple[Any, ...] = (
    *(None, True, 0, -1, 7, 1e308, 10**400, "", " ", "x", "../../x", "/etc/passwd", "\0", "a" * 300, "\ud800"),
    *("\x1b[31m", [], {}, [[]], [None], {"": None}, [1, 2, 3, 4], {"name": 1}, "yes", math.pi, "https://x.org/a.png"),
)


def damaged_bytes(rng: random.Random, content: bytes) -> bytes:
    """`content` with up to eight places altered, cut, doubled or filled."""
    data = bytearray(content)
    for _ in range(rng.choice((0, 1, 1, 1, 2, 2, 3, 8))):
        if not data:
            break
        at = rng.randrange(len(data))
        length = min(rng.choice((1, 2, 4, 8, 64)), len(data) - at)
        match rng.randrange(8):
            case 0:
                data[at] ^= 1 << rng.randrange(8)
            case 1:
                data[at : at + length] = rng.randbytes(length)
            case 2:
                number = rng.choice(_NUMBERS)
                size = rng.choice((1, 2, 4, 8))
                data[at : at + size] = (number % (1 << 8 * size)).to_bytes(size, rng.choice(("little", "big")))
            case 3:
                del data[at : at + length]
            case 4:
                data[at:at] = data[at : at + length]
            case 5:
                data[at : at + length] = bytes(length)
            case 6 if rng.random() < 0.3:
                del data[at:]
            case _:
                head = rng.randrange(min(len(data), 128))  # most of what decides stands in front
                data[head] = rng.randrange(256)
    return bytes(data)


def damaged_value(rng: random.Random, value: Any, times: int = 1) -> Any:
    """A copy of a JSON value in which some nodes are gone, of another type, doubled, renamed or deep."""
    copied = json.loads(json.dumps(value))
    for _ in range(times):
        nodes = [(copied, key) for key in _keys(copied)]
        for holder, key in nodes:
            nodes += [(holder[key], inner) for inner in _keys(holder[key])]
        if not nodes:
            return copy.deepcopy(rng.choice(_VALUES))
        holder, key = rng.choice(nodes)
        match rng.randrange(6):
            case 0:
                del holder[key]
            case 1 if isinstance(holder, dict):
                holder[f"{key}x"] = holder.pop(key)
            case 2 if isinstance(holder, list):
                holder.append(copy.deepcopy(holder[key]))
            case 3 if rng.random() < 0.2:
                deep: Any = "x"
                for _ in range(rng.choice((3, 900))):
                    deep = [deep]
                holder[key] = deep
            case _:
                holder[key] = copy.deepcopy(rng.choice(_VALUES))
    return copied


def _keys(value: Any) -> list[Any]:
    return list(value) if isinstance(value, dict) else list(range(len(value))) if isinstance(value, list) else []


def damaged_text(rng: random.Random, content: bytes) -> bytes:
    """The text of a file, damaged as JSON where it is some, by its cells or lines, or by its bytes."""
    text = content.decode("utf-8", "replace")
    if text.strip() and rng.random() < 0.5:
        try:
            return json.dumps(damaged_value(rng, json.loads(text), rng.randint(1, 3))).encode()
        except RecursionError:
            return content
        except ValueError:
            lines = text.splitlines()
            at = rng.randrange(len(lines))
            try:
                lines[at] = json.dumps(damaged_value(rng, json.loads(lines[at]), rng.randint(1, 3)))
            except (ValueError, RecursionError):
                cells = lines[at].split(",")
                cells[rng.randrange(len(cells))] = str(rng.choice(_VALUES)).encode("utf-8", "replace").decode()
                lines[at] = ",".join(cells)
            return "\n".join(lines).encode()
    return damaged_bytes(rng, content)
