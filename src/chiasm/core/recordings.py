"""From what an example holds to one video or one sound in memory, or a reason why not."""

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageSequence
from scipy.signal import resample_poly

from chiasm.core.errors import ExampleError, MissingExtraError
from chiasm.core.media import Clip, Sound, load_image

_IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm")
_ANIMATION_SUFFIXES = (".gif", ".apng", ".webp")
_STILL_FPS = 1.0  # of a folder of frames, whose rate is not known


def load_video(source: str | Path | Clip, max_frames: int | None = None) -> Clip:
    """The video as frames in memory, RGB.

    `source`: a `Clip`, a folder of images (in the order of their names), an animated image, or a file that PyAV
    decodes, turned upright as its display matrix says. `max_frames`: so many at most, from the middles of equal parts
    of the video; `fps` then counts the kept ones, and `times` are those of the frames in the whole video.

    **Errors:** `ExampleError` with what was found; `MissingExtraError` without PyAV where a file needs it.
    """
    if isinstance(source, Clip):
        found = _checked(source)
        return _thinned(found, max_frames)
    if not isinstance(source, str | Path):
        raise ExampleError(f"a video is a path or a Clip, found {type(source).__name__}")
    path = Path(source)
    if path.is_dir():
        return _from_images(path, max_frames)
    _require_file(path, "video")
    if path.suffix.lower() in _ANIMATION_SUFFIXES:
        return _thinned(_from_animation(path), max_frames)
    return _from_container(path, max_frames)


def load_sound(source: str | Path | Sound, rate: int) -> Sound:
    """The sound with `rate` samples to the second, one channel (the mean of several).

    Resampled by a polyphase filter where it was recorded at another rate.

    **Errors:** `ExampleError` with what was found; `MissingExtraError` without soundfile where a file needs it.
    """
    if isinstance(source, str | Path):
        _require_file(Path(source), "sound")
        source = _from_sound_file(Path(source))
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
    if source.rate != rate:
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


def _require_file(path: Path, kind: str) -> None:
    if not path.is_file():
        raise ExampleError(f"{kind} {path}: there is no such file")
    if not path.stat().st_size:
        raise ExampleError(f"{kind} {path}: the file is empty (0 bytes)")


def _stacked(name: Path, frames: Iterable[Any], fps: float, times: Sequence[float] | None = None) -> Clip:
    images = [np.asarray(frame) for frame in frames]
    sizes = sorted({image.shape for image in images})
    if len(sizes) != 1:
        found = f"frames of {len(sizes)} sizes" if sizes else "no frame"
        raise ExampleError(f"video {name}: it has {found}")
    return Clip(np.stack(images), fps, None if times is None else tuple(times))


def _from_images(folder: Path, max_frames: int | None) -> Clip:
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() in _IMAGE_SUFFIXES)
    kept = chosen_frames(len(files), max_frames)
    frames = (load_image(files[place]) for place in kept)
    return _stacked(folder, frames, _STILL_FPS * len(kept) / max(len(files), 1), (kept / _STILL_FPS).tolist())


def _from_animation(path: Path) -> Clip:
    try:
        with Image.open(path) as image:
            frames, durations = [], []
            for frame in ImageSequence.Iterator(image):
                frames.append(load_image(frame))
                durations.append(frame.info.get("duration", 0))
    except (OSError, SyntaxError, ValueError) as error:
        raise ExampleError(f"video {path}: cannot be decoded ({error})") from error
    # Browsers show frames without a duration for a tenth of a second.
    seconds = np.array([duration or 100 for duration in durations]) / 1000
    return _stacked(path, frames, 1 / float(np.mean(seconds)), (np.cumsum(seconds) - seconds).tolist())


def _from_container(path: Path, max_frames: int | None) -> Clip:
    try:
        import av
        from av.error import FFmpegError
    except ImportError as error:
        raise MissingExtraError(f"read the video {path}", "av", "media") from error
    try:
        length = _length(av, path)
        chosen = {int(place) for place in chosen_frames(length, max_frames)}
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            fps = float(stream.average_rate or _STILL_FPS)
            numbered: Iterator[tuple[int, Any]] = zip(count(), container.decode(stream), strict=False)
            shown = [(n, frame.time, _upright(frame)) for n, frame in numbered if n == 0 or n in chosen]
    except (FFmpegError, IndexError) as error:
        found = "it has no video stream" if isinstance(error, IndexError) else f"cannot be decoded ({error})"
        raise ExampleError(f"video {path}: {found}") from error
    # From the first frame on; a frame without a time of its own stands at an even step.
    start = (shown[0][1] or 0.0) if shown else 0.0
    kept = [(n / fps if time is None else time - start, frame) for n, time, frame in shown if n in chosen]
    times = np.maximum.accumulate([time for time, _ in kept])
    return _stacked(path, (frame for _, frame in kept), fps * len(kept) / length, times.tolist())


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
    """Frames in a file, counted: headers only estimate."""
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(container.streams.video[0]))


def _from_sound_file(path: Path) -> Sound:
    try:
        import soundfile
    except ImportError as error:
        raise MissingExtraError(f"read the sound {path}", "soundfile", "media") from error
    try:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise ExampleError(f"sound {path}: cannot be decoded ({error}); WAV, FLAC, OGG and MP3 can") from error
    return Sound(samples.mean(axis=1), int(rate))
