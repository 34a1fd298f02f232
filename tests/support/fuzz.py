"""Damaged inputs, drawn by a seed, put to everything that reads data or media; what comes out is counted.

`python -m tests.support.fuzz --count N` tries N inputs and writes what happened to `tests/storms/readers.json`, which
SECURITY.md cites. Every input is named by its kind and number, so that `--only KIND NUMBER` puts the same one again.
"""

import argparse
import copy
import io
import json
import math
import random
import resource
import shutil
import signal
import sys
import tarfile
import tempfile
import time
import traceback
import wave
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from tests.support import published

from chiasm.core.errors import ChiasmError, ExampleError
from chiasm.core.example import require_usable
from chiasm.core.media import load_image
from chiasm.core.recordings import load_sound, load_video
from chiasm.data import examples
from chiasm.data.domains import domain
from chiasm.data.layouts import LAYOUTS

SECONDS = 10.0
"""Longest time that one input may take."""
MEMORY = 8 << 30
"""Address space of the process in bytes: an input that asks for more fails where it asks."""
COUNTS = Path(__file__).parents[1] / "storms" / "readers.json"

_NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF)
_VALUES: tuple[Any, ...] = (
    *(None, True, 0, -1, 7, 1e308, 10**400, "", " ", "x", "../../x", "/etc/passwd", "\0", "a" * 300, "\ud800"),
    *("\x1b[31m", [], {}, [[]], [None], {"": None}, [1, 2, 3, 4], {"name": 1}, "yes", math.pi, "https://x.org/a.png"),
)


class TooSlowError(BaseException):
    """An input took longer than it may."""


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


# What is put to a reader: each makes one damaged input in a folder and reads it to its end.


def _rows() -> list[dict[str, Any]]:
    box = {"name": "jar", "x": 1, "y": 2.5, "w": 3, "h": 4}
    full = {"image": "a.png", "answer": "yes", "options": ["yes", "no"], "type": "t", "boxes": [box], "captions": ["c"]}
    return [
        {"id": f"e{k}", "question": "Is it?", **(full if k % 2 else {"image": ["a.png", "b.png"]})} for k in range(4)
    ]


def _read_all(source: Path | str) -> None:
    for example in examples(source):
        try:
            require_usable(example)
        except ExampleError:
            continue


def jsonl(rng: random.Random, folder: Path) -> None:
    rows = [json.dumps(row).encode() for row in _rows()]
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(rows))
        rows[at] = damaged_text(rng, rows[at])
    path = folder / "data.jsonl"
    path.write_bytes(b"\n".join(rows))
    _read_all(path)


_PARQUET: list[bytes] = []


def parquet(rng: random.Random, folder: Path) -> None:
    if not _PARQUET:
        for compression in ("snappy", "zstd", "none"):
            file = io.BytesIO()
            pq.write_table(pa.Table.from_pylist(_rows()[1::2] * 20), file, compression=compression)
            _PARQUET.append(file.getvalue())
    path = folder / "data.parquet"
    path.write_bytes(damaged_bytes(rng, rng.choice(_PARQUET)))
    _read_all(path)


_ARCHIVE: list[bytes] = []
_PICTURES: list[bytes] = []


def _picture_bytes() -> bytes:
    file = io.BytesIO()
    _picture().save(file, "PNG")
    return file.getvalue()


