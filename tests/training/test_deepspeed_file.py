"""The DeepSpeed file holds what DeepSpeed knows, of the kinds it takes, and transformers fills in the rest.

DeepSpeed is not needed here: the kinds are those of `deepspeed.runtime.zero.config.DeepSpeedZeroConfig` 0.19.8, which
refuses names that it does not have. That version's `DeepSpeedConfig` took the file as it is filled in below.
"""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from accelerate.utils.deepspeed import HfDeepSpeedConfig
from transformers import TrainingArguments
from transformers.integrations.deepspeed import HfTrainerDeepSpeedConfig as _Trainer

FILE = Path(__file__).parents[2] / "recipes" / "project" / "deepspeed_zero3.json"
TOP = {
    "bf16": dict,
    "train_micro_batch_size_per_gpu": int,
    "train_batch_size": int,
    "gradient_accumulation_steps": int,
    "gradient_clipping": float,
    "zero_optimization": dict,
}
ZERO = {
    "stage": int,
    "overlap_comm": bool,
    "contiguous_gradients": bool,
    "sub_group_size": int,
    "reduce_bucket_size": int,
    "stage3_prefetch_bucket_size": int,
    "stage3_param_persistence_threshold": int,
    "stage3_max_live_parameters": int,
    "stage3_max_reuse_distance": int,
    "stage3_gather_16bit_weights_on_model_save": bool,
}


class _Filled(HfDeepSpeedConfig):
    """transformers' own filling in, on the class that it takes where DeepSpeed is installed."""

    is_auto, fill_match, fill_only = _Trainer.is_auto, _Trainer.fill_match, _Trainer.fill_only
    trainer_config_process, trainer_config_finalize = _Trainer.trainer_config_process, _Trainer.trainer_config_finalize

    def __init__(self, config: dict) -> None:
        super().__init__(config)
        self.mismatches = []


@pytest.fixture
def arguments(tmp_path):
    return TrainingArguments(str(tmp_path), per_device_train_batch_size=16, bf16=True, use_cpu=True)


def filled(config: dict, arguments: TrainingArguments) -> dict:
    made = _Filled(config)
    made.trainer_config_process(arguments)
    width = SimpleNamespace(config=SimpleNamespace(hidden_size=4096))
    made.trainer_config_finalize(arguments, width, 10)
    return made.config


def test_nothing_is_left_to_fill_in_and_all_of_it_is_known(arguments):
    found = filled(json.loads(FILE.read_text()), arguments)
    assert found.keys() == TOP.keys()
    for known, values in ((TOP, found), (ZERO, found["zero_optimization"])):
        assert values.keys() <= known.keys()
        for name, value in values.items():
            assert type(value) is known[name], f"{name} = {value!r}"
    assert found["bf16"] == {"enabled": True}
    assert found["zero_optimization"]["reduce_bucket_size"] == 4096**2
    assert found["train_batch_size"] == 16


def test_a_file_that_contradicts_the_trainer_is_seen(arguments):
    wrong = json.loads(FILE.read_text()) | {"gradient_clipping": 5.0}
    with pytest.raises(ValueError, match="gradient_clipping"):
        filled(wrong, arguments)
