"""The names of the models with a pretrained decoder."""

from typing import Final

NAMES: Final = {
    "smollm2": "the tower of tiny on a frozen pretrained decoder, SmolLM2-135M-Instruct; needs two more packages",
    "smollm2@lora": "`smollm2` with adapters (LoRA, rank 8) in the decoder's attention, taught on scenes as well",
}
"""What each name is, in the words that `chiasm models` prints."""
