"""Images as bytes in Parquet, as the data sets of the hub hold them."""

import os
from io import BytesIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from chiasm.core.errors import ExampleError
from chiasm.core.example import Example, media_key
from chiasm.core.media import load_image
from chiasm.core.recordings import load_video
from chiasm.data.files import read_parquet
from chiasm.data.sequences import Spooled


def png(grey):
    file = BytesIO()
    Image.new("RGB", (4, 4), (grey, grey, grey)).save(file, "PNG")
    return file.getvalue()


def written(folder, values, name="image", **options):
    path = folder / "data.parquet"
    columns = {"id": [str(k) for k in range(len(values))], "question": ["?"] * len(values), name: values}
    pq.write_table(pa.table(columns), path, **options)
    return path


def greys(found):
    return [int(np.asarray(load_image(one.image))[0, 0, 0]) for one in found]


@pytest.mark.parametrize("form", [lambda content: content, lambda content: {"bytes": content, "path": "a.png"}])
def test_bytes_are_read_from_their_row_and_row_group(tmp_path, form):
    path = written(tmp_path, [form(png(k)) for k in range(50)], row_group_size=7)
    found = Spooled(read_parquet(path))
    assert greys(found) == list(range(50))
    assert greys([found[k] for k in (48, 3, 7, 0)]) == [48, 3, 7, 0]


def test_several_images_none_and_a_path_without_bytes(tmp_path):
    (tmp_path / "a.png").write_bytes(png(9))
    kept = [[{"bytes": png(1), "path": None}, {"bytes": png(2), "path": "x"}], None, [{"bytes": None, "path": "a.png"}]]
    several, none, named = read_parquet(written(tmp_path, kept))
    assert [int(np.asarray(load_image(one))[0, 0, 0]) for one in several.images] == [1, 2]
    assert none.images == ()
    assert named.images == (tmp_path / "a.png",)


def test_the_same_bytes_are_the_same_image_as_in_a_file(tmp_path):
    (tmp_path / "a.png").write_bytes(png(5))
    [packed] = read_parquet(written(tmp_path, [png(5)]))
    assert media_key(packed.image) == media_key(tmp_path / "a.png")


def test_no_image_is_that_examples_failure(tmp_path):
    empty, text, good = read_parquet(written(tmp_path, [b"", b"secret words", png(3)]))
    with pytest.raises(ExampleError, match=r"0 bytes"):
        load_image(empty.image)
    with pytest.raises(ExampleError, match="not an image in a known format") as refused:
        load_image(text.image)
    assert "secret" not in str(refused.value)
    assert greys([good]) == [3]


def test_a_file_that_was_replaced_since_is_not_mixed_in(tmp_path):
    path = written(tmp_path, [png(3)])
    [example] = read_parquet(path)
    written(tmp_path, [png(4)])
    os.utime(path, ns=(1, 1))
    with pytest.raises(ExampleError, match="has changed since"):
        load_image(example.image)


def test_a_video_as_bytes_is_refused_in_words(tmp_path):
    [example] = read_parquet(written(tmp_path, [b"0000"], name="video"))
    with pytest.raises(ExampleError, match=r"lies inside data\.parquet; unpack it"):
        load_video(example.video)


def test_other_values_are_refused(tmp_path):
    [bad, good] = read_parquet(written(tmp_path, [[{"bytes": b"a"}], None]))
    assert "`image` is an object" in bad.fault
    assert isinstance(good, Example)
    assert not good.fault
