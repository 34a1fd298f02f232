"""Interventions as a user writes them, between or at named spans; `on` gives the change at one example's positions.

`image->question` stops question rows from attending to image columns; `zero:mlp@question` takes the feed-forward
output away from the question rows.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast, get_args

from chiasm.core.errors import ChiasmError
from chiasm.interventions.variants import BlockedAttention, Component, Window, ZeroedBranch

if TYPE_CHECKING:  # positions are arrays, which parsing needs none of
    from chiasm.core.positions import Spans

_ABLATION_PREFIX = "zero:"


@dataclass(frozen=True, slots=True)
class AttentionKnockout:
    """Attention from one span to another, blocked. `text` is kept as typed and names the rows of the results.

    Source: Zhang et al. 2025, section 3: for l in the window and every head, M[t, s] = -inf for t in the target and
    s in the source; the softmax renormalises over what remains.
    """

    source: str
    target: str
    text: str

    @classmethod
    def parse(cls, text: str) -> "AttentionKnockout":
        """From `SOURCE->TARGET`, each a span, a sub-span, or a union `a+b`."""
        source, arrow, target = (part.strip() for part in text.partition("->"))
        if not (arrow and source and target):
            raise ChiasmError(
                f"cut `{text}`", "it is not of the form SOURCE->TARGET", "Write for example `image->question`"
            )
        return cls(source, target, text)

    def on(self, spans: "Spans", window: Window) -> BlockedAttention:
        """This knockout on one example's positions in the layers of `window`.

        **Errors:** `EmptySpanError` if a side has no positions here.
        """
        target, source = spans.require(self.target), spans.require(self.source)
        return BlockedAttention(window, tuple(target.tolist()), tuple(source.tolist()))


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
        component, at, span = (part.strip() for part in text.removeprefix(_ABLATION_PREFIX).partition("@"))
        if not (text.startswith(_ABLATION_PREFIX) and at and span and component in get_args(Component)):
            raise ChiasmError(
                f"ablation `{text}`",
                "it is not of the form zero:COMPONENT@SPAN",
                "Write for example `zero:attention@question` or `zero:mlp@question`",
            )
        return cls(cast(Component, component), span, text)

    def on(self, spans: "Spans", window: Window) -> ZeroedBranch:
        """This ablation on one example's positions in the layers of `window`.

        **Errors:** `EmptySpanError` if the span has no positions here.
        """
        return ZeroedBranch(window, self.component, tuple(spans.require(self.span).tolist()))


Intervention = AttentionKnockout | Ablation


def parse_intervention(text: str) -> Intervention:
    """From the text of `--cut`: `SOURCE->TARGET` or `zero:COMPONENT@SPAN`.

    **Errors:** `ChiasmError` for text of neither form.
    """
    return Ablation.parse(text) if text.startswith(_ABLATION_PREFIX) else AttentionKnockout.parse(text)
