"""WebDataset archives: examples by key, read where they lie; hostile members cost one example or the archive."""

import io
import json
import os
import re
import tarfile
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from chiasm.core.errors import ChiasmError, ExampleError
from chiasm.core.example import Example, media_key
from chiasm.core.media import load_image
from chiasm.data.sources import examples, sequence
from chiasm.data.webdataset import read_webdataset


def png(grey):
    file = BytesIO()
    Image.new("RGB", (4, 4), (grey, grey, grey)).save(file, "PNG")
    return file.getvalue()


def tar(path, members, form=tarfile.PAX_FORMAT):
    """`members`: (name, content), or a `TarInfo` as it is."""
    with tarfile.open(path, "w", format=form) as file:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                file.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                file.addfile(info, BytesIO(member[1]))
    return path


def asked(**fields):
    return json.dumps({"question": "?", **fields}).encode()


def odd(name, kind, target="/etc/passwd"):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("folder", ["", "a/" + "long" * 20 + "/"])
def test_members_of_a_key_are_one_example_sorted_or_not(tmp_path, form, folder):
    members = [(f"{folder}{k}.png", png(k)) for k in range(5)]
    members += [(f"{folder}{k}.json", asked(answer=str(k), boxes=[])) for k in (4, 2, 0, 1, 3)]
    found = sequence(tar(tmp_path / "data.tar", members, form))
    assert [one.id for one in found] == [f"{folder}{k}" for k in range(5)]
    assert [one.answer for one in found] == list("01234")
    assert [int(np.asarray(load_image(one.image))[0, 0, 0]) for one in found] == list(range(5))


def test_names_longer_than_a_header_holds(tmp_path):
    name = "ü" * 300
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        path = tar(tmp_path / "data.tar", [(f"{name}.json", asked()), ("b.json", asked())], form)
        assert [one.id for one in read_webdataset([path])] == [name, "b"]


def test_captions_labels_several_images_and_what_is_not_read(tmp_path):
    members = [
        *[("a.txt", b"a red circle\n"), ("a.jpg", png(1)), ("a.pkl", b"never opened")],
        *[("b.cls", b"7"), ("b.json", asked(id="own")), ("b.1.png", png(2)), ("b.0.png", png(1))],
        *[("README", b"text"), ("__notes__.npy", b"text")],
    ]
    a, b = examples(tar(tmp_path / "data.tar", members))
    assert (a.question, a.captions, len(a.images)) == ("Describe the image.", ("a red circle",), 1)
    assert (b.id, b.answer) == ("own", "7")
    assert [one.name for one in b.images] == ["b.0.png", "b.1.png"]


def test_the_same_bytes_are_the_same_image_as_in_a_file(tmp_path):
    (tmp_path / "a.png").write_bytes(png(5))
    [packed] = examples(tar(tmp_path / "data.tar", [("a.json", asked()), ("a.png", png(5))]))
    assert media_key(packed.image) == media_key(tmp_path / "a.png")


def test_archives_of_a_folder_or_a_pattern_are_one_data_set(tmp_path):
    for k in (1, 0):
        tar(tmp_path / f"part-{k}.tar", [(f"{k}.json", asked()), (f"{k}-bad.json", b"{")])
    ids = ["0", "sample 2 of part-0.tar", "1", "sample 2 of part-1.tar"]
    assert [one.id for one in examples(tmp_path)] == [one.id for one in examples(tmp_path / "part-*.tar")] == ids
    tar(tmp_path / "part-2.tar", [("0.json", asked())])
    with pytest.raises(ChiasmError, match=r"part-2\.tar.*`0` was already used in .*part-0\.tar"):
        list(examples(tmp_path))


