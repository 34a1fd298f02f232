"""Where a model came from, as far as the model itself no longer shows it."""

from dataclasses import dataclass
from typing import final


@final
@dataclass(frozen=True, slots=True)
class Origin:
    """How a model was loaded. `stored`: the dtype of most weights on disk, empty for one in memory.

    `own_processor`: the checkpoint says what its processor is; else transformers put one together from its parts.
    """

    stored: str = ""
    own_processor: bool = True
