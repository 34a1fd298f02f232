"""Everything that reads data or media: each makes one damaged input in a folder and reads it to its end."""

import io
import json
import random
import tarfile
import wave
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from tests.support import published
from tests.support.damaged_files import damaged_bytes, damaged_text

from chiasm.core.errors import ExampleError
from chiasm.core.example import require_usable
from chiasm.core.media import load_image
from chiasm.core.recordings import load_sound, load_video
from chiasm.data import examples
from chiasm.data.domains import domain
from chiasm.data.layouts import LAYOUTS

Put = Callable[[random.Random, Path], None]


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


def layout(name: str) -> Put:
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


def image(kind: str, **options: Any) -> Put:
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


def animation(kind: str) -> Put:
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


def sound(kind: str) -> Put:
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


def video(ending: str, codec: str) -> Put:
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


READERS: dict[str, Put] = {
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
