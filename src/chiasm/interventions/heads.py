"""Attention heads as a user names them: a cut, or an output zeroed, in one head (or group of heads) at a time.

`image->question@heads=all` stops question rows from attending to image columns in one head after the other, each a
variant of its own; `@heads=3,5` in these two, one by one; `@heads=groups` in all heads that read one key head, group by
group. `zero:heads@question` (`zero:heads=3,5@question`, `zero:heads=groups@question`) takes the outputs of heads away
from the question rows, likewise. Always in one layer at a time.
"""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from chiasm.core.errors import ChiasmError
from chiasm.interventions.named import Ablation, AttentionKnockout, Intervention
from chiasm.interventions.states import ABLATE
from chiasm.interventions.variants import BlockedAttention, Window, ZeroedHeads

if TYPE_CHECKING:  # positions are arrays, which parsing needs none of
    from chiasm.core.positions import Spans

HeadsKind = Literal["edges", "output"]
"""What is taken from a head: what some rows read of some columns, or all that it gives at some rows."""
Heads = tuple[int, ...] | Literal["all", "groups"]
ALL, GROUPS = "all", "groups"

_MARK: Final = "heads="
_ZERO: Final = "zero:heads"


class HeadSet(NamedTuple):
    """Query heads that are changed together: one, or those of a group that shares its keys. `number`: which."""

    number: int
    heads: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.heads[0]}" if len(self.heads) == 1 else f"{self.heads[0]}-{self.heads[-1]}"


@dataclass(frozen=True, slots=True)
class HeadKnockout:
    """Attention from one span to another, blocked in one head at a time. `text` names the rows of the results."""

    whole: AttentionKnockout
    heads: Heads
    text: str

    @property
    def kind(self) -> HeadsKind:
        return "edges"

    @property
    def spans(self) -> tuple[str, ...]:
        """The spans that it names."""
        return self.whole.spans

    def on(self, spans: "Spans", layer: int, heads: tuple[int, ...]) -> BlockedAttention:
        """This cut in `heads` of one layer, on one example's positions.

        **Errors:** `EmptySpanError` if a side has no positions here.
        """
        blocked = self.whole.on(spans, Window(layer, layer + 1, layer))
        return BlockedAttention(blocked.window, blocked.queries, blocked.keys, heads)


@dataclass(frozen=True, slots=True)
class HeadAblation:
    """What one head at a time gives, zero at a span. `text` names the rows of the results.

    Source: Michel et al. 2019, "Are Sixteen Heads Really Better than One?" (arXiv 1905.10650).
    """

    whole: Ablation
    heads: Heads
    text: str

    @property
    def kind(self) -> HeadsKind:
        return "output"

    @property
    def spans(self) -> tuple[str, ...]:
        """The span that it names."""
        return self.whole.spans

    def on(self, spans: "Spans", layer: int, heads: tuple[int, ...]) -> ZeroedHeads:
        """The output of `heads` of one layer, zero at one example's positions.

        **Errors:** `EmptySpanError` if the span has no positions here.
        """
        zeroed = self.whole.on(spans, Window(layer, layer + 1, layer))
        return ZeroedHeads(zeroed.window, heads, zeroed.positions)


HeadIntervention = HeadKnockout | HeadAblation


def names_heads(text: str) -> bool:
    """Whether the text of a `--cut` names heads."""
    # What is zeroed or replaced at a span has an `@` of its own.
    return text.startswith(_ZERO) or (not text.startswith(("zero:", ABLATE)) and "@" in text)


def parse_heads(text: str) -> HeadIntervention:
    """From `SOURCE->TARGET@heads=WHICH` or `zero:heads@SPAN`, where WHICH is `all`, `groups` or numbers.

    **Errors:** `ChiasmError` for text of neither form, or a head that is named twice.
    """
    if text.startswith(_ZERO):
        named, at, span = (part.strip() for part in text.removeprefix(_ZERO).partition("@"))
        if not at or not span or (named and not named.startswith("=")):
            raise _malformed(text, "zero:heads@SPAN or zero:heads=WHICH@SPAN", "zero:heads@last")
        which = _which(text, named.removeprefix("=")) if named else ALL
        return HeadAblation(Ablation("attention", span, f"zero:attention@{span}"), which, text)
    pair, _, which = (part.strip() for part in text.partition("@"))
    if not which.startswith(_MARK) or pair.startswith("mean:"):
        raise _malformed(text, "SOURCE->TARGET@heads=WHICH", "image->last@heads=all")
    return HeadKnockout(AttentionKnockout.parse(pair), _which(text, which.removeprefix(_MARK)), text)


def of_each_head(whole: Intervention) -> tuple[HeadIntervention, ...]:
    """Both changes of every head for a knockout: its edges cut, and its output zeroed at the target; none of others."""
    if not isinstance(whole, AttentionKnockout):
        return ()
    return parse_heads(f"{whole.text}@{_MARK}{ALL}"), parse_heads(f"{_ZERO}@{whole.target}")


def head_sets(change: HeadIntervention, heads: int, groups: int) -> tuple[HeadSet, ...]:
    """What is changed together, one after the other, in layers of `heads` query heads and `groups` key heads.

    **Errors:** `ChiasmError` for a head that is not there, and for groups where each head has keys of its own.
    """
    if change.heads == ALL:
        return tuple(HeadSet(head, (head,)) for head in range(heads))
    if change.heads == GROUPS:
        if groups == heads:
            found = f"each of its {heads} heads has keys of its own, so that no heads share any"
            raise ChiasmError(f"--cut {change.text}", found, f"Write {change.text.replace(GROUPS, ALL)}")
        size = heads // groups
        return tuple(HeadSet(g, tuple(range(g * size, (g + 1) * size))) for g in range(groups))
    missing = [head for head in change.heads if head >= heads]
    if missing:
        found = f"each layer of this model has heads 0 to {heads - 1}, and no head {missing[0]}"
        raise ChiasmError(f"--cut {change.text}", found, "Name heads that are there, or `all`")
    return tuple(HeadSet(head, (head,)) for head in change.heads)


def _which(text: str, named: str) -> Heads:
    if named in (ALL, GROUPS):
        return named
    if not re.fullmatch(r"\d+(\s*,\s*\d+)*", named):
        found = f"`{named}` is neither `all`, `groups` nor numbers of heads"
        raise ChiasmError(f"--cut {text}", found, "Write for example `heads=all` or `heads=3,5`")
    numbers = tuple(int(number) for number in named.split(","))
    if len(set(numbers)) < len(numbers):
        raise ChiasmError(f"--cut {text}", "a head is named twice", "Name every head once")
    return numbers


def _malformed(text: str, form: str, instance: str) -> ChiasmError:
    return ChiasmError(f"--cut {text}", f"it is not of the form {form}", f"Write for example `{instance}`")
