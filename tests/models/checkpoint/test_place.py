"""What lies in the hub's cache is looked at like a directory; only the files that are needed are asked for."""

import os

import pytest
from tests.support import factories

from chiasm.core.errors import ChiasmError
from chiasm.models.checkpoint.place import placed
from chiasm.models.description import describe
from chiasm.models.loading import load

REVISION = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cached(tmp_path, monkeypatch):
    """The snapshot of `someone/llava` in a cache of its own, without network."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    root = tmp_path / "models--someone--llava"
    (root / "refs").mkdir(parents=True)
    (root / "refs" / "main").write_text(REVISION)
    model, processor = factories.build("llava")
    model.save_pretrained(root / "snapshots" / REVISION, max_shard_size="100KB")
    processor.save_pretrained(root / "snapshots" / REVISION)
    return root / "snapshots" / REVISION


def test_a_model_of_the_hub_is_that_of_its_files(cached):
    assert load("someone/llava").fingerprint() == load(cached).fingerprint()
    assert describe(load("someone/llava")) == describe(load(cached))


def test_a_shard_that_cannot_be_fetched(cached):
    next(cached.glob("model-00002-*")).unlink()
    with pytest.raises(ChiasmError, match=r"its weights cannot be read .*Check the name and the network"):
        load("someone/llava")


def test_an_adapter_beside_a_model_of_the_hub(cached):
    (cached / "adapter_config.json").write_text("{}")
    with pytest.raises(ChiasmError, match="--adapter ignore"):
        load("someone/llava")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "chat_template.jinja", "tokenizer.json"])
def test_pipes_and_devices_in_a_directory_are_not_opened(tmp_path, name):
    for folder in (tmp_path / "pipe", tmp_path / "device"):
        folder.mkdir()
        (folder / "config.json").write_text("{}")
        (folder / name).unlink(missing_ok=True)
    os.mkfifo(tmp_path / "pipe" / name)
    (tmp_path / "device" / name).symlink_to("/dev/zero")
    for folder in (tmp_path / "pipe", tmp_path / "device"):
        with pytest.raises(ChiasmError, match=f"its {name} is a pipe or a device"):
            placed("load", folder, False, None)


def test_a_text_file_larger_than_any_is_not_opened(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with (tmp_path / "tokenizer.json").open("wb") as file:
        file.truncate(300 << 20)
    with pytest.raises(ChiasmError, match=r"its tokenizer\.json has 315 MB"):
        placed("load", tmp_path, False, None)
