"""From what an example holds (a path, a PIL image, an array) to one RGB image, or a reason why not."""

import errno
import stat
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import ExifTags, Image

from chiasm.core.errors import ChiasmError, ExampleError
from chiasm.core.packed import Packed
from chiasm.core.text import reason_of, shortened

MAX_PIXELS = 120_000_000
"""Largest image that is decoded: above any common camera (108 megapixels), 360 MB as RGB. A few kilobytes of
PNG can claim far more, and decoding them would end the whole run for one bad example."""

# Raster formats that Pillow decodes in this process. EPS (which starts Ghostscript), PDF and the like are left out:
# a data set must not be able to start programs.
_FORMATS = ("PNG", "JPEG", "MPO", "GIF", "WEBP", "AVIF", "BMP", "DIB", "TIFF", "PPM", "JPEG2000", "ICO", "TGA")

# What often lies where an image should. Said in these words, so that no byte of a file gets into a message.
_NO_IMAGES = {
    b"<!doctype html": "a page of HTML",
    b"<html": "a page of HTML",
    b"<?xml": "XML",
    b"<svg": "SVG",
    b"version https://git-lfs": "a pointer of Git LFS, whose file has not been fetched",
    b"%pdf": "a PDF",
    b"%!ps": "PostScript",
    b"pk\x03\x04": "a ZIP archive",
}

# EXIF 2.32, tag 0x0112: the turn that brings the stored pixels upright (1 is upright already).
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """A video in memory: `frames` (T, H, W, 3) of uint8, RGB, upright, shown `fps` to the second.

    `times` (T): seconds from the video's start at which each frame is shown; None: at even steps from 0.
    """

    frames: np.ndarray
    fps: float
    times: tuple[float, ...] | None = None

    @property
    def shown_at(self) -> np.ndarray:
        """Seconds (T) from the video's start at which each frame is shown."""
        return np.arange(len(self.frames)) / self.fps if self.times is None else np.asarray(self.times, dtype=float)


@dataclass(frozen=True, slots=True, eq=False)
class Sound:
    """A sound in memory: `samples` (N,) of float32 within -1..1, one channel, `rate` of them to the second."""

    samples: np.ndarray
    rate: int


def load_image(source: str | Path | Packed | Image.Image | np.ndarray) -> Image.Image:
    """The image as an RGB image in memory, upright.

    `source`: a path, a part of a file, a PIL image, or an array of uint8 (H rows x W columns, or H x W x C with 1, 3
    or 4 channels). The EXIF orientation is applied, so boxes count pixels of the upright image. Transparency is laid
    on white, as a page shows it. 16-bit grey is scaled to 8 bits by its full range. Of an animated or many-page file
    the first frame is taken. Colour profiles are not applied, since the models' own processors do not apply them
    either.

    **Errors:** `ExampleError` with what was found: no file, zero bytes, not an image, truncated, more than
    `MAX_PIXELS`, an array of another shape or dtype.
    """
    if isinstance(source, str | Path):
        return _from_file(Path(source))
    if isinstance(source, Packed):
        with decoding(f"image {shortened(source.name, 300)}"):
            return _decoded(opened(BytesIO(source.read()), _FORMATS))
    if isinstance(source, Image.Image):
        with decoding("image in memory"):
            return _decoded(source)
    if isinstance(source, np.ndarray):
        with decoding("array"):
            return _decoded(_from_array(source))
    raise ExampleError(f"an image is a path, a PIL image or an array of uint8, found {type(source).__name__}")


def _from_file(path: Path) -> Image.Image:
    with decoding(f"image {shortened(str(path), 300)}"):
        require_file(path)
        with path.open("rb") as file:
            return _decoded(opened(file, _FORMATS))


