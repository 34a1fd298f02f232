"""A checkpoint that is not what it says ends every verb with 2 and one sentence, without a traceback."""

import pytest
from safetensors.torch import load_file
from tests.support import factories
from tests.support.checkpoints import change_json, change_weights

from chiasm.cli.main import main


def remove_head(folder):
    change_weights(folder, lambda tensors: tensors.pop("language_model.lm_head.weight"))


def nan_mean(folder):
    settings = {"image_mean": [float("nan")] * 3}
    change_json(folder / "processor_config.json", lambda held: held["image_processor"].update(settings))


def quantise(folder):
    settings = {"quant_method": "bitsandbytes", "load_in_4bit": True}
    change_json(folder / "config.json", lambda held: held.update(quantization_config=settings))


def point_outside(folder):
    (folder / "model.safetensors").rename(folder.parent / "outside.safetensors")
    mapped = dict.fromkeys(load_file(folder.parent / "outside.safetensors"), "../outside.safetensors")
    (folder / "model.safetensors.index.json").write_text("{}")
    change_json(folder / "model.safetensors.index.json", lambda held: held.update(weight_map=mapped))


def only_gguf(folder):
    (folder / "model.safetensors").rename(folder / "model.gguf")


BROKEN = {
    remove_head: "lm_head.weight",
    nan_mean: "image_mean",
    quantise: "bitsandbytes",
    point_outside: "outside",
    only_gguf: "GGUF",
}


@pytest.mark.parametrize("breaking", BROKEN)
@pytest.mark.parametrize("verb", ["flow", "check"])
def test_exit_code_and_words(tmp_path, capsys, breaking, verb):
    folder = factories.save("llava", tmp_path / "model")
    breaking(folder)
    out = tmp_path / "run"
    with pytest.raises(SystemExit) as ended:
        main([verb, str(folder), *(["--limit", "2", "--out", str(out)] if verb == "flow" else [])])
    printed = capsys.readouterr()
    assert ended.value.code == 2
    said = printed.err.splitlines()[-1]
    assert said.startswith("chiasm: load the model `")
    assert BROKEN[breaking] in said
    assert "Traceback" not in printed.err
    assert printed.out == ""
    assert not out.exists()
