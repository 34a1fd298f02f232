"""The fewest routes that suffice: others are closed while little is lost; judged on examples that did not choose.

Closing from all open (and not opening from all closed) finds routes that need each other: an image that reaches the
question is of no use before the question reaches the answer.
"""

import hashlib
import logging
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Final, NamedTuple, final

import numpy as np
import polars as pl
from jaxtyping import Bool, Float

from chiasm.core.errors import ChiasmError, ExampleError
from chiasm.core.example import Example
from chiasm.core.interruption import require_uninterrupted
from chiasm.core.schema import TableSchema
from chiasm.interventions import BlockedAttention, Variant, Window
from chiasm.interventions.routes import Route, all_but, pairs_of
from chiasm.models.encoded import Encoded
from chiasm.models.encoding.encode import only_this_example
from chiasm.models.executors.jobs import Executor, Job, Readout
from chiasm.models.view import ModelView
from chiasm.results.kept_parts import KeptParts
from chiasm.results.rundir import RunDirectory
from chiasm.studies.flow.spec import FlowSpec
from chiasm.studies.flow.sufficiency import require_closable
from chiasm.studies.flow.sufficiency_rows import is_right, sufficiency_row
from chiasm.studies.flow.tables import CHOOSING, JUDGING, OPEN, RANDOM, SEARCH, SUFFICIENCY

_log = logging.getLogger("chiasm")
_ASKED: Final = "search the routes that suffice"

_MEASURED: Final = ("example_id", "target_token_id", "logprob_clean", "logprob_kept", "right_clean", "right_kept")
_WALKED: Final = TableSchema("walked", tuple(SUFFICIENCY.column(name) for name in _MEASURED))
"""What the walks of a batch gave, a row for each example and set of routes: an interrupted search goes on from it."""

Sets = Sequence[frozenset[int]]
"""Sets of open routes, by number."""


class Closing(NamedTuple):
    """A route that was closed, or kept: in which round, and the mean loss when it was closed beside those before."""

    route: int
    round: int
    loss: float
    kept: bool


class _Outcome(NamedTuple):
    """Of one example: target token, log-probability and rightness untouched, and with each set of routes open."""

    example: Example
    target: int
    clean: float
    right_clean: bool
    kept: Float[np.ndarray, " k"]
    right: Bool[np.ndarray, " k"]

    def rows(self) -> pl.DataFrame:
        """Itself as rows of what is kept of a walk."""
        each = {"logprob_kept": self.kept, "right_kept": self.right}
        same = {"example_id": self.example.id, "target_token_id": self.target}
        same |= {"logprob_clean": self.clean, "right_clean": self.right_clean}
        return pl.DataFrame(each).with_columns(**{name: pl.lit(value) for name, value in same.items()})

    @classmethod
    def of(cls, example: Example, rows: pl.DataFrame) -> "_Outcome":
        """What `rows` gave."""
        first = rows.row(0, named=True)
        measured = first["target_token_id"], first["logprob_clean"], first["right_clean"]
        return cls(example, *measured, rows["logprob_kept"].to_numpy(), rows["right_kept"].to_numpy())


Losses = Callable[[Sets], Float[np.ndarray, " k"]]


