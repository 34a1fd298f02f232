import os
import re
import struct
import warnings
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image, ImageOps

from chiasm.core.errors import ExampleError
from chiasm.core.media import MAX_PIXELS, load_image

RED, WHITE = (255, 0, 0), (255, 255, 255)


@pytest.fixture
def picture():
    """4 x 2: the left pixel column red, the rest blue."""
    image = Image.new("RGB", (4, 2), (0, 0, 255))
    image.paste(RED, (0, 0, 1, 2))
    return image


def png_claiming(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header claims any size, as a decompression bomb does."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif", "a.webp", "a.ppm", "a.gif"])
def test_a_file_becomes_the_same_rgb_picture(tmp_path, picture, name):
    picture.save(tmp_path / name, **({"lossless": True} if name.endswith("webp") else {}))
    for source in (tmp_path / name, str(tmp_path / name)):
        loaded = load_image(source)
        assert loaded.mode == "RGB"
        assert np.array_equal(np.asarray(loaded), np.asarray(picture))


def test_memory_sources_are_copied(picture):
    loaded = load_image(picture)
    loaded.putpixel((0, 0), (0, 0, 0))
    assert picture.getpixel((0, 0)) == RED
    array = np.asarray(picture)
    assert np.array_equal(np.asarray(load_image(array)), array)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path, orientation):
    stored = Image.fromarray(np.arange(24, dtype=np.uint8).reshape(2, 4, 3) * 10)
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "a.png", exif=exif)
    loaded = np.asarray(load_image(tmp_path / "a.png"))
    assert np.array_equal(loaded, np.asarray(ImageOps.exif_transpose(Image.open(tmp_path / "a.png"))))
    assert np.array_equal(loaded, np.asarray(stored)) == (orientation == 1)


def test_a_broken_exif_block_does_not_cost_the_picture(tmp_path, picture, recwarn):
    picture.save(tmp_path / "a.jpg", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x05garbage")
    with pytest.warns(UserWarning, match="Corrupt EXIF"), Image.open(tmp_path / "a.jpg") as opened:
        opened.getexif().get(0x0112)
    assert load_image(tmp_path / "a.jpg").size == (4, 2)
    assert not recwarn.list


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr", "HSV", "LAB"])
def test_every_mode_becomes_rgb(picture, mode):
    assert load_image(picture.convert("L").convert(mode) if mode == "LA" else _as(picture, mode)).mode == "RGB"


def _as(picture, mode):
    if mode == "LAB":
        return Image.new("LAB", picture.size)
    return picture.convert(mode)


def test_cmyk_keeps_the_colour(tmp_path, picture):
    picture.convert("CMYK").save(tmp_path / "a.tif")
    assert load_image(tmp_path / "a.tif").getpixel((0, 0)) == RED


def test_transparency_is_laid_on_white(tmp_path):
    clear = Image.new("RGBA", (2, 1), (0, 0, 0, 0))
    clear.putpixel((0, 0), (255, 0, 0, 255))
    clear.save(tmp_path / "alpha.png")
    clear.save(tmp_path / "palette.gif")
    palette = Image.new("P", (2, 1))
    palette.putpalette([255, 0, 0, 0, 0, 0])
    palette.putpixel((1, 0), 1)
    palette.save(tmp_path / "bytes.png", transparency=b"\xff\x00")
    for name in ("alpha.png", "palette.gif", "bytes.png"):
        loaded = load_image(tmp_path / name)
        assert (loaded.getpixel((0, 0)), loaded.getpixel((1, 0))) == (RED, WHITE), name


def test_sixteen_bits_are_scaled_by_their_full_range(tmp_path):
    grey = np.array([[0, 257 * 100, 65535]], dtype=np.uint16)
    Image.fromarray(grey).save(tmp_path / "a.png")
    Image.fromarray(grey).save(tmp_path / "a.tif")
    for name in ("a.png", "a.tif"):
        assert [load_image(tmp_path / name).getpixel((x, 0))[0] for x in range(3)] == [0, 100, 255]


def test_deep_images_without_a_known_white_are_refused():
    with pytest.raises(ExampleError, match="no known white"):
        load_image(Image.fromarray(np.array([[0.0, 3.5]], dtype=np.float32)))
    with pytest.raises(ExampleError, match="70000"):
        load_image(Image.fromarray(np.array([[0, 70000]], dtype=np.int32)))


@pytest.mark.parametrize("name", ["a.gif", "a.png", "a.webp", "a.tif"])
def test_of_an_animation_the_first_frame_is_taken(tmp_path, name):
    frames = [Image.new("RGB", (3, 2), colour) for colour in ("red", "blue", "green")]
    extra = {"lossless": True} if name.endswith("webp") else {}
    frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], **extra)
    assert load_image(tmp_path / name).getpixel((0, 0)) == RED
    opened = Image.open(tmp_path / name)
    assert opened.n_frames == 3
    opened.close()


