"""Videos and sounds from files and from memory: what comes out, and why something is refused."""

import os
import struct
import sys
from fractions import Fraction

import av
import numpy as np
import pytest
import soundfile
from PIL import Image

from chiasm.core import recordings
from chiasm.core.errors import ExampleError, MissingExtraError
from chiasm.core.media import Clip, Sound, load_image
from chiasm.core.recordings import chosen_frames, load_sound, load_video

SHADES = (10, 90, 170, 250)


def grey(shade, size=(32, 16)):
    return Image.new("RGB", size, (shade, shade, shade))


def shades(clip):
    return [round(float(frame.mean())) for frame in clip.frames]


@pytest.fixture
def container(tmp_path):
    """Twelve grey frames in an MP4, each shade three times."""
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("mpeg4", rate=6)
        stream.width, stream.height, stream.pix_fmt = 32, 16, "yuv420p"
        for shade in np.repeat(SHADES, 3):
            for packet in stream.encode(av.VideoFrame.from_image(grey(int(shade)))):
                file.mux(packet)
        for packet in stream.encode():
            file.mux(packet)
    return path


def test_frames_are_taken_from_the_middles_of_equal_parts():
    assert chosen_frames(12, 4).tolist() == [1, 4, 7, 10]
    assert chosen_frames(3, 8).tolist() == [0, 1, 2]
    assert chosen_frames(5, None).tolist() == [0, 1, 2, 3, 4]
    for count in range(1, 40):
        for most in range(1, 9):
            kept = chosen_frames(count, most)
            assert len(set(kept.tolist())) == len(kept) == min(count, most)


def test_a_file_a_folder_an_animation_and_memory_show_the_same(tmp_path, container):
    folder = tmp_path / "frames"
    folder.mkdir()
    for number, shade in enumerate(SHADES):
        grey(shade).save(folder / f"{number}.png")
    (folder / "notes.txt").write_text("not a frame")
    first, *rest = (grey(shade) for shade in SHADES)
    first.save(tmp_path / "clip.gif", save_all=True, append_images=rest, duration=250)
    memory = Clip(np.stack([np.asarray(grey(shade)) for shade in SHADES]), 4.0)
    decoded = load_video(container, 4)
    assert decoded.frames.shape == (4, 16, 32, 3)
    assert decoded.fps == pytest.approx(2.0)
    for source in (folder, tmp_path / "clip.gif", memory):
        assert np.array_equal(load_video(source).frames, memory.frames)
    assert np.allclose(shades(decoded), SHADES, atol=4)  # the codec is not exact
    assert load_video(tmp_path / "clip.gif").fps == pytest.approx(4.0)
    assert shades(load_video(memory, 2)) == [SHADES[1], SHADES[3]]


TURNS = {
    "as it is": ((1, 0, 0, 1), lambda seen: seen),
    "a quarter clockwise": ((0, 1, -1, 0), lambda seen: np.rot90(seen, -1)),
    "a half": ((-1, 0, 0, -1), lambda seen: np.rot90(seen, 2)),
    "three quarters clockwise": ((0, -1, 1, 0), lambda seen: np.rot90(seen, 1)),
    "mirrored": ((-1, 0, 0, 1), lambda seen: seen[:, ::-1]),
    "upside down": ((1, 0, 0, -1), lambda seen: seen[::-1]),
    "mirrored along its diagonal": ((0, 1, 1, 0), lambda seen: seen.transpose(1, 0, 2)),
}


