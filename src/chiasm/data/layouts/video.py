"""Videos: MSVD-QA, MSRVTT-QA and MSRVTT's captions.

MSVD-QA and MSRVTT-QA: Xu et al. 2017, https://github.com/xudejing/video-question-answering. `train_qa.json`,
`val_qa.json` and `test_qa.json` are lists of `id`, `question`, `answer`, `video_id`. Questions are in lower case; an
answer is one word. MSVD-QA's `video_id` k is `vid<k>`, which `youtube_mapping.txt` (`<name of the clip> vid<k>` per
line) leads to the clip of MSVD, `<name>.avi`; MSRVTT-QA has `category_id` too, and k is `video<k>.mp4`. Entries and
names are taken from descriptions of the files and code that reads them.

MSRVTT: Xu et al. 2016. `train_val_videodatainfo.json` and `test_videodatainfo.json` (or `MSRVTT_data.json` with all)
hold `videos` (`video_id` as `video7010`, `split` train, validate or test, `category`) and `sentences` (`video_id`,
`caption`, `sen_id`), twenty to a video, in no order, some of them twice.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from chiasm.core.example import Example
from chiasm.data.files import unique
from chiasm.data.layouts.base import (
    DESCRIBE,
    Layout,
    as_published,
    by_stem,
    find,
    holds,
    json_entries,
    json_of,
    media_folder,
    part_of,
    required,
    start_of,
)
from chiasm.data.plain_files import open_plain

_ENDINGS = (".mp4", ".avi", ".webm", ".mkv", ".mov", ".gif")
_PLACES = ("video", "videos", "YouTubeClips", "TestVideo", "TrainValVideo", "videos/all", "videos/test", ".")
_QA = {"heldout": ("test_qa.json", "val_qa.json"), "train": ("train_qa.json",)}
_QA_SOURCE = "https://github.com/xudejing/video-question-answering"
_INFO = {
    "heldout": ("test_videodatainfo.json", "MSRVTT_data.json", "train_val_videodatainfo.json"),
    "train": ("train_val_videodatainfo.json", "MSRVTT_data.json"),
}
_INFO_SOURCE = "the authors of MSR-VTT (Xu et al. 2016)"
_SPLITS = {"heldout": ("test", "validate"), "train": ("train",)}


def _qa_file(folder: Path) -> Path | None:
    return find(folder, *(name for names in _QA.values() for name in names))


def _is_msvd(folder: Path) -> bool:
    # The two share their file names; only MSVD's clips need the mapping, and only MSRVTT's entries have a category.
    path = _qa_file(folder)
    return path is not None and (find(folder, "youtube_mapping.txt") is not None or "category_id" not in _start(path))


def _is_msrvtt_qa(folder: Path) -> bool:
    path = _qa_file(folder)
    return path is not None and find(folder, "youtube_mapping.txt") is None and "category_id" in _start(path)


def _start(path: Path) -> str:
    return start_of(path, 2000)


def _read_qa(title: str, stem: str) -> Any:
    def read(folder: Path, split: str, media: Path | None) -> Iterator[Example]:
        path = required(title, folder, part_of(split, _QA, title), _QA_SOURCE)
        videos = media or media_folder(folder, _PLACES, _ENDINGS, f"the videos of {title}")
        return unique(str(path), _questions(path, videos, stem, _mapping(find(folder, "youtube_mapping.txt"))))

    return read


def _mapping(path: Path | None) -> dict[str, str]:
    """From `vid<k>` to the name of the clip."""
    if path is None:
        return {}

    def clips() -> dict[str, str]:
        with open_plain(path) as file:
            lines = file.read().decode().splitlines()
        return {number: name for name, number in (line.split() for line in lines if line.strip())}

    return as_published(str(path), clips)


def _questions(path: Path, videos: Path, stem: str, clips: dict[str, str]) -> Iterator[tuple[str, Example]]:
    there = by_stem(videos, _ENDINGS)
    for where, entry in json_entries(path):
        yield where, as_published(where, _question, entry, videos, stem, clips, there)


def _question(entry: dict[str, Any], videos: Path, stem: str, clips: dict[str, str], there: dict[str, Path]) -> Example:
    numbered = f"{stem}{entry['video_id']}"
    clip = clips.get(numbered, numbered)
    # The first word sets the type (what, who, how, when, where), as in the paper's table of results.
    kind = entry["question"].split()[0].lower()
    return Example(
        id=str(entry["id"]),
        question=entry["question"],
        answer=entry["answer"],
        videos=(there.get(clip) or there.get(numbered) or (videos / f"{clip}.mp4").absolute(),),
        within=videos.absolute(),
        type=kind if kind in ("what", "who", "how", "when", "where") else "other",
    )


def _read_captions(folder: Path, split: str, media: Path | None) -> Iterator[Example]:
    path = required("MSRVTT", folder, part_of(split, _INFO, "MSRVTT"), _INFO_SOURCE)
    videos = media or media_folder(folder, _PLACES, _ENDINGS, "the videos of MSR-VTT")
    return unique(str(path), _described(path, videos, split))


def _described(path: Path, videos: Path, split: str) -> Iterator[tuple[str, Example]]:
    content, there = json_of(path), by_stem(videos, _ENDINGS)
    captions = as_published(f"`sentences` of {path}", _sentences, content)
    splits = as_published(f"`videos` of {path}", lambda: [(video["split"], video) for video in content["videos"]])
    held = {own for own, _ in splits if isinstance(own, str)}
    chosen = next(({name} for name in _SPLITS[split] if name in held), set())
    for number, (own, video) in enumerate(splits, start=1):
        if isinstance(own, str) and own in chosen:
            where = f"video {number} of {path}"
            yield where, as_published(where, _description, video, captions, videos, there)


def _sentences(content: dict[str, Any]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for sentence in content["sentences"]:
        found.setdefault(sentence["video_id"], []).append(sentence["caption"].strip())
    return found


def _description(
    video: dict[str, Any], captions: dict[str, list[str]], videos: Path, there: dict[str, Path]
) -> Example:
    name = video["video_id"]
    return Example(
        id=name,
        question=DESCRIBE["video"],
        videos=(there.get(name) or (videos / f"{name}.mp4").absolute(),),
        within=videos.absolute(),
        captions=tuple(dict.fromkeys(captions[name])),
    )


MSVD_QA = Layout(
    "msvd-qa", "MSVD-QA", _is_msvd, _read_qa("MSVD-QA", "vid"),
    "`test_qa.json`, `youtube_mapping.txt`, `video/` or `YouTubeClips/`",
)  # fmt: skip
MSRVTT_QA = Layout("msrvtt-qa", "MSRVTT-QA", _is_msrvtt_qa, _read_qa("MSRVTT-QA", "video"), "`test_qa.json`, `video/`")
MSRVTT = Layout(
    "msrvtt", "MSRVTT", holds(_INFO), _read_captions,
    "`test_videodatainfo.json` (or `MSRVTT_data.json`), `TestVideo/` or `videos/`",
)  # fmt: skip
