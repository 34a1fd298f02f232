"""Attention cuts between named spans: `image->question` stops question rows from reading image columns."""

from dataclasses import dataclass

import numpy as np

from chiasm.core.errors import ChiasmError
from chiasm.core.spans import Spans
from chiasm.interventions.variant import KnockOut
from chiasm.interventions.windows import Window


@dataclass(frozen=True, slots=True)
class Cut:
    """Information route to close, by span names. `text` is kept as typed and names the rows of the results.

    Source: Zhang et al. 2025, section 3: for l in the window and every head, M[t, s] = -inf for t in the target and
    s in the source; the softmax renormalises over what remains.
    """

    source: str
    target: str
    text: str

    @classmethod
    def parse(cls, text: str) -> "Cut":
        """From `SOURCE->TARGET`, each a span, a sub-span, or a union `a+b`."""
        source, arrow, target = (part.strip() for part in text.partition("->"))
        if not (arrow and source and target):
            raise ChiasmError(
                f"cut `{text}`", "it is not of the form SOURCE->TARGET", "Write for example `image->question`"
            )
        return cls(source, target, text)

    def on(self, spans: Spans, window: Window) -> KnockOut:
        """This cut on one example's positions in the layers of `window`.

        **Errors:** `EmptySpanError` if a side has no positions here.
        """
        return KnockOut(window, _ints(spans.require(self.target)), _ints(spans.require(self.source)))


def _ints(positions: np.ndarray) -> tuple[int, ...]:
    return tuple(int(p) for p in positions)