def close_greedily(count: int, losses: Losses, most: float) -> list[Closing]:
    """Which of `count` routes are closed, in their order, and behind them those that are kept, the least needed first.

    In every round each open route is closed alone; then, from the one that costs least on, one more at a time, at most
    half of those that are open. As many stay closed as cost no more than `most` together. The last round closes none:
    no single route of those kept can be closed as well. `losses`: the mean loss with each set of routes open.
    """
    opened, done, number = list(range(count)), [], 0
    while opened:
        number += 1
        alone = losses([frozenset(opened) - {route} for route in opened])
        order = [opened[k] for k in np.argsort(alone, kind="stable")]
        loss = dict(zip(opened, alone.tolist(), strict=True))
        nested = [frozenset(opened) - set(order[:size]) for size in range(1, (len(order) + 1) // 2 + 1)]
        fits = losses(nested) <= most
        closed = len(fits) if fits.all() else int(np.argmin(fits))
        _log.info("Sufficient routes: round %d closes %d of %d.", number, closed, len(opened))
        if not closed:
            return done + [Closing(route, number, loss[route], kept=True) for route in order]
        done += [Closing(route, number, loss[route], kept=False) for route in order[:closed]]
        opened = [route for route in opened if route not in order[:closed]]
    return done


@final
class RouteSearch:
    """The search on `examples`, which are followed. `encode` and `forms` as the run itself reads them.

    `walked`: what walks have given already, and where they are kept.
    """

    def __init__(
        self,
        spec: FlowSpec,
        view: ModelView,
        examples: Sequence[Example],
        inputs: Sequence[str],
        executor: Executor,
        encode: Callable[[Example], Encoded],
        forms: Callable[[Example], dict[str, int]],
        walked: KeptParts,
    ) -> None:
        require_closable(_ASKED, view.kinds)
        if len(set(inputs)) < 2:
            found = f"{len(examples)} examples with {len(set(inputs))} different input are followed"
            raise ChiasmError(_ASKED, found, "Give --sufficient at least 2, and more examples")
        if spec.bands > view.n_layers:
            raise ChiasmError(f"--bands {spec.bands}", f"the model has {view.n_layers} layers", "Give fewer")
        self.spec, self.view, self.examples, self.executor = spec, view, list(examples), executor
        self._encode, self._forms, self._kept = encode, forms, walked
        self.halves = halves(inputs, spec.seed)
        self.routes = self._universe()

    def rows(self) -> dict[str, list[dict[str, Any]]]:
        """Rows of the tables `sufficiency` and `sufficient_routes`."""
        choosing = [one for one, half in zip(self.examples, self.halves, strict=True) if half == CHOOSING]
        losses, most = partial(self._losses, choosing), self.spec.sufficient_loss
        closings = close_greedily(len(self.routes), losses, most)
        order = [one.route for one in closings]
        rows: dict[str, list[dict[str, Any]]] = {"sufficiency": [], "sufficient_routes": []}
        roles: dict[str, Callable[[Example], list[int]]] = {OPEN: lambda example: order}
        if self.spec.controls:
            roles[RANDOM] = self._random_order
        half_of = {example.id: half for example, half in zip(self.examples, self.halves, strict=True)}
        sizes = range(len(order) + 1)
        for role, order_of in roles.items():
            for one in self._evaluated(self.examples, partial(_nested, order_of)):
                columns = {"routes": SEARCH, "open": role, "half": half_of[one.example.id]}
                rows["sufficiency"] += [
                    sufficiency_row(
                        one.example,
                        columns | {"size": size},
                        one.target,
                        (one.clean, float(one.kept[size])),
                        (one.right_clean, bool(one.right[size])),
                    )
                    for size in sizes
                ]
        for place, one in enumerate(closings, 1):
            route = self.routes[one.route]
            window = route.within(self.view.n_layers)
            named = {"route": route.text, "start": window.start, "stop": window.stop, "closed": place}
            rows["sufficient_routes"].append(
                named | {"kept": one.kept, "loss": one.loss, "round": one.round, "n": len(choosing)}
            )
        return rows

    def _universe(self) -> list[Route]:
        """Every pair of top-level spans that any of the examples has, in every band of layers."""
        pairs: dict[tuple[str, str], None] = {}
        for _, encoded in self._encoded(self.examples):
            pairs |= dict.fromkeys(pairs_of(encoded.spans, causal=self.view.family.causal))
        parts = np.array_split(np.arange(self.view.n_layers), self.spec.bands)
        return [Route(*pair, (int(part[0]), int(part[-1]) + 1)) for pair in pairs for part in parts]

    def _random_order(self, example: Example) -> list[int]:
        """All routes in an order of the example's own, so that means over examples are means over random sets."""
        rng = np.random.default_rng([self.spec.seed, zlib.crc32(example.id.encode()), zlib.crc32(b"sufficient")])
        return rng.permutation(len(self.routes)).tolist()

    def _losses(self, examples: Sequence[Example], sets: Sets) -> Float[np.ndarray, " k"]:
        """The mean loss with each set open; gains count as none, so that they make up for no loss."""
        found = self._evaluated(examples, lambda example: sets)
        if not found:
            raise ChiasmError(_ASKED, "none of the examples that choose can be computed", "Give more examples")
        return np.mean([np.maximum(0.0, one.clean - one.kept) for one in found], axis=0)

    def _evaluated(self, examples: Sequence[Example], sets_of: Callable[[Example], Sets]) -> list[_Outcome]:
        """What is left of each example with each of its sets open: one walk per example, unless it is kept."""
        found: list[_Outcome] = []
        known = {example.id: example for example in examples}
        for start in range(0, len(examples), self.spec.batch):
            batch = {example.id: sets_of(example) for example in examples[start : start + self.spec.batch]}
            what = [[name, [sorted(opened) for opened in sets]] for name, sets in batch.items()]
            if (rows := self._kept.get(what)) is not None:
                found += [_Outcome.of(known[part["example_id"][0]], part) for part in _by_example(rows)]
                continue
            ready = [(one, encoded, batch[one.id]) for one, encoded in self._encoded([known[name] for name in batch])]
            if walked := self._walked(ready) if ready else []:
                self._kept.keep(what, pl.concat(one.rows() for one in walked))
            found += walked
        return found

    def _walked(self, batch: Sequence[tuple[Example, Encoded, Sets]]) -> list[_Outcome]:
        require_uninterrupted()
        jobs, places = [], []
        for _, encoded, sets in batch:
            job, at = self._job(encoded, sets)
            jobs.append(job)
            places.append(at)
        found = []
        for (example, encoded, _), at, result in zip(batch, places, self.executor.run(self.view, jobs), strict=True):
            if isinstance(result, ExampleError):
                _log.warning("Sufficient routes: %s is left out: %s", example.id, result)
                continue
            forms, answer = self._forms(example), encoded.answer_tokens
            # The no-op stands first: in half precision the untouched value is that of the same walk.
            clean = float((result.logprobs[0] if self.view.precision.half else result.clean).mean())
            kept = np.array([float(result.logprobs[k].mean()) if k else clean for k in at])
            right = np.array([is_right(result.top[k].tolist(), forms, answer) for k in at])
            untouched = is_right(result.top[0].tolist(), forms, answer)
            found.append(_Outcome(example, int(result.tokens[0]), clean, untouched, kept, right))
        return found

    def _job(self, encoded: Encoded, sets: Sets) -> tuple[Job, list[int]]:
        """One walk, and which of its variants each set is; equal ones are computed once, all open is the no-op."""
        layers, causal, last = self.view.n_layers, self.view.family.causal, int(encoded.spans.require("last")[-1])
        window = Window(0, layers, layers // 2)
        changes: dict[tuple[BlockedAttention, ...], int] = {(BlockedAttention(window, (last,), ()),): 0}
        places = []
        for opened in sets:
            kept = [self.routes[k] for k in sorted(opened)]
            closed = all_but(kept, encoded.spans, layers, causal=causal)
            places.append(changes.setdefault(closed, len(changes)) if closed else 0)
        variants = tuple(Variant("no-op" if not k else f"routes {k}", own) for own, k in changes.items())
        tokens = encoded.answer_tokens
        read = (last, *(int(p) for p in encoded.spans["answer"][:-1])) if tokens else (last,)
        return Job(encoded, variants, Readout(read, tokens or None)), places

    def _encoded(self, examples: Sequence[Example]) -> Iterator[tuple[Example, Encoded]]:
        for example in examples:
            try:
                with only_this_example():
                    encoded = self._encode(example)
            except ExampleError as error:
                _log.warning("Sufficient routes: %s is left out: %s", example.id, error)
                continue
            yield example, encoded


def searched_rows(
    spec: FlowSpec,
    view: ModelView,
    examples: Sequence[Example],
    directory: RunDirectory,
    executor: Executor,
    encode: Callable[[Example], Encoded],
    forms: Callable[[Example], dict[str, int]],
) -> dict[str, list[dict[str, Any]]]:
    """The rows of the search on the first `--sufficient` of `examples` that `directory` has followed, if any."""
    if not spec.sufficient or directory.complete or "examples" not in directory.tables():
        return {}
    followed = directory.table("examples").head(spec.sufficient)
    wanted = set(followed["example_id"])
    names, inputs = followed["example_id"].to_list(), followed["input"].to_list()
    _log.info("Searching the routes that suffice, on %d examples.", len(names))
    known = {example.id: example for example in examples if example.id in wanted}
    with KeptParts(directory, "search", _WALKED) as walked:
        chosen = [known[name] for name in names]
        return RouteSearch(spec, view, chosen, inputs, executor, encode, forms, walked).rows()


def _by_example(rows: pl.DataFrame) -> list[pl.DataFrame]:
    return rows.partition_by("example_id", maintain_order=True)


def _nested(order_of: Callable[[Example], list[int]], example: Example) -> Sets:
    """The sets of 0, 1, 2 ... routes that are open last, where they are closed in this order."""
    order = order_of(example)
    return [frozenset(order[len(order) - size :]) for size in range(len(order) + 1)]


def halves(inputs: Sequence[str], seed: int) -> list[str]:
    """Which half every example belongs to: inputs in the order of a keyed hash by turns, so that questions on one image
    stay together and neither half is larger by more than one input.
    """
    key = f"sufficient/{seed}".encode()

    def mark(name: str) -> bytes:
        text = name.encode("utf-8", "surrogatepass")
        return hashlib.blake2b(text, digest_size=16, key=key).digest() + text

    ranked = sorted(set(inputs), key=mark)
    half = {name: (CHOOSING, JUDGING)[place % 2] for place, name in enumerate(ranked)}
    return [half[name] for name in inputs]