@pytest.mark.parametrize(
    ("bad", "match"),
    [
        ([odd("a.png", tarfile.SYMTYPE)], "it is a link, which is not followed"),
        ([odd("a.png", tarfile.LNKTYPE, "b.png")], "it is a link"),
        ([odd("a.png", tarfile.CHRTYPE)], "it is a device"),
        ([odd("a.png", tarfile.FIFOTYPE)], "it is a pipe"),
        ([("a.json", asked()), ("a.json", asked())], r"two members \.json"),
        ([("a.json", asked(image="b.png")), ("a.png", png(1))], "has `image`, and so has the archive"),
        ([("a.json", b"[1]")], "holds no object"),
        ([("a.json", asked(quesiton="?"))], "unknown field"),
        ([("a.png", png(1))], "no `question`"),
        ([("a.txt", b"\xff")], "no UTF-8"),
        ([("a.json", b" " * ((16 << 20) + 1))], "16,777,217 bytes"),
    ],
)
def test_a_bad_member_costs_its_example(tmp_path, bad, match):
    found = list(read_webdataset([tar(tmp_path / "data.tar", [*bad, ("good.json", asked())])]))
    assert [one.id for one in found] == ["sample 1", "good"]
    assert re.search(match, found[0].fault), found[0].fault


@pytest.mark.parametrize("name", ["/a.json", "../a.json", "x/../../a.json", "x\\..\\a.json"])
def test_a_name_that_leads_out_costs_its_example_and_touches_nothing(tmp_path, name):
    (tmp_path / "in").mkdir()
    before = sorted(tmp_path.rglob("*"))
    path = tar(tmp_path / "in" / "data.tar", [(name, asked()), ("good.json", asked())])
    bad, good = examples(path)
    assert "leads out of the archive" in bad.fault
    assert good.id == "good"
    assert sorted(tmp_path.rglob("*")) == sorted([*before, path])


def test_what_no_tar_archive_is_is_refused(tmp_path):
    path = tar(tmp_path / "data.tar", [("a.json", asked()), ("a.png", png(1) * 50)])
    whole = path.read_bytes()
    for content, match in [
        (b"", "no example"),
        (b"no tar", "ends within the header"),
        (b"x" * 2000, "no header at byte 0"),
        (whole[:2000], "a member of .* bytes begins"),
        (bytes(2000), "no header at byte 0"),
    ]:
        path.write_bytes(content)
        with pytest.raises(ChiasmError, match=match):
            list(examples(path))


def header(name, size, kind):
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize("kind", [b"0", b"L", b"x"])
@pytest.mark.parametrize("size", [1 << 40, 1 << 62, 1 << 80])
def test_a_size_that_only_a_header_claims_is_not_read(tmp_path, kind, size):
    path = tmp_path / "data.tar"
    path.write_bytes(header("a.json", size, kind) + bytes(1024))
    with pytest.raises(ChiasmError, match="not a whole tar archive"):
        list(examples(path))


def test_a_huge_member_costs_its_example_unread(tmp_path):
    path, size = tmp_path / "data.tar", 1 << 30
    with path.open("wb") as file:
        for name, content in (("a.json", asked()), ("b.json", asked())):
            file.write(header(name, len(content), b"0") + content.ljust(512, b"\0"))
        file.write(header("a.png", size, b"0"))
        file.seek(size, io.SEEK_CUR)  # a hole, which takes no disk
        file.write(bytes(1024))
    a, b = examples(path)
    with pytest.raises(ExampleError, match="1,073,741,824 bytes"):
        load_image(a.image)
    assert b == Example(id="b", question="?")


def test_an_archive_that_was_replaced_since_is_not_mixed_in(tmp_path):
    path = tar(tmp_path / "data.tar", [("a.json", asked()), ("a.png", png(1))])
    [example] = examples(path)
    os.utime(path, ns=(1, 1))
    with pytest.raises(ExampleError, match="has changed since"):
        load_image(example.image)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_damaged_archives_give_our_own_errors_alone(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("tar") / "data.tar"
    tar(path, [("a.json", asked()), ("a.png", png(1)), ("ü" * 120 + ".json", asked()), ("b.txt", b"b")])
    content = bytearray(path.read_bytes())
    for at in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=8)):
        content[at] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(content)[: data.draw(st.integers(0, len(content)))])
    try:
        for example in examples(path):
            for image in example.images:
                load_image(image)
    except (ChiasmError, ExampleError):
        pass
