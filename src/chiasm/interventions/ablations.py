"""Ablations at named spans: `zero:mlp@question` takes the feed-forward output away from the question rows."""

from dataclasses import dataclass
from typing import get_args

from chiasm.core.errors import ChiasmError
from chiasm.core.spans import Spans
from chiasm.interventions.variant import Component, Zero
from chiasm.interventions.windows import Window

_PREFIX = "zero:"


@dataclass(frozen=True, slots=True)
class Ablation:
    """A branch whose output is zeroed at a span. `text` is kept as typed and names the rows of the results.

    Source: Zhang et al. 2025, released code (hooks on o_proj and down_proj at the question positions).
    """

    component: Component
    span: str
    text: str

    @classmethod
    def parse(cls, text: str) -> "Ablation":
        """From `zero:COMPONENT@SPAN`."""
        component, at, span = (part.strip() for part in text.removeprefix(_PREFIX).partition("@"))
        if not (text.startswith(_PREFIX) and at and span and component in get_args(Component)):
            raise ChiasmError(
                f"ablation `{text}`",
                "it is not of the form zero:COMPONENT@SPAN",
                "Write for example `zero:attention@question` or `zero:mlp@question`",
            )
        return cls(component, span, text)

    def on(self, spans: Spans, window: Window) -> Zero:
        """This ablation on one example's positions in the layers of `window`.

        **Errors:** `EmptySpanError` if the span has no positions here.
        """
        return Zero(window, self.component, tuple(int(p) for p in spans.require(self.span)))


def is_ablation(text: str) -> bool:
    """Whether `text` means an ablation, as opposed to a cut."""
    return text.startswith(_PREFIX)
