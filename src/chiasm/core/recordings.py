"""From what an example holds to one video or one sound in memory, or a reason why not."""

import math
from collections.abc import Iterable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL.GifImagePlugin import GifImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from chiasm.core.errors import ExampleError, MissingExtraError
from chiasm.core.media import Clip, Sound, decoding, load_image, opened, require_file
from chiasm.core.packed import Packed
from chiasm.core.text import reason_of, shortened

MAX_VIDEO_PIXELS = 60_000_000_000
"""Most pixels, over all frames of a video, that are decoded to reach the ones that are kept: 16 minutes of
1920 x 1080 at 30 frames to the second."""
MAX_ANIMATION_PIXELS = 1_000_000_000
"""The same of an animated image, which is decoded far more slowly: 1,000 frames of 1000 x 1000."""
MAX_FRAME_PIXELS = 40_000_000
"""Largest frame of a video (8K has 33 million pixels)."""
MAX_KEPT_PIXELS = 400_000_000
"""Most pixels, over all frames that are kept: 1.2 GB."""
MAX_SAMPLES = 200_000_000
"""Most samples of a sound, over all channels, before and after it is resampled: 69 minutes of 48 kHz, 800 MB."""
_RATES = (1, 1_000_000)
"""Samples to the second that a recording may have; no recorder reaches the upper one."""

_IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm")
_ANIMATION_SUFFIXES = (".gif", ".apng", ".webp")
_ANIMATIONS = ("GIF", "PNG", "WEBP")
# FFmpeg's demuxers of files that hold a video themselves. Lists of other files (HLS, concat, image sequences) and
# scripts are left out: a data set must not be able to name files for it to open.
_CONTAINERS = ",".join(
    (
        *("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "avi", "mpegts", "mpeg", "mpegvideo", "flv", "ogg", "asf"),
        *("gif", "m4v", "h264", "hevc", "ivf", "nut", "rm", "dv", "mxf", "vob", "wtv", "av1", "obu", "yuv4mpegpipe"),
    )
)
_STILL_FPS = 1.0  # of a folder of frames, whose rate is not known


def load_video(source: str | Path | Packed | Clip, max_frames: int | None = None) -> Clip:
    """The video as frames in memory, RGB.

    `source`: a `Clip`, a folder of images (in the order of their names), an animated image, or a file that PyAV
    decodes, turned upright as its display matrix says. `max_frames`: so many at most, from the middles of equal parts
    of the video; `fps` then counts the kept ones, and `times` are those of the frames in the whole video. They are
    chosen before anything is decoded, and no other frame is held.

    **Errors:** `ExampleError` with what was found, also for more pixels than are decoded (`MAX_VIDEO_PIXELS` and its
    kin); `MissingExtraError` without PyAV where a file needs it.
    """
    if isinstance(source, Clip):
        found = _checked(source)
        return _thinned(found, max_frames)
    if isinstance(source, Packed):
        raise ExampleError(
            f"video {shortened(source.name, 300)}: it lies inside {source.file.name}; unpack it to a file"
        )
    if not isinstance(source, str | Path):
        raise ExampleError(f"a video is a path or a Clip, found {type(source).__name__}")
    path = Path(source)
    with decoding(f"video {shortened(str(path), 300)}"):
        if path.is_dir():
            return _from_images(path, max_frames)
        require_file(path)
        if path.suffix.lower() in _ANIMATION_SUFFIXES:
            return _from_animation(path, max_frames)
        return _from_container(path, max_frames)


def load_sound(source: str | Path | Packed | Sound, rate: int, max_seconds: float | None = None) -> Sound:
    """The sound with `rate` samples to the second, one channel (the mean of several).

    Resampled by a polyphase filter where it was recorded at another rate. `max_seconds`: what is longer is not decoded.

    **Errors:** `ExampleError` with what was found; `MissingExtraError` without soundfile where a file needs it.
    """
    if isinstance(source, str | Path):
        with decoding(f"sound {shortened(str(source), 300)}"):
            require_file(Path(source))
            source = _from_sound_file(Path(source), Path(source), rate, max_seconds)
    if isinstance(source, Packed):
        with decoding(f"sound {shortened(source.name, 300)}"):
            source = _from_sound_file(BytesIO(source.read()), source.file, rate, max_seconds)
    if not isinstance(source, Sound):
        raise ExampleError(f"a sound is a path or a Sound, found {type(source).__name__}")
    samples = np.asarray(source.samples)
    if samples.ndim != 1 or not np.issubdtype(samples.dtype, np.floating):
        found = f"{' x '.join(map(str, samples.shape))} of {samples.dtype}"
        raise ExampleError(f"a sound is one channel of floating-point samples within -1..1, found {found}")
    if not len(samples) or not np.isfinite(samples).all():
        raise ExampleError(
            "the sound has no samples" if not len(samples) else "the sound has samples that are no numbers"
        )
    _require_length(len(samples), 1, source.rate, rate, max_seconds)
    if source.rate != rate:
        from scipy.signal import resample_poly  # slow to import

        divisor = int(np.gcd(rate, source.rate))
        samples = resample_poly(samples, rate // divisor, source.rate // divisor)
    return Sound(np.ascontiguousarray(samples, dtype=np.float32), rate)


def chosen_frames(count: int, max_frames: int | None) -> np.ndarray:
    """Which of `count` frames are kept: all, or the middles of `max_frames` equal parts."""
    if max_frames is None or count <= max_frames:
        return np.arange(count)
    return ((np.arange(max_frames) + 0.5) * count / max_frames).astype(np.int64)


def _thinned(clip: Clip, max_frames: int | None) -> Clip:
    kept = chosen_frames(len(clip.frames), max_frames)
    if len(kept) == len(clip.frames):
        return clip
    return Clip(clip.frames[kept], clip.fps * len(kept) / len(clip.frames), tuple(clip.shown_at[kept].tolist()))


def _checked(clip: Clip) -> Clip:
    frames = np.asarray(clip.frames)
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] != 3 or 0 in frames.shape:
        found = f"{' x '.join(map(str, frames.shape))} of {frames.dtype}"
        raise ExampleError(f"a video is frames x H x W x 3 of uint8, found {found}")
    times = clip.times
    if not clip.fps > 0 or not np.isfinite(clip.fps):
        raise ExampleError(f"a video shows some frames to the second, found {clip.fps}")
    if times is not None and (len(times) != len(frames) or not np.isfinite(times).all() or (np.diff(times) < 0).any()):
        raise ExampleError(f"a video of {len(frames)} frames has as many times in order, found {len(times)}")
    return Clip(frames, clip.fps, times)


def _require_length(count: int, channels: int, recorded: int, rate: int, max_seconds: float | None) -> None:
    """**Errors:** `ExampleError` for a sound whose header claims more than is decoded, or a rate that none has."""
    if not isinstance(recorded, int) or not _RATES[0] <= recorded <= _RATES[1]:
        raise ExampleError(f"it claims {recorded} samples to the second; {_RATES[0]} to {_RATES[1]:,} are read")
    most = max(count * channels, count * rate // recorded)
    if most > MAX_SAMPLES:
        raise ExampleError(f"it has {most:,} samples, and more than {MAX_SAMPLES:,} are not decoded")
    if max_seconds is not None and count > max_seconds * recorded:
        raise ExampleError(f"the sound lasts {count / recorded:.1f} s, of which the model hears {max_seconds:g} s")


def _require_pixels(width: int, height: int, frames: int, kept: int, decoded: int) -> None:
    """Refuse a video before it is decoded. `decoded`: how many pixels may be, over all frames.

    **Errors:** `ExampleError`.
    """
    size = width * height
    if not size:
        raise ExampleError(f"its frames of {width} x {height} have no pixels")
    if size > MAX_FRAME_PIXELS:
        raise ExampleError(f"a frame of {width} x {height} is more than {MAX_FRAME_PIXELS:,} pixels")
    if size * frames > decoded or size * kept > MAX_KEPT_PIXELS:
        most = f"{decoded:,} of a file and {MAX_KEPT_PIXELS:,} of kept frames are decoded at most"
        raise ExampleError(f"{frames} frames of {width} x {height} are too many pixels; {most}")


def _stacked(frames: Iterable[Any], fps: float, times: Sequence[float] | None = None) -> Clip:
    images = [np.asarray(frame) for frame in frames]
    sizes = sorted({image.shape for image in images})
    if len(sizes) != 1:
        raise ExampleError(f"it has {f'frames of {len(sizes)} sizes' if sizes else 'no frame'}")
    return Clip(np.stack(images), fps, None if times is None else tuple(times))


def _from_images(folder: Path, max_frames: int | None) -> Clip:
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() in _IMAGE_SUFFIXES)
    kept = chosen_frames(len(files), max_frames)
    images = []
    for place in kept:
        images.append(load_image(files[place]))
        _require_pixels(images[0].width, images[0].height, len(kept), len(kept), MAX_VIDEO_PIXELS)
    return _stacked(images, _STILL_FPS * len(kept) / max(len(files), 1), (kept / _STILL_FPS).tolist())


def _from_animation(path: Path, max_frames: int | None) -> Clip:
    with path.open("rb") as file, opened(file, _ANIMATIONS) as image:
        # Counting reads where frames begin, and decodes none.
        count = image.n_frames if isinstance(image, GifImageFile | PngImageFile | WebPImageFile) else 1
        chosen = {int(place) for place in chosen_frames(count, max_frames)}
        _require_pixels(*image.size, count, len(chosen), MAX_ANIMATION_PIXELS)
        frames, durations = [], []
        for place in range(count):
            # One frame is painted on the one before, so those between are decoded, and not kept.
            image.seek(place)
            if place in chosen:
                frames.append(load_image(image))
            durations.append(image.info.get("duration", 0))
    # Browsers show frames without a duration for a tenth of a second.
    seconds = np.array([duration or 100 for duration in durations]) / 1000
    starts = np.cumsum(seconds) - seconds
    if len(chosen) == count:
        return _stacked(frames, 1 / float(np.mean(seconds)), starts.tolist())
    kept = sorted(chosen)
    return _stacked(frames, len(kept) / float(np.mean(seconds)) / count, starts[kept].tolist())


def _from_container(path: Path, max_frames: int | None) -> Clip:
    try:
        import av
    except ImportError as error:
        raise MissingExtraError(f"read the video {path}", "av", "media") from error
    with _container(av, path) as container:
        # Headers only estimate how many frames there are; packets are counted without being decoded.
        stream = container.streams.video[0]
        width, height = stream.codec_context.width, stream.codec_context.height
        packets = sum(1 for packet in container.demux(stream) if packet.size)
    _require_pixels(width, height, packets, min(packets, max_frames or packets), MAX_VIDEO_PIXELS)
    length = _length(av, path)
    chosen = {int(place) for place in chosen_frames(length, max_frames)}
    shown = []
    with _container(av, path) as container:
        stream = container.streams.video[0]
        fps = float(stream.average_rate or _STILL_FPS)
        for n, frame in enumerate(container.decode(stream)):
            if n == 0 or n in chosen:
                # A stream may change its size on the way.
                _require_pixels(frame.width, frame.height, 1, len(chosen), MAX_VIDEO_PIXELS)
                shown.append((n, frame.time, _upright(frame)))
            if n >= max(chosen, default=0):
                break
    # From the first frame on; a frame without a time of its own stands at an even step.
    start = (shown[0][1] or 0.0) if shown else 0.0
    kept = [(n / fps if time is None else time - start, frame) for n, time, frame in shown if n in chosen]
    times = np.maximum.accumulate([time for time, _ in kept])
    return _stacked((frame for _, frame in kept), fps * len(kept) / max(length, 1), times.tolist())


def _container(av: Any, path: Path) -> Any:
    """The opened file, whose tags may be in any encoding or in none."""
    found = av.open(str(path.absolute()), metadata_errors="replace", options={"format_whitelist": _CONTAINERS})
    if not found.streams.video:
        found.close()
        raise ExampleError("it has no video stream")
    return found


def _upright(frame: Any) -> np.ndarray:
    """A decoded frame as RGB, turned and mirrored as its display matrix says: phones store what the sensor saw."""
    stored = frame.to_ndarray(format="rgb24")
    matrix = next((np.frombuffer(bytes(d), np.int32) for d in frame.side_data if d.type.name == "DISPLAYMATRIX"), None)
    if matrix is None:
        return stored
    # To the right, and down, go the unit vectors (a, b) and (c, d): ISO/IEC 14496-12, 6.2.2.
    a, b, c, d = (int(matrix[place]) for place in (0, 1, 3, 4))
    if a * d < b * c:
        stored, a, b = stored[:, ::-1], -a, -b
    return np.ascontiguousarray(np.rot90(stored, -round(math.degrees(math.atan2(b, a)) / 90)))


def _length(av: Any, path: Path) -> int:
    """Frames in a file, counted: not every packet becomes one."""
    with _container(av, path) as container:
        return sum(1 for _ in container.decode(container.streams.video[0]))


def _from_sound_file(content: Path | BytesIO, path: Path, rate: int, max_seconds: float | None) -> Sound:
    try:
        import soundfile
    except ImportError as error:
        raise MissingExtraError(f"read the sound {path}", "soundfile", "media") from error
    try:
        with soundfile.SoundFile(content) as file:
            _require_length(file.frames, file.channels, file.samplerate, rate, max_seconds)
            samples = file.read(dtype="float32", always_2d=True)
            return Sound(samples.mean(axis=1), int(file.samplerate))
    except soundfile.LibsndfileError as error:
        raise ExampleError(f"cannot be decoded ({reason_of(error)}); WAV, FLAC, OGG and MP3 can") from error
