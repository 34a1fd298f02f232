"""Interventions as a user writes them, between or at named spans; `on` gives the change at one example's positions.

`image->question` stops question rows from attending to image columns; `mean:image->question` lets them attend, but
to the mean of the image's states in place of each; `zero:mlp@question` takes the feed-forward output away from the
question rows. `ablate:mean@image` replaces the image's states (`interventions.states`).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast, get_args

from chiasm.core.errors import ChiasmError, EmptySpanError
from chiasm.interventions.states import ABLATE, StateAblation
from chiasm.interventions.variants import AveragedKeys, BlockedAttention, Component, Window, ZeroedBranch

if TYPE_CHECKING:  # positions are arrays, which parsing needs none of
    from chiasm.core.positions import Spans

_ABLATION_PREFIX = "zero:"
_MEAN_PREFIX = "mean:"


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
        source, target = _sides(text, text, "cut", "SOURCE->TARGET")
        return cls(source, target, text)

    @property
    def spans(self) -> tuple[str, ...]:
        """The spans that it names."""
        return self.source, self.target

    def on(self, spans: "Spans", window: Window) -> BlockedAttention:
        """This knockout on one example's positions in the layers of `window`.

        **Errors:** `EmptySpanError` if a side has no positions here.
        """
        target, source = spans.require(self.target), spans.require(self.source)
        return BlockedAttention(window, tuple(target.tolist()), tuple(source.tolist()))


@dataclass(frozen=True, slots=True)
class MeanAblation:
    """What one span reads of another, averaged: every source state is replaced by the mean over the source.

    All source positions can still be attended to, and only their places distinguish them. What is lost so is lost
    although nothing was blocked; what only the knockout of the same pair loses may be what the mean still holds, or
    the blocking itself.
    """

    source: str
    target: str
    text: str

    @classmethod
    def parse(cls, text: str) -> "MeanAblation":
        """From `mean:SOURCE->TARGET`."""
        source, target = _sides(pair_of(text), text, "mean ablation", "mean:SOURCE->TARGET")
        return cls(source, target, text)

    @property
    def spans(self) -> tuple[str, ...]:
        """The spans that it names."""
        return self.source, self.target

    def on(self, spans: "Spans", window: Window) -> AveragedKeys:
        """This ablation on one example's positions in the layers of `window`.

        **Errors:** `EmptySpanError` if a side has no positions here, or the source only one; `ChiasmError` if the two
        share positions.
        """
        target, source = spans.require(self.target).tolist(), spans.require(self.source).tolist()
        if not set(target).isdisjoint(source):
            found = f"`{self.source}` and `{self.target}` share positions"
            raise ChiasmError(
                f"the mean ablation `{self.text}`", found, "Name two spans apart, as mean:image->question"
            )
        if len(source) < 2:
            raise EmptySpanError(f"span `{self.source}` is one position here, which is its own mean")
        return AveragedKeys(window, tuple(target), tuple(source))


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

    @property
    def spans(self) -> tuple[str, ...]:
        """The spans that it names."""
        return (self.span,)

    def on(self, spans: "Spans", window: Window) -> ZeroedBranch:
        """This ablation on one example's positions in the layers of `window`.

        **Errors:** `EmptySpanError` if the span has no positions here.
        """
        return ZeroedBranch(window, self.component, tuple(spans.require(self.span).tolist()))


Intervention = AttentionKnockout | MeanAblation | Ablation | StateAblation


def parse_intervention(text: str) -> Intervention:
    """From the text of `--cut`: `SOURCE->TARGET`, `mean:SOURCE->TARGET`, `zero:COMPONENT@SPAN` or `ablate:METHOD@SPAN`.

    **Errors:** `ChiasmError` for text of none of these forms.
    """
    if text.startswith(ABLATE):
        return StateAblation.parse(text)
    if text.startswith(_ABLATION_PREFIX):
        return Ablation.parse(text)
    return MeanAblation.parse(text) if text.startswith(_MEAN_PREFIX) else AttentionKnockout.parse(text)


def pair_of(text: str) -> str:
    """`SOURCE->TARGET` of a knockout or a mean ablation; an ablation's text as it is."""
    return text.removeprefix(_MEAN_PREFIX)


def _sides(pair: str, text: str, what: str, form: str) -> tuple[str, str]:
    """Source and target of `SOURCE->TARGET`."""
    source, arrow, target = (part.strip() for part in pair.partition("->"))
    if not (arrow and source and target):
        example = form.replace("SOURCE", "image").replace("TARGET", "question")
        raise ChiasmError(f"{what} `{text}`", f"it is not of the form {form}", f"Write for example `{example}`")
    return source, target
