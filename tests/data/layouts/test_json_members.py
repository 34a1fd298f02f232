import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chiasm.core.errors import ChiasmError
from chiasm.data.layouts import base
from chiasm.data.layouts.base import json_members

words = st.text(max_size=4)
leaf = st.none() | st.booleans() | st.integers() | words
value = leaf | st.lists(leaf, max_size=2) | st.dictionaries(words, leaf, max_size=2)
objects = st.dictionaries(words, st.dictionaries(words, value, max_size=2), max_size=5)


@settings(deadline=None)
@given(objects, st.integers(3, 40), st.sampled_from([None, 1]))
def test_members_are_those_of_the_whole_object_whatever_the_read_size(tmp_path_factory, whole, size, indent):
    path = tmp_path_factory.mktemp("json") / "a.json"
    path.write_text(" \n" + json.dumps(whole, indent=indent, ensure_ascii=indent is None) + "\n", encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(base, "_READ", size)
        assert list(json_members(path)) == list(whole.items())


@pytest.mark.parametrize("cut", range(1, 30, 4))
def test_a_file_cut_short_is_refused_after_its_whole_json_members(tmp_path, cut):
    path = tmp_path / "a.json"
    text = json.dumps({"one": {"x": 1}, "two": {"y": "longer than the cut"}})
    path.write_text(text[:-cut])
    found = json_members(path)
    assert next(found) == ("one", {"x": 1})
    with pytest.raises(ChiasmError, match="cut short"):
        list(found)


@pytest.mark.parametrize(
    "text", ["", "[]", "no json", '{"a": 1}', '{"a": [1]}', '{"a": {"b": }}', "{a: {}}", '{"a" {}}']
)
def test_what_is_no_object_of_objects_is_refused(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ChiasmError, match=r"a\.json: after character [01] it is cut short or not an object of objects"):
        list(json_members(tmp_path / "a.json"))


def test_a_missing_or_binary_file_is_refused(tmp_path):
    with pytest.raises(ChiasmError, match="No such file"):
        list(json_members(tmp_path / "gone.json"))
    (tmp_path / "a.json").write_bytes(b'{"a\xff": {}}')
    with pytest.raises(ChiasmError, match="decode"):
        list(json_members(tmp_path / "a.json"))
