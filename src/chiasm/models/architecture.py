"""Which of transformers' automatic classes opens a checkpoint, and as what."""

from typing import Any, Final

from transformers import (
    MODEL_FOR_MULTIMODAL_LM_MAPPING,
    MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING,
    AutoModelForMultimodalLM,
    AutoModelForSeq2SeqLM,
)

# Some models that hear and write by one decoder (AudioFlamingo3) are filed under the older name alone.
_AUTOMATIC: Final = (
    (AutoModelForMultimodalLM, MODEL_FOR_MULTIMODAL_LM_MAPPING),
    (AutoModelForSeq2SeqLM, MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING),
)


def automatic_class(config: Any) -> Any:
    """The automatic class that knows `config`; that of multimodal models where none does (code of its own)."""
    return next((opener for opener, known in _AUTOMATIC if type(config) in known), AutoModelForMultimodalLM)


def model_class(config_class: type) -> Any:
    """The class that answers for configurations of `config_class`; None for one that transformers does not map."""
    for _, known in _AUTOMATIC:
        # What a mapping answers for is not always `in` it (Evolla).
        try:
            return known[config_class]
        except KeyError:
            continue
    return None
