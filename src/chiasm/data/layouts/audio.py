"""Sounds with captions: AudioCaps and Clotho.

AudioCaps: Kim et al. 2019, https://github.com/cdjkim/audiocaps, folder `dataset`. `train.csv`, `val.csv` and
`test.csv` have `audiocap_id`, `youtube_id`, `start_time`, `caption`; in val and test a clip has five rows, in no fixed
order. The authors publish no sounds: downloaders name them `<youtube_id>_<start_time>`, `<youtube_id>` or
`Y<youtube_id>` (ids may begin with a hyphen); all three are looked for.

Clotho: Drossos et al. 2020, https://zenodo.org/records/4783391. `clotho_captions_evaluation.csv` (and `_development`,
`_validation`) has `file_name` and `caption_1` to `caption_5`; the sounds are in `evaluation/` and so on. File names
hold spaces, and some begin or end with them.
"""

from collections.abc import Iterator
from pathlib import Path

from chiasm.core.example import Example
from chiasm.data.files import unique
from chiasm.data.layouts.base import (
    DESCRIBE,
    Layout,
    by_stem,
    find,
    holds,
    media_folder,
    part_of,
    required,
    rows_of,
    start_of,
)

_ENDINGS = (".wav", ".flac", ".mp3", ".ogg", ".m4a")
_CAPS = {"heldout": ("test.csv", "val.csv"), "train": ("train.csv",)}
_CAPS_COLUMNS = ("audiocap_id", "youtube_id", "start_time", "caption")
_CLOTHO = {
    "heldout": ("clotho_captions_evaluation.csv", "clotho_captions_validation.csv"),
    "train": ("clotho_captions_development.csv",),
}
_CAPTIONS = tuple(f"caption_{number}" for number in range(1, 6))


def _is_audiocaps(folder: Path) -> bool:
    path = find(folder, *(name for names in _CAPS.values() for name in names))
    return path is not None and "audiocap_id" in start_of(path, 200).splitlines()[0]


def _read_audiocaps(folder: Path, split: str, media: Path | None) -> Iterator[Example]:
    path = required(
        "AudioCaps", folder, part_of(split, _CAPS, "AudioCaps"), "https://github.com/cdjkim/audiocaps (dataset)"
    )
    places = (path.stem, f"audio/{path.stem}", f"audios/{path.stem}", f"../{path.stem}", "audio", "audios", ".")
    sounds = media or media_folder(folder, places, _ENDINGS, "the clips that AudioCaps names")
    return unique(str(path), _clips(path, sounds))


def _clips(path: Path, sounds: Path) -> Iterator[tuple[str, Example]]:
    there = by_stem(sounds, _ENDINGS)
    captions: dict[tuple[str, str], list[str]] = {}
    for _, row in rows_of(path, _CAPS_COLUMNS):
        captions.setdefault((row["youtube_id"], row["start_time"]), []).append(row["caption"].strip())
    for (video, start), texts in captions.items():
        names = (f"{video}_{start}", video, f"Y{video}")
        found = next((there[name] for name in names if name in there), (sounds / f"{names[0]}.wav").absolute())
        yield (
            f"{video} of {path}",
            Example(
                id=f"{video}_{start}",
                question=DESCRIBE["audio"],
                audios=(found,),
                captions=tuple(texts),
                within=sounds.absolute(),
            ),
        )


def _read_clotho(folder: Path, split: str, media: Path | None) -> Iterator[Example]:
    path = required("Clotho", folder, part_of(split, _CLOTHO, "Clotho"), "https://zenodo.org/records/4783391")
    part = path.stem.removeprefix("clotho_captions_")
    places = (part, f"clotho_audio_{part}", f"clotho_audio_{part}/{part}", f"audio/{part}", "audio")
    sounds = media or media_folder(folder, places, _ENDINGS, f"clotho_audio_{part}.7z")
    return unique(str(path), _sounds(path, sounds))


def _sounds(path: Path, sounds: Path) -> Iterator[tuple[str, Example]]:
    # The table and the archive disagree on spaces at the ends of a few names.
    there = {file.name.strip(): file.absolute() for file in sounds.iterdir()}
    for where, row in rows_of(path, ("file_name", *_CAPTIONS)):
        name = row["file_name"].strip()
        yield (
            where,
            Example(
                id=name,
                question=DESCRIBE["audio"],
                audios=(there.get(name) or (sounds / name).absolute(),),
                captions=tuple(row[column].strip() for column in _CAPTIONS if row[column].strip()),
                within=sounds.absolute(),
            ),
        )


AUDIOCAPS = Layout("audiocaps", "AudioCaps", _is_audiocaps, _read_audiocaps, "`test.csv`, `test/` with the clips")
CLOTHO = Layout(
    "clotho", "Clotho", holds(_CLOTHO),
    _read_clotho, "`clotho_captions_evaluation.csv`, `evaluation/`",
)  # fmt: skip