def require_file(path: Path) -> None:
    """Refuse what is no file with something in it, without opening it: a pipe would wait, a device has no end.

    **Errors:** `ExampleError`; `OSError` or `ValueError` for a path that no system can have.
    """
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        # `Path` writes the two slashes of an address as one.
        address = "it is an address; download it and write the path of the file"
        raise ExampleError(address if ":/" in str(path) else "there is no such file") from error
    if not stat.S_ISREG(found.st_mode):
        raise ExampleError("it is a folder" if stat.S_ISDIR(found.st_mode) else "it is a pipe or a device, not a file")
    if not found.st_size:
        raise ExampleError("the file is empty (0 bytes)")


def opened(file: BinaryIO, formats: Iterable[str]) -> Image.Image:
    """An image whose header alone has been read, in one of the `formats`.

    **Errors:** `ExampleError` for another format, or a size that is not decoded.
    """
    Image.init()
    try:
        return Image.open(file, formats=[name for name in formats if name in Image.OPEN])
    except Image.UnidentifiedImageError as error:
        file.seek(0)
        head = file.read(40).lstrip().lower()
        kind = next((f", it is {words}" for start, words in _NO_IMAGES.items() if head.startswith(start)), "")
        raise ExampleError(f"not an image in a known format{kind}") from error
    except Image.DecompressionBombError as error:
        raise ExampleError(f"more than {MAX_PIXELS:,} pixels, which is not decoded") from error


@contextmanager
def decoding(name: str) -> Iterator[None]:
    """Whatever a decoder raises becomes an `ExampleError` that names the input; its warnings are judged here instead.

    Decoders raise almost any kind (SyntaxError, struct.error, IndexError, MemoryError ...) on malformed data, and warn
    of large sizes (`MAX_PIXELS` decides on those) and of malformed EXIF blocks (the pixels are whole then). What they
    quote of the file is not passed on.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except ExampleError as error:
        raise ExampleError(f"{name}: {error}") from error.__cause__
    except ChiasmError:  # an optional package that is missing is nobody's example
        raise
    except Exception as error:
        # Decoders borrow OSError for what is wrong with the data; those have no number of the system.
        known = error.strerror if isinstance(error, OSError) and error.errno in errno.errorcode else None
        raise ExampleError(
            f"{name}: cannot be {'read' if known else 'decoded'} ({known or reason_of(error)})"
        ) from error


def _decoded(image: Image.Image) -> Image.Image:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise ExampleError(f"{width} x {height} is more than {MAX_PIXELS:,} pixels, which is not decoded")
    if not width * height:
        raise ExampleError(f"{width} x {height} has no pixels")
    image.load()
    return _rgb(_upright(image))


def _upright(image: Image.Image) -> Image.Image:
    # Not `ImageOps.exif_transpose`: that writes the EXIF block anew, which fails for blocks with odd other entries.
    turn = _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    return image if turn is None else image.transpose(turn)


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        image = _eight_bits(image)
    if image.has_transparency_data:
        coloured = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), coloured).convert("RGB")
    # A copy, so that the caller's image and an open file are never shared.
    return image.copy() if image.mode == "RGB" else image.convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """Grey of 16 bits scaled to 8; other deep images have no range that could be known from the file."""
    values = np.asarray(image)
    low, high = values.min(), values.max()
    if image.mode == "F" or low < 0 or high > 65535:
        raise ExampleError(
            f"grey values {low:g} to {high:g} in mode {image.mode} have no known white; save it with 8 or 16 bits"
        )
    return Image.fromarray(np.round(values / 257).astype(np.uint8))


def _from_array(array: np.ndarray) -> Image.Image:
    shape = array.shape
    if array.dtype != np.uint8 or not (array.ndim == 2 or (array.ndim == 3 and shape[2] in (1, 3, 4))):
        raise ExampleError(
            f"an image array is H x W (x 1, 3 or 4) of uint8, found {' x '.join(map(str, shape))} of {array.dtype}"
        )
    if 0 in shape:
        raise ExampleError(f"{' x '.join(map(str, shape))} has no pixels")
    return Image.fromarray(np.ascontiguousarray(array[..., 0] if array.ndim == 3 and shape[2] == 1 else array))
