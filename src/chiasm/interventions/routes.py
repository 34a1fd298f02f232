"""Routes between the top-level spans of a prompt, and what closes all of them but some."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from chiasm.core.errors import ChiasmError, EmptySpanError
from chiasm.core.spans import TOP_LEVEL, require_known
from chiasm.interventions.variants import BlockedAttention, Window

if TYPE_CHECKING:  # positions are arrays, which parsing needs none of
    from chiasm.core.positions import Spans

_OPEN: Final = "prefix"
_LAYERS: Final = re.compile(r"(\d+)(?:-(\d+))?")


@dataclass(frozen=True, slots=True)
class Route:
    """Attention from a top-level span to another (unions `a+b` are several), in layers `start .. stop-1`; None: in all.

    What is never closed: attention within a span, and to the prefix, which stands before all that differs between
    examples and holds the usual attention sink.
    """

    source: str
    target: str
    layers: tuple[int, int] | None = None

    @classmethod
    def parse(cls, text: str) -> "Route":
        """From `SOURCE->TARGET` or `SOURCE->TARGET@layers=A-B` (both included)."""
        pair, at, rest = text.partition("@")
        source, arrow, target = (part.strip() for part in pair.partition("->"))
        asked, form = f"keep open only `{text}`", "SOURCE->TARGET or SOURCE->TARGET@layers=A-B"
        if not (arrow and source and target):
            raise ChiasmError(asked, f"it is not of the form {form}", "Write for example `image->question`")
        layers = None
        if at:
            found = _LAYERS.fullmatch(rest.strip().removeprefix("layers="))
            if not rest.strip().startswith("layers=") or found is None:
                todo = "Write for example `image->question@layers=0-3`"
                raise ChiasmError(asked, f"it is not of the form {form}", todo)
            first, last = int(found[1]), int(found[2] or found[1])
            if last < first:
                raise ChiasmError(asked, f"layer {last} stands before layer {first}", "Name the lower layer first")
            layers = (first, last + 1)
        route = cls(source, target, layers)
        for name in (*route.sources, *route.targets):
            require_known(asked, name)
            if name not in TOP_LEVEL:
                todo = f"Name top-level spans: {', '.join(TOP_LEVEL)}"
                raise ChiasmError(asked, f"`{name}` is a part of a span, and routes join whole ones", todo)
        shared = set(route.sources) & set(route.targets)
        if shared:
            found = f"`{sorted(shared)[0]}` stands on both sides, and attention within a span is never closed"
            raise ChiasmError(asked, found, "Name two different spans")
        if _OPEN in route.sources:
            found = f"attention to the {_OPEN} is never closed, so that it is open beside every set"
            raise ChiasmError(asked, found, "Leave it out")
        return route

    @property
    def sources(self) -> tuple[str, ...]:
        return tuple(part.strip() for part in self.source.split("+"))

    @property
    def targets(self) -> tuple[str, ...]:
        return tuple(part.strip() for part in self.target.split("+"))

    @property
    def text(self) -> str:
        """As it is typed."""
        return f"{self.source}->{self.target}{'' if self.layers is None else f'@layers={_between(*self.layers)}'}"

    def within(self, layers: int) -> Window:
        """Its layers in a decoder of `layers` layers.

        **Errors:** `ChiasmError` for layers that the decoder has not.
        """
        start, stop = self.layers or (0, layers)
        if stop > layers:
            found = f"the decoder has layers 0 to {layers - 1}"
            raise ChiasmError(f"keep open only `{self.text}`", found, "Name some of those")
        return Window(start, stop, start)

    def split(self) -> Iterator["Route"]:
        """The routes between two single spans that it is made of."""
        for source in self.sources:
            for target in self.targets:
                yield Route(source, target, self.layers)


def _between(start: int, stop: int) -> str:
    return f"{start}-{stop - 1}" if stop - start > 1 else str(start)


def pairs_of(spans: "Spans", *, causal: bool) -> list[tuple[str, str]]:
    """All pairs (source, target) of top-level spans between which anything may go in this example, in reading order.

    In a `causal` decoder a source stands before some of its target.
    """
    parts = _parts(spans)
    return [
        (source, target)
        for source in parts
        for target in parts
        if source not in (target, _OPEN) and (not causal or min(parts[source]) < max(parts[target]))
    ]


def require_routes(routes: Iterable[Route], spans: "Spans", *, causal: bool) -> None:
    """**Errors:** `EmptySpanError` for a route that this example does not have."""
    there, parts = pairs_of(spans, causal=causal), _parts(spans)
    for route in routes:
        for one in route.split():
            empty = [name for name in (one.source, one.target) if name not in parts]
            if empty:
                raise EmptySpanError(f"{one.text}: span `{empty[0]}` is empty in this example")
            if (one.source, one.target) not in there:
                raise EmptySpanError(
                    f"{one.text}: {one.source} stands behind {one.target}, which cannot see it; did you mean "
                    f"{one.target}->{one.source}?"
                )


def all_but(kept: Sequence[Route], spans: "Spans", layers: int, *, causal: bool) -> tuple[BlockedAttention, ...]:
    """What closes every route between top-level spans but those `kept`; empty where nothing is left to close.

    The tokens of a labelled answer are read with `last`.
    """
    parts, there = _parts(spans), pairs_of(spans, causal=causal)
    open_in = [(one.source, one.target, one.within(layers)) for route in kept for one in route.split()]
    changes = []
    for target, rows in parts.items():
        sources = [source for source, other in there if other == target]
        hidden = [
            tuple(s for s in sources if not any((s, target) == (a, b) and k in w for a, b, w in open_in))
            for k in range(layers)
        ]
        start = 0
        for stop in range(1, layers + 1):
            if stop < layers and hidden[stop] == hidden[start]:
                continue
            keys = sorted(position for source in hidden[start] for position in parts[source])
            if keys:
                changes.append(BlockedAttention(Window(start, stop, start), tuple(rows), tuple(keys)))
            start = stop
    return tuple(changes)


def _parts(spans: "Spans") -> dict[str, list[int]]:
    """The positions of every top-level span that this example has."""
    parts = {name: positions.tolist() for name, positions in spans.top_level().items()}
    if "answer" in spans and "last" in parts:
        parts["last"] = sorted({*parts["last"], *spans["answer"].tolist()})
    return parts