@pytest.mark.parametrize("size", [(1, 1), (20_000, 10), (10, 20_000)])
def test_tiny_and_long_images_work(tmp_path, size):
    Image.new("RGB", size, "red").save(tmp_path / "a.png")
    assert load_image(tmp_path / "a.png").size == size


@pytest.mark.parametrize("size", [(20_000, 20_000), (12_001, 10_000), (1_000_000, 1_000_000)])
def test_a_decompression_bomb_is_refused_before_decoding(tmp_path, size):
    (tmp_path / "a.png").write_bytes(png_claiming(*size))
    with pytest.raises(ExampleError, match=f"{MAX_PIXELS:,} pixels"):
        load_image(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "0 bytes"),
        (b"<!DOCTYPE html><title>404</title>", "it is a page of HTML"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "not an image"),
        (b"\x89PNG\r\n\x1a\n", "a.png"),
        (b"\xff\xd8\xff\xe0", "a.png"),
    ],
)
def test_what_is_no_image_says_what_was_found(tmp_path, content, reason):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(ExampleError, match=reason):
        load_image(tmp_path / "a.png")


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(ExampleError, match=r"gone\.png: there is no such file"):
        load_image(tmp_path / "gone.png")
    with pytest.raises(ExampleError, match="folder"):
        load_image(tmp_path)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.bmp", "a.webp", "a.tif"])
def test_a_truncated_file_is_refused(tmp_path, name):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ExampleError, match=name):
        load_image(tmp_path / name)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((3, 5, 5), np.uint8),
        np.zeros((5, 5, 3), np.float32),
        np.zeros((2, 5, 5, 3), np.uint8),
        np.zeros((0, 5, 3), np.uint8),
    ],
)
def test_arrays_of_another_form_are_refused(array):
    with pytest.raises(ExampleError, match=str(array.shape[0])):
        load_image(array)


def test_other_things_are_refused():
    with pytest.raises(ExampleError, match="found bytes"):
        load_image(b"\x89PNG")


@settings(deadline=None)
@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 6), st.integers(1, 6), st.sampled_from([1, 3, 4]))))
def test_arrays_keep_their_pixels(array):
    loaded = np.asarray(load_image(array))
    assert loaded.shape == (*array.shape[:2], 3)
    if array.shape[2] in (1, 3):
        assert np.array_equal(loaded, np.broadcast_to(array, loaded.shape))


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(["png", "jpg", "gif", "bmp", "tif", "webp"]), st.data())
def test_a_damaged_file_is_read_or_refused_and_nothing_else(tmp_path_factory, kind, data):
    path = tmp_path_factory.mktemp("damage") / f"a.{kind}"
    Image.fromarray(np.arange(8 * 6 * 3, dtype=np.uint8).reshape(8, 6, 3)).save(path)
    whole = bytearray(path.read_bytes())
    for at in data.draw(st.lists(st.integers(0, len(whole) - 1), min_size=1, max_size=8)):
        whole[at] = data.draw(st.integers(0, 255))
    path.write_bytes(whole)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            outcome = load_image(path).mode
        except ExampleError as error:
            outcome = str(error)
    assert outcome == "RGB" or str(path) in outcome


def test_no_byte_of_a_file_and_no_path_that_cannot_be_gets_through(tmp_path):
    (tmp_path / "a.png").write_bytes(b"root:x:0:0:root:/root:/bin/bash" * 9)
    (tmp_path / "b.png").write_bytes(png_claiming(4, 4).replace(b"IDAT", b"sEcR"))
    os.mkfifo(tmp_path / "pipe.png")
    found = {
        tmp_path / "a.png": "not an image",
        tmp_path / "b.png": "not an image",
        tmp_path / ("n" * 300): "cannot be read (File name too long",
        tmp_path / "pipe.png": "it is a pipe",
        "/dev/zero": "it is a pipe or a device",
        "a\0b": "cannot be decoded",
    }
    for path, reason in found.items():
        with pytest.raises(ExampleError, match=re.escape(reason)) as refused:
            load_image(path)
        assert "root:" not in str(refused.value)
        assert "sEcR" not in str(refused.value)
