"""What can only be a directory is looked for at once; a hub id is let through."""

import pytest

from chiasm.core.errors import ChiasmError
from chiasm.core.places import looks_like_path, require_place


@pytest.mark.parametrize(
    ("name", "path"), [("tiny", False), ("a/b", False), ("./a", True), ("a/b/c", True), ("~x", True)]
)
def test_what_looks_like_a_path(name, path):
    assert looks_like_path(name) is path


def test_a_path_must_be_a_directory(tmp_path):
    (tmp_path / "file").write_text("")
    require_place("load", str(tmp_path))
    require_place("load", "owner/name")
    with pytest.raises(ChiasmError, match="it is a file"):
        require_place("load", str(tmp_path / "file"))
    with pytest.raises(ChiasmError, match="there is no such directory"):
        require_place("load", str(tmp_path / "nothing"))
