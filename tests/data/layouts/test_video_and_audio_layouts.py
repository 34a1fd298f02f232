"""MSVD-QA, MSRVTT-QA, MSRVTT, AudioCaps and Clotho as published, quirks included."""

import json

import pytest

from chiasm.core.errors import ChiasmError
from chiasm.data import examples
from chiasm.data.metrics import fitting


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")


MSVD = [
    {"answer": "someone", "id": 0, "question": "who pours liquid from a plastic container?", "video_id": 1301},
    {"answer": "cut", "id": 1, "question": "are they cutting?", "video_id": 1302},
]


def test_msvd_qa_maps_numbers_to_clips(tmp_path):
    write(tmp_path / "test_qa.json", MSVD)
    write(tmp_path / "youtube_mapping.txt", "-4wsuPCjDBc_5_15 vid1301\nkWLNZzuo3do_24_31 vid1302\n")
    write(tmp_path / "YouTubeClips" / "-4wsuPCjDBc_5_15.avi", "")
    first, second = examples(tmp_path)
    assert first.video == tmp_path / "YouTubeClips" / "-4wsuPCjDBc_5_15.avi"
    assert second.video == tmp_path / "YouTubeClips" / "kWLNZzuo3do_24_31.mp4"  # missing: its own failure later
    assert (first.id, first.answer, first.type, second.type) == ("0", "someone", "who", "other")
    assert fitting([first, second]) == ("exact",)


def test_msvd_qa_with_numbered_clips(tmp_path):
    write(tmp_path / "test_qa.json", MSVD)
    write(tmp_path / "video" / "vid1301.mp4", "")
    assert next(examples(tmp_path)).video == tmp_path / "video" / "vid1301.mp4"


def test_msrvtt_qa_is_told_from_msvd_qa(tmp_path):
    entry = {"answer": "couch", "category_id": 14, "id": 158581, "question": "what are they on?", "video_id": 6513}
    write(tmp_path / "val_qa.json", [entry])
    write(tmp_path / "video" / "video6513.mp4", "")
    [example] = examples(tmp_path)
    assert (example.id, example.video, example.type) == ("158581", tmp_path / "video" / "video6513.mp4", "what")
    assert next(examples(f"msrvtt-qa:{tmp_path}")).id == "158581"
    with pytest.raises(ChiasmError, match=r"no train_qa\.json.*xudejing"):
        examples(tmp_path, split="train")


def test_msrvtt_captions(tmp_path):
    def video(name, split):
        return {
            "id": 1,
            "video_id": name,
            "category": 9,
            "url": "u",
            "start time": 1.0,
            "end time": 9.0,
            "split": split,
        }

    info = {
        "info": {"year": "2016"},
        "videos": [video("video7010", "test"), video("video6513", "validate"), video("video0", "train")],
        "sentences": [
            {"sen_id": 2, "video_id": "video0", "caption": "a car is shown"},
            {"sen_id": 1, "video_id": "video7010", "caption": "a man talks"},
            {"sen_id": 3, "video_id": "video7010", "caption": "a man talks "},
            {"sen_id": 4, "video_id": "video7010", "caption": "a person is speaking"},
        ],
    }
    write(tmp_path / "MSRVTT_data.json", info)
    write(tmp_path / "videos" / "all" / "video7010.mp4", "")
    [example] = examples(tmp_path)
    assert (example.id, example.question) == ("video7010", "Describe the video.")
    assert example.captions == ("a man talks", "a person is speaking")
    assert [e.id for e in examples(tmp_path, split="train")] == ["video0"]
    assert fitting([example]) == ("cider",)


CAPS = """audiocap_id,youtube_id,start_time,caption
103549,7fmOlUlwoNg,20,Constant rattling noise and sharp vibrations
103548,6BJ455B1aAs,30,"A rocket flies by, followed by a loud explosion"
103541,7fmOlUlwoNg,20,A train horn blows
103542,-ca6i-f0XvE,210,A dog barks
"""


def test_audiocaps(tmp_path):
    write(tmp_path / "dataset" / "test.csv", CAPS)
    for name in ("7fmOlUlwoNg_20.wav", "Y6BJ455B1aAs.wav", "-ca6i-f0XvE.flac"):
        write(tmp_path / "audio" / "test" / name, "")
    first, second, third = examples(tmp_path)
    assert first.captions == ("Constant rattling noise and sharp vibrations", "A train horn blows")
    assert second.captions == ("A rocket flies by, followed by a loud explosion",)
    found = [e.audio.name for e in (first, second, third)]
    assert found == ["7fmOlUlwoNg_20.wav", "Y6BJ455B1aAs.wav", "-ca6i-f0XvE.flac"]
    assert first.question == "Describe the sound."


def test_a_row_of_another_length_is_told(tmp_path):
    write(tmp_path / "test.csv", CAPS + "1,abc,3\n")
    write(tmp_path / "test" / "a.wav", "")
    with pytest.raises(ChiasmError, match=r"line 6 of .*a cell per column"):
        list(examples(tmp_path))
    write(tmp_path / "test.csv", "audiocap_id,youtube_id,caption\n")
    with pytest.raises(ChiasmError, match="no column start_time"):
        list(examples(tmp_path))


def test_clotho(tmp_path):
    text = "file_name,caption_1,caption_2,caption_3,caption_4,caption_5\n"
    text += 'Santa Motor.wav,"A machine whines, squeals.",A car drives.,c,d,e\n'
    text += " Blade sharpening.wav ,Blade,b,,d,e\n"
    write(tmp_path / "clotho_captions_evaluation.csv", "\ufeff" + text)
    for name in ("Santa Motor.wav", "Blade sharpening.wav"):
        write(tmp_path / "evaluation" / name, "")
    first, second = examples(tmp_path)
    assert (first.id, first.captions[0], len(first.captions)) == ("Santa Motor.wav", "A machine whines, squeals.", 5)
    assert second.audio == tmp_path / "evaluation" / "Blade sharpening.wav"
    assert second.captions == ("Blade", "b", "d", "e")
    with pytest.raises(ChiasmError, match=r"no clotho_captions_development\.csv.*zenodo"):
        examples(tmp_path, split="train")
