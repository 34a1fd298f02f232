"""Domains: parts that share no picture, published layouts, and what is wrong with a domain said at once."""

import csv
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from chiasm.core.errors import ChiasmError
from chiasm.data.domains import LEAVES, SURFACES, Item, domain, make_domain, stratified


def paint(path, shade=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), (shade, 0, 0)).save(path)


def items(prefix: str, **counts: int) -> list[Item]:
    return [Item(f"{prefix}/{label}/{k}", f"{k}.jpg", label) for label, n in counts.items() for k in range(n)]


@pytest.mark.parametrize(("name", "classes"), [("surfaces", SURFACES), ("leaves", LEAVES)])
def test_procedural_domains_are_balanced_and_repeat(name, classes):
    first, again = domain(name, limit=2 * len(classes)), domain(name, limit=2 * len(classes))
    assert first.classes == classes
    for part in ("train", "validation", "test"):
        own = getattr(first, part)
        assert sorted(item.label for item in own) == sorted(2 * classes)
        assert all(item.image.size == (96, 96) for item in own)
        assert all(np.array_equal(a.image, b.image) for a, b in zip(own, getattr(again, part), strict=True))
    shown = {item.image.tobytes() for part in (first.train, first.validation, first.test) for item in part}
    assert len(shown) == 6 * len(classes)


@given(st.lists(st.integers(1, 30), min_size=1, max_size=5), st.floats(0.05, 0.5), st.integers(0, 3))
def test_a_part_is_set_apart_class_by_class(sizes, share, seed):
    given_ = items("x", **{f"c{k}": n for k, n in enumerate(sizes)})
    first, second = stratified(given_, share, seed)
    assert sorted(item.id for item in (*first, *second)) == sorted(item.id for item in given_)
    for k, n in enumerate(sizes):
        kept = sum(item.label == f"c{k}" for item in first)
        assert kept == max(1, n - round(share * n))
    assert stratified(given_, share, seed) == (first, second)


def test_folders_with_parts_keep_the_published_names(tmp_path):
    for part, classes in (("train", ("Apple Scab Leaf", "Bell_pepper leaf", "mites")), ("test", ("Apple Scab Leaf",))):
        for label in classes:
            for k in range(1 if label == "mites" else 12):
                paint(tmp_path / part / label / f"{k}.jpg")
    found = domain(tmp_path)
    assert (found.name, found.topic) == ("plantdoc", "plant leaf diseases")
    assert found.classes == ("Apple Scab Leaf", "Bell_pepper leaf", "mites")
    assert (len(found.train), len(found.validation), len(found.test)) == (23, 2, 12)
    assert any("one training image" in note and "mites" in note for note in found.notes)
    assert any("without a test image: Bell_pepper leaf, mites" in note for note in found.notes)


def test_a_folder_without_parts_is_split(tmp_path):
    for label in ("a", "b"):
        for k in range(20):
            paint(tmp_path / label / f"{k}.png")
    (tmp_path / "empty").mkdir()
    found = domain(tmp_path)
    assert found.classes == ("a", "b")
    assert (len(found.train), len(found.validation), len(found.test)) == (28, 4, 8)
    assert any("left out of the list: empty" in note for note in found.notes)


def test_dtd_takes_its_first_split(tmp_path):
    (tmp_path / "labels").mkdir()
    for number, part in enumerate(("train", "val", "test")):
        lines = [f"{label}/{label}_{number}.jpg" for label in ("banded", "polka-dotted")]
        (tmp_path / "labels" / f"{part}1.txt").write_text("\n".join(lines))
        for line in lines:
            paint(tmp_path / "images" / line)
    found = domain(tmp_path)
    assert found.classes == ("banded", "polka-dotted")
    assert [len(part) for part in (found.train, found.validation, found.test)] == [2, 2, 2]
    assert found.test[0].image == tmp_path / "images" / "banded" / "banded_2.jpg"


def test_crisismmd_takes_every_image_once_with_its_own_label(tmp_path):
    folder = tmp_path / "crisismmd_datasplit_all"
    folder.mkdir()
    for number, part in enumerate(("train", "dev", "test")):
        with (folder / f"task_humanitarian_text_img_{part}.tsv").open("w", newline="") as file:
            rows = csv.writer(file, delimiter="\t")
            rows.writerow(["event_name", "tweet_id", "image_id", "tweet_text", "image", "label", "label_image"])
            for label in ("vehicle_damage", "not_humanitarian"):
                for _ in range(2):
                    name = f"{number}_{label}"
                    rows.writerow(["e", "1", name, "t", f"data_image/e/{name}.jpg", "other", label])
    (tmp_path / "data_image").mkdir()
    found = domain(tmp_path)
    assert found.classes == ("not_humanitarian", "vehicle_damage")
    assert [len(part) for part in (found.train, found.validation, found.test)] == [2, 2, 2]
    assert found.train[0].image.is_relative_to(tmp_path / "data_image")


def test_csv_and_json_lines_name_pictures_labels_and_parts(tmp_path):
    rows = [{"image": f"{k}.jpg", "label": "ab"[k % 2], "split": ("train", "val", "test")[k % 3]} for k in range(12)]
    (tmp_path / "d.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with (tmp_path / "d.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ("image", "label", "split"))
        writer.writeheader()
        writer.writerows(rows)
    for name in ("d.jsonl", "d.csv"):
        found = domain(tmp_path / name)
        assert [len(part) for part in (found.train, found.validation, found.test)] == [4, 4, 4]
        assert found.train[0].image == tmp_path / "0.jpg"


def test_what_cannot_be_classified_is_refused():
    good = items("x", a=3, b=3)
    with pytest.raises(ChiasmError, match="read the same"):
        make_domain("d", "t", items("x", **{"Corn_leaf": 2, "corn leaf": 2}), good[:1])
    with pytest.raises(ChiasmError, match="which is no class"):
        make_domain("d", "t", good, items("y", c=1), classes=("a", "b"))
    with pytest.raises(ChiasmError, match="at least two"):
        make_domain("d", "t", items("x", a=4), items("y", a=1))
    with pytest.raises(ChiasmError, match="`test` has no image"):
        make_domain("d", "t", good, [])
    with pytest.raises(ChiasmError, match="occurs 2 times"):
        make_domain("d", "t", good, good[:1])


@pytest.mark.parametrize("text", ['{"image": "a.jpg"}', '{"image": "a.jpg", "label": "a", "split": "often"}', "["])
def test_a_bad_line_is_named(text, tmp_path):
    (tmp_path / "d.jsonl").write_text(text)
    with pytest.raises(ChiasmError):
        domain(tmp_path / "d.jsonl")


def test_nothing_there_is_said():
    with pytest.raises(ChiasmError, match="surfaces, leaves"):
        domain("surface")
