"""`smollm2`: a LLaVA on a pretrained decoder, SmolLM2-135M-Instruct, frozen or with adapters, and `tiny`'s tower."""

from chiasm.smollm2.names import NAMES
from chiasm.smollm2.store import directory

__all__ = ["NAMES", "directory"]