def _archive() -> bytes:
    """A WebDataset archive of four examples, in the format of GNU and with long names."""
    file, picture = io.BytesIO(), _picture_bytes()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for k, row in enumerate(_rows()):
            fields = {name: value for name, value in row.items() if name not in ("id", "image")}
            key = f"part/{'long' * 30 * (k == 2)}{k}"
            for ending, content in (("json", json.dumps(fields).encode()), ("png", picture), ("txt", b"a caption")):
                member = tarfile.TarInfo(f"{key}.{ending}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


def _read_pictures(path: Path) -> None:
    """Every example, and the pictures that it holds."""
    for example in examples(path):
        try:
            require_usable(example)
            for picture in example.images:
                load_image(picture)
        except ExampleError:
            continue


def archive(rng: random.Random, folder: Path) -> None:
    if not _ARCHIVE:
        _ARCHIVE.append(_archive())
    path = folder / "data.tar"
    path.write_bytes(damaged_bytes(rng, _ARCHIVE[0]))
    _read_pictures(path)


def parquet_pictures(rng: random.Random, folder: Path) -> None:
    if not _PICTURES:
        file, picture = io.BytesIO(), _picture_bytes()
        held = [{"id": f"e{k}", "question": "?", "image": {"bytes": picture, "path": f"{k}.png"}} for k in range(4)]
        pq.write_table(pa.Table.from_pylist(held), file, compression="none")
        _PICTURES.append(file.getvalue())
    path = folder / "data.parquet"
    path.write_bytes(damaged_bytes(rng, _PICTURES[0]))
    _read_pictures(path)


def layout(name: str) -> Callable[[random.Random, Path], None]:
    def put(rng: random.Random, folder: Path) -> None:
        place = folder / name
        published.LAYOUTS[name](place)
        files = sorted(path for path in place.rglob("*") if path.is_file())
        for _ in range(rng.randint(1, 2)):
            chosen = rng.choice(files)
            if not chosen.is_file():
                continue
            match rng.randrange(8):
                case 0:
                    chosen.unlink()
                case 1:
                    chosen.unlink()
                    chosen.mkdir()
                case 2 if chosen.stat().st_size > 1:
                    chosen.write_bytes(chosen.read_bytes()[: rng.randrange(chosen.stat().st_size)])
                case _:
                    if chosen.stat().st_size > 1:
                        chosen.write_bytes(damaged_text(rng, chosen.read_bytes()))
        _read_all(place if rng.random() < 0.5 else f"{name}:{place}")

    return put


def domains(rng: random.Random, folder: Path) -> None:
    rows = [{"image": f"{k}.png", "label": "ab"[k % 2], "split": ("train", "test")[k // 4]} for k in range(8)]
    if rng.random() < 0.5:
        path, text = folder / "d.jsonl", "\n".join(map(json.dumps, rows))
    else:
        path, text = folder / "d.csv", "\n".join(["image,label,split", *(",".join(row.values()) for row in rows)])
    path.write_bytes(damaged_text(rng, text.encode()))
    domain(path)


def _picture(side: int = 48) -> Image.Image:
    x, y = np.meshgrid(np.arange(side), np.arange(side))
    return Image.fromarray(np.stack([x * 5, y * 5, (x * y) % 256], axis=-1).astype(np.uint8))


def image(kind: str, **options: Any) -> Callable[[random.Random, Path], None]:
    made: list[bytes] = []

    def put(rng: random.Random, folder: Path) -> None:
        if not made:
            file = io.BytesIO()
            exif = Image.Exif()
            exif[0x0112] = 6
            _picture().save(
                file, kind, **options, **({} if kind in ("GIF", "PPM", "BMP", "JPEG2000") else {"exif": exif})
            )
            made.append(file.getvalue())
        path = folder / "image"
        content = damaged_bytes(rng, made[0])
        path.write_bytes(summed(content) if kind == "PNG" and rng.random() < 0.7 else content)
        load_image(path)

    return put


def animation(kind: str) -> Callable[[random.Random, Path], None]:
    made: list[bytes] = []

    def put(rng: random.Random, folder: Path) -> None:
        if not made:
            file = io.BytesIO()
            frames = [_picture().rotate(9 * k) for k in range(12)]
            frames[0].save(file, kind, save_all=True, append_images=frames[1:], duration=80)
            made.append(file.getvalue())
        path = folder / f"clip.{kind.lower() if kind != 'PNG' else 'apng'}"
        content = damaged_bytes(rng, made[0])
        path.write_bytes(summed(content) if kind == "PNG" and rng.random() < 0.7 else content)
        load_video(path, 8)

    return put


def summed(content: bytes) -> bytes:
    """A PNG whose chunks have the checksums of what they hold, so that damage gets past the first test."""
    parts, at = [content[:8]], 8
    while at + 12 <= len(content):
        length = int.from_bytes(content[at : at + 4], "big")
        if at + 12 + length > len(content):
            break
        inside = content[at + 4 : at + 8 + length]
        parts.append(content[at : at + 4] + inside + zlib.crc32(inside).to_bytes(4, "big"))
        at += 12 + length
    return b"".join(parts) + content[at:]


def sound(kind: str) -> Callable[[random.Random, Path], None]:
    made: list[bytes] = []

    def put(rng: random.Random, folder: Path) -> None:
        if not made:
            tone = (np.sin(np.arange(4000) / 9) * 9000).astype(np.int16)
            file = io.BytesIO()
            if kind == "wav":
                with wave.open(file, "wb") as out:
                    out.setnchannels(1)
                    out.setsampwidth(2)
                    out.setframerate(8000)
                    out.writeframes(tone.tobytes())
            else:
                import soundfile

                soundfile.write(file, tone, 8000, format=kind.upper())
            made.append(file.getvalue())
        path = folder / f"sound.{kind}"
        path.write_bytes(damaged_bytes(rng, made[0]))
        load_sound(path, 16000, 30)

    return put


def video(ending: str, codec: str) -> Callable[[random.Random, Path], None]:
    made: list[bytes] = []

    def put(rng: random.Random, folder: Path) -> None:
        import av

        av.logging.set_level(av.logging.PANIC)
        path = folder / f"clip.{ending}"
        if not made:
            with av.open(str(path), "w") as out:
                out.metadata["title"] = "a title"
                stream = out.add_stream(codec, rate=10)
                stream.width = stream.height = 48
                stream.pix_fmt = "yuv420p" if codec != "mjpeg" else "yuvj420p"
                for k in range(12):
                    frame = av.VideoFrame.from_ndarray(np.asarray(_picture().rotate(9 * k)), format="rgb24")
                    out.mux(stream.encode(frame))
                out.mux(stream.encode(None))
            made.append(path.read_bytes())
        path.write_bytes(damaged_bytes(rng, made[0]))
        load_video(path, 8)

    return put


KINDS: dict[str, Callable[[random.Random, Path], None]] = {
    "jsonl": jsonl,
    "parquet": parquet,
    "domain": domains,
    **{f"layout {one.name}": layout(one.name) for one in LAYOUTS},
    "image png": image("PNG"),
    "image jpeg": image("JPEG"),
    "image gif": image("GIF"),
    "image webp": image("WEBP"),
    "image tiff": image("TIFF"),
    "image tiff lzw": image("TIFF", compression="tiff_lzw"),
    "image bmp": image("BMP"),
    "image ppm": image("PPM"),
    "animation gif": animation("GIF"),
    "animation webp": animation("WEBP"),
    "animation png": animation("PNG"),
    "sound wav": sound("wav"),
    "sound flac": sound("flac"),
    "sound ogg": sound("ogg"),
    "video mp4": video("mp4", "mpeg4"),
    "video mkv": video("mkv", "mpeg4"),
    "video avi": video("avi", "mjpeg"),
    "video webm": video("webm", "libvpx"),
    "archive": archive,
    "parquet pictures": parquet_pictures,
}


def put(kind: str, number: int, folder: Path) -> tuple[str, float, str]:
    """How one input ended (`read`, `refused`, `wrong` or `slow`), after how many seconds, and what was raised."""
    rng = random.Random(f"{kind}/{number}")
    begun = time.perf_counter()
    try:
        with _time_limit():
            KINDS[kind](rng, folder)
        ended, said = "read", ""
    except (ChiasmError, ExampleError) as error:
        ended, said = "refused", str(error)
    except TooSlowError:
        ended, said = "slow", "".join(traceback.format_exc()[-600:])
    except Exception:
        ended, said = "wrong", traceback.format_exc()
    seconds = time.perf_counter() - begun
    return ("slow" if seconds > SECONDS else ended), seconds, said


@contextmanager
def _time_limit() -> Iterator[None]:
    def stop(*_: Any) -> None:
        raise TooSlowError

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def fuzz(
    count: int, first: int = 0, say: Callable[[str], None] = lambda text: None, chosen: Sequence[str] = ()
) -> dict[str, Any]:
    """`count` inputs, shared among all kinds, or those that are chosen: how many ended how, the slowest, and the peak
    of memory.
    """
    asked = [kind for kind in KINDS if not chosen or kind in chosen]
    each = math.ceil(count / len(asked))
    kinds: dict[str, dict[str, int]] = {}
    slowest, wrong = ("", 0.0), []
    for kind in asked:
        ends: Counter[str] = Counter()
        for number in range(first, first + each):
            folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
            try:
                ended, seconds, said = put(kind, number, folder)
            finally:
                shutil.rmtree(folder, ignore_errors=True)
            ends[ended] += 1
            if seconds > slowest[1]:
                slowest = f"{kind} {number}", seconds
            if ended in ("wrong", "slow"):
                wrong.append(f"{kind} {number}: {said}")
                say(wrong[-1])
        kinds[kind] = dict(sorted(ends.items()))
        say(f"{kind}: {kinds[kind]}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "inputs": each * len(asked),
        "seed": f"KIND/{first} to KIND/{first + each - 1}",
        "wrong": sum(ends.get("wrong", 0) for ends in kinds.values()),
        "slow": sum(ends.get("slow", 0) for ends in kinds.values()),
        "seconds_allowed": SECONDS,
        "slowest": {"input": slowest[0], "seconds": round(slowest[1], 2)},
        "peak_memory_mb": round(peak),
        "kinds": kinds,
        "what": wrong,
    }


def together(kept: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    """Counts that were kept, with those of some kinds in place of what there was of them."""
    kinds = {kind: ends for kind in KINDS if (ends := found["kinds"].get(kind) or kept["kinds"].get(kind))}
    slowest = max(kept["slowest"], found["slowest"], key=lambda one: one["seconds"])
    total = {name: sum(ends.get(name, 0) for ends in kinds.values()) for name in ("wrong", "slow")}
    peak = max(kept["peak_memory_mb"], found["peak_memory_mb"])
    whole = {"inputs": sum(sum(ends.values()) for ends in kinds.values()), "slowest": slowest, "peak_memory_mb": peak}
    return kept | total | whole | {"kinds": kinds}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--kinds", nargs="*", default=(), help="only these; counts of others in --out are kept")
    parser.add_argument("--only", nargs=2, metavar=("KIND", "NUMBER"))
    parser.add_argument("--out", type=Path, default=COUNTS)
    given = parser.parse_args()
    if given.only:
        print(*put(given.only[0], int(given.only[1]), Path(tempfile.mkdtemp(prefix="fuzz-"))), sep="\n")
        return
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    found = fuzz(given.count, given.first, lambda text: print(text, file=sys.stderr, flush=True), given.kinds)
    what = found.pop("what")
    if given.kinds and given.out.exists():
        found = together(json.loads(given.out.read_text()), found)
    given.out.write_text(json.dumps(found, indent=1) + "\n")
    sys.exit(bool(what))


if __name__ == "__main__":
    main()