def with_display_matrix(path, matrix):
    """The matrix of the track's header (`tkhd`, version 0) is written anew: a b u, c d v, x y w in fixed point."""
    raw = bytearray(path.read_bytes())
    a, b, c, d = (entry << 16 for entry in matrix)
    start = raw.index(b"tkhd") + 44
    raw[start : start + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(raw)


@pytest.mark.parametrize("turn", TURNS)
def test_a_video_is_shown_upright(tmp_path, turn):
    """As the display matrix of a phone's video says, so that boxes count pixels of what is shown."""
    matrix, expected = TURNS[turn]
    stored = np.zeros((32, 64, 3), dtype=np.uint8)
    stored[:16, :32] = 240
    stored[16:, :32] = 120
    path = tmp_path / "phone.mp4"
    write_video(path, [stored] * 3)
    with_display_matrix(path, matrix)
    found = load_video(path).frames[1]
    assert found.shape == expected(stored).shape
    assert float(np.abs(found.astype(int) - expected(stored)).mean()) < 4


def write_video(path, frames, rate=6, times=None):
    """An MP4 of `frames`; `times`: when each is shown, in steps of 1/1000 of a second."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream("mpeg4", rate=rate)
        stream.height, stream.width, stream.pix_fmt = *frames[0].shape[:2], "yuv420p"
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for number, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            if times is not None:
                frame.pts, frame.time_base = times[number], Fraction(1, 1000)
            for packet in stream.encode(frame):
                file.mux(packet)
        for packet in stream.encode():
            file.mux(packet)


def test_frames_keep_their_times(tmp_path, container):
    """What is left of nine frames at 5 to the second stands where it stood: the fifth, at 0.8 s, is left out."""
    nine = Clip(np.zeros((9, 4, 4, 3), np.uint8), 5.0)
    thinned = load_video(nine, 8)
    assert thinned.shown_at == pytest.approx([0.0, 0.2, 0.4, 0.6, 1.0, 1.2, 1.4, 1.6])
    assert thinned.fps == pytest.approx(5.0 * 8 / 9)
    sixty = Clip(np.zeros((60, 4, 4, 3), np.uint8), 5.0)
    assert load_video(sixty, 8).shown_at == pytest.approx((np.arange(8) * 7.5 + 3.75).astype(int) / 5)
    # Thinned again, they are still those of the whole video.
    assert load_video(load_video(sixty, 30), 2).shown_at == pytest.approx([3.0, 9.0])
    assert load_video(container, 4).shown_at == pytest.approx(np.array([1, 4, 7, 10]) / 6)
    for number in range(4):
        grey(SHADES[number]).save(tmp_path / f"{number}.png")
    container.unlink()
    assert load_video(tmp_path, 2).shown_at.tolist() == [1.0, 3.0]


def test_uneven_times_are_the_files_own(tmp_path):
    black = np.zeros((16, 32, 3), np.uint8)
    write_video(tmp_path / "uneven.mp4", [black] * 4, rate=1000, times=[0, 100, 700, 800])
    assert load_video(tmp_path / "uneven.mp4").shown_at == pytest.approx([0.0, 0.1, 0.7, 0.8])
    first, *rest = (grey(shade) for shade in SHADES)
    first.save(tmp_path / "uneven.gif", save_all=True, append_images=rest, duration=[100, 500, 200, 100])
    assert load_video(tmp_path / "uneven.gif").shown_at == pytest.approx([0.0, 0.1, 0.6, 0.8])


@pytest.mark.parametrize("times", [(0.0,), (0.0, float("nan")), (1.0, 0.0)])
def test_times_that_are_none_are_refused(times):
    with pytest.raises(ExampleError, match="as many times in order"):
        load_video(Clip(np.zeros((2, 4, 4, 3), np.uint8), 1.0, times))


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (lambda path: path, "no such file"),
        (lambda path: (path.write_bytes(b"") and path) or path, "empty"),
        (lambda path: (path.write_bytes(b"nothing of the kind" * 9), path)[1], "cannot be decoded"),
        (lambda path: (path.mkdir(), path)[1], "no frame"),
        (lambda path: Clip(np.zeros((2, 4, 4), np.uint8), 1.0), "2 x 4 x 4 of uint8"),
        (lambda path: 3, "found int"),
    ],
)
def test_what_is_no_video_is_refused_with_its_reason(tmp_path, made, reason):
    with pytest.raises(ExampleError, match=reason):
        load_video(made(tmp_path / "clip.mp4"))


def test_frames_of_several_sizes_are_refused(tmp_path):
    grey(1).save(tmp_path / "0.png")
    grey(1, (8, 8)).save(tmp_path / "1.png")
    with pytest.raises(ExampleError, match="frames of 2 sizes"):
        load_video(tmp_path)


def test_a_sound_is_resampled_and_its_channels_are_joined(tmp_path):
    seconds = np.arange(8000) / 8000
    tone = np.sin(2 * np.pi * 440 * seconds).astype(np.float32)
    soundfile.write(tmp_path / "tone.wav", np.stack([tone, 0 * tone], axis=1), 8000, subtype="FLOAT")
    found = load_sound(tmp_path / "tone.wav", 16000)
    assert (found.rate, found.samples.dtype, len(found.samples)) == (16000, np.float32, 16000)
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
    assert np.abs(found.samples - expected)[200:-200].max() < 5e-3
    memory = Sound(tone, 8000)
    assert np.array_equal(load_sound(memory, 8000).samples, tone)


@pytest.mark.parametrize(
    ("sound", "reason"),
    [
        (Sound(np.zeros(0, np.float32), 8000), "no samples"),
        (Sound(np.array([0, np.nan], np.float32), 8000), "no numbers"),
        (Sound(np.zeros((2, 9), np.float32), 8000), "one channel"),
        (Sound(np.zeros(9, np.int16), 8000), "int16"),
        ("nowhere.wav", "no such file"),
    ],
)
def test_what_is_no_sound_is_refused_with_its_reason(sound, reason):
    with pytest.raises(ExampleError, match=reason):
        load_sound(sound, 8000)


def test_a_file_that_is_no_sound(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"nothing of the kind")
    with pytest.raises(ExampleError, match="cannot be decoded"):
        load_sound(tmp_path / "a.wav", 8000)


def test_without_the_extra_its_name_is_told(tmp_path, container, monkeypatch):
    (tmp_path / "a.wav").write_bytes(b"x")
    for package, read in (
        ("av", lambda: load_video(container)),
        ("soundfile", lambda: load_sound(tmp_path / "a.wav", 8)),
    ):
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(MissingExtraError, match=rf"`{package}`.*chiasm\[media\]"):
            read()


def gif(path, count, size):
    """An animation of frames that each paint the whole canvas: little on the disk, much when decoded."""
    first, *rest = (grey(int(shade), size) for shade in np.linspace(0, 250, count))
    first.save(path, save_all=True, append_images=rest, duration=50)


def test_frames_of_an_animation_are_chosen_before_they_are_decoded(tmp_path, monkeypatch):
    gif(tmp_path / "clip.gif", 60, (64, 64))
    decoded = []
    monkeypatch.setattr(recordings, "load_image", lambda image: decoded.append(image.tell()) or load_image(image))
    whole = load_video(tmp_path / "clip.gif")
    assert len(decoded) == 60
    decoded.clear()
    clip = load_video(tmp_path / "clip.gif", 8)
    assert decoded == chosen_frames(60, 8).tolist()
    assert np.array_equal(clip.frames, whole.frames[decoded])
    assert clip.times == tuple(whole.shown_at[decoded].tolist())


@pytest.mark.parametrize("limit", ["MAX_ANIMATION_PIXELS", "MAX_KEPT_PIXELS", "MAX_FRAME_PIXELS"])
def test_more_pixels_than_are_decoded_are_refused_before(tmp_path, monkeypatch, limit):
    gif(tmp_path / "clip.gif", 6, (64, 64))
    monkeypatch.setattr(recordings, limit, 64 * 64 - 1)
    monkeypatch.setattr(recordings, "load_image", lambda image: pytest.fail("it was decoded"))
    with pytest.raises(ExampleError, match="64 x 64"):
        load_video(tmp_path / "clip.gif", 2)


def test_a_video_of_more_pixels_than_are_decoded_is_refused_before(container, monkeypatch):
    monkeypatch.setattr(recordings, "MAX_VIDEO_PIXELS", 32 * 16 * 12 - 1)
    monkeypatch.setattr(recordings, "_length", lambda *given: pytest.fail("it was decoded"))
    with pytest.raises(ExampleError, match="12 frames of 32 x 16 are too many pixels"):
        load_video(container, 2)


def test_an_animation_with_a_broken_frame_costs_itself(tmp_path):
    gif(tmp_path / "clip.gif", 12, (64, 64))
    content = bytearray((tmp_path / "clip.gif").read_bytes())
    content[len(content) // 2 :] = b"\xff" * (len(content) - len(content) // 2)
    (tmp_path / "clip.gif").write_bytes(content)
    with pytest.raises(ExampleError, match=r"clip\.gif: "):
        load_video(tmp_path / "clip.gif", 8)


@pytest.mark.parametrize("name", ["list.mp4", "list.m3u8"])
def test_a_playlist_opens_no_other_file(tmp_path, container, name):
    (tmp_path / name).write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:2,\n{container}\n#EXT-X-ENDLIST\n")
    with pytest.raises(ExampleError, match="cannot be"):
        load_video(tmp_path / name)
    (tmp_path / name).write_text(f"ffconcat version 1.0\nfile {container.name}\n")
    with pytest.raises(ExampleError, match="cannot be"):
        load_video(tmp_path / name)


def test_an_image_of_another_kind_under_the_name_of_an_animation_starts_no_program(tmp_path):
    (tmp_path / "clip.gif").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    with pytest.raises(ExampleError, match="it is PostScript"):
        load_video(tmp_path / "clip.gif")


def wav(rate=8000, claimed=None, samples=800):
    """A WAV whose header claims a rate, and a length in bytes."""
    data = bytes(2 * samples)
    size = len(data) if claimed is None else claimed
    head = struct.pack("<4sIHHIIHH4sI", b"fmt ", 16, 1, 1, rate, min(2 * rate, 2**32 - 1), 2, 16, b"data", size)
    return b"RIFF" + struct.pack("<I", 36 + len(data)) + b"WAVE" + head + data


@pytest.mark.parametrize("rate", [2**31 - 1, 1_000_001, 0])
def test_a_rate_that_no_recorder_has_is_refused(tmp_path, rate):
    (tmp_path / "a.wav").write_bytes(wav(rate))
    with pytest.raises(ExampleError, match=r"a\.wav: "):
        load_sound(tmp_path / "a.wav", 16000)


def test_a_sound_that_would_grow_without_bound_is_refused(tmp_path):
    (tmp_path / "a.wav").write_bytes(wav(1, samples=20_000))
    with pytest.raises(ExampleError, match="320,000,000 samples"):
        load_sound(tmp_path / "a.wav", 16000)
    with pytest.raises(ExampleError, match="320,000,000 samples"):
        load_sound(Sound(np.zeros(20_000, np.float32), 1), 16000)
    with pytest.raises(ExampleError, match="it claims 0 samples"):
        load_sound(Sound(np.zeros(20, np.float32), 0), 16000)


def test_a_sound_longer_than_is_heard_is_not_decoded(tmp_path, monkeypatch):
    (tmp_path / "a.wav").write_bytes(wav(8000, samples=16_000))
    monkeypatch.setattr(soundfile.SoundFile, "read", lambda *given, **named: pytest.fail("it was decoded"))
    with pytest.raises(ExampleError, match=r"lasts 2\.0 s, of which the model hears 1 s"):
        load_sound(tmp_path / "a.wav", 16000, 1)


def test_pipes_are_not_opened(tmp_path):
    for name, load in (("v.mp4", load_video), ("v.gif", load_video), ("s.wav", lambda path: load_sound(path, 8000))):
        os.mkfifo(tmp_path / name)
        with pytest.raises(ExampleError, match="it is a pipe or a device"):
            load(tmp_path / name)
