"""From what an example holds to one video or one sound in memory, or a reason why not."""

from collections.abc import Iterable, Iterator
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
    decodes. `max_frames`: so many at most, from the middles of equal parts of the video; `fps` then counts the kept
    ones.

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
    return Clip(clip.frames[kept], clip.fps * len(kept) / len(clip.frames))


def _checked(clip: Clip) -> Clip:
    frames = np.asarray(clip.frames)
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] != 3 or 0 in frames.shape:
        found = f"{' x '.join(map(str, frames.shape))} of {frames.dtype}"
        raise ExampleError(f"a video is frames x H x W x 3 of uint8, found {found}")
    return Clip(frames, clip.fps)


def _require_file(path: Path, kind: str) -> None:
    if not path.is_file():
        raise ExampleError(f"{kind} {path}: there is no such file")
    if not path.stat().st_size:
        raise ExampleError(f"{kind} {path}: the file is empty (0 bytes)")


def _stacked(name: Path, frames: Iterable[Any], fps: float) -> Clip:
    images = [np.asarray(frame) for frame in frames]
    sizes = sorted({image.shape for image in images})
    if len(sizes) != 1:
        found = f"frames of {len(sizes)} sizes" if sizes else "no frame"
        raise ExampleError(f"video {name}: it has {found}")
    return Clip(np.stack(images), fps)


def _from_images(folder: Path, max_frames: int | None) -> Clip:
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() in _IMAGE_SUFFIXES)
    kept = chosen_frames(len(files), max_frames)
    clip = _stacked(folder, (load_image(files[place]) for place in kept), _STILL_FPS)
    return Clip(clip.frames, _STILL_FPS * len(kept) / len(files))


def _from_animation(path: Path) -> Clip:
    try:
        with Image.open(path) as image:
            frames, durations = [], []
            for frame in ImageSequence.Iterator(image):
                frames.append(load_image(frame))
                durations.append(frame.info.get("duration", 0))
    except (OSError, SyntaxError, ValueError) as error:
        raise ExampleError(f"video {path}: cannot be decoded ({error})") from error
    shown = float(np.mean(durations))
    # Browsers show frames without a duration for a tenth of a second.
    return _stacked(path, frames, 1000 / (shown or 100))


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
            clip = _stacked(path, (frame.to_ndarray(format="rgb24") for n, frame in numbered if n in chosen), fps)
    except (FFmpegError, IndexError) as error:
        found = "it has no video stream" if isinstance(error, IndexError) else f"cannot be decoded ({error})"
        raise ExampleError(f"video {path}: {found}") from error
    return Clip(clip.frames, clip.fps * len(clip.frames) / length)


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
