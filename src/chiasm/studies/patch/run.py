"""Activation patching: give a part of one run the states of another at one layer, and see whose answer comes out.

Source: Meng et al. 2022, "Locating and Editing Factual Associations in GPT" (arXiv 2202.05262), section 2; directions
and measures: Zhang & Nanda 2024 (arXiv 2309.16042).
"""

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from chiasm.core.errors import ChiasmError, ExampleError
from chiasm.core.example import Example, require_usable
from chiasm.data.scoring import correct
from chiasm.interventions import Site
from chiasm.measures.base import RowsByTable
from chiasm.models.encoded import Encoded
from chiasm.models.executors.jobs import Executor, Job, JobResult
from chiasm.models.executors.lockstep import LockstepExecutor
from chiasm.models.generation import generate
from chiasm.models.view import ModelView
from chiasm.models.words import text_of
from chiasm.results import images
from chiasm.results.rundir import RunDirectory
from chiasm.results.schemas import RANDOM_WEIGHTS
from chiasm.runners.driver import Computed
from chiasm.runners.examples import Work, run_examples
from chiasm.studies.inputs import (
    Inputs,
    example_row,
    executor_of,
    for_preparing,
    keep_thumbnails,
    load_inputs,
    model_of,
    random_models,
    read_examples,
    require_same_depth,
    with_defaults,
)
from chiasm.studies.options import data_name
from chiasm.studies.patch import STUDY
from chiasm.studies.patch.pairs import Pairs
from chiasm.studies.patch.plan import EncodedPair, PairPlan, clean_plan, plan
from chiasm.studies.patch.rows import PairResult, least_gap, pair_rows
from chiasm.studies.patch.screen import Screen, screen_rows, screened
from chiasm.studies.patch.spec import SITES, PatchSpec
from chiasm.studies.patch.tables import SAME_ANSWER, SHUFFLED

_LANES = 4
"""Runs of a pair at most: its own, the donor's, and two that controls take states from."""


class PatchExample(NamedTuple):
    """A pair ready to compute; `place`: of the example in the run. `baseline`: encoded for random weights."""

    place: int
    example: Example
    donor: Example
    pair: EncodedPair
    baseline: EncodedPair | None
    skipped: tuple[tuple[str, str], ...]


class WithoutPair(NamedTuple):
    """An example that has no pair, and why."""

    example_id: str
    reason: str


class _Kept(NamedTuple):
    """A pair that is computed: the first tokens of both answers, and what is run."""

    item: PatchExample
    tokens: tuple[int, int]
    plan: PairPlan
    skipped: list[tuple[str, str]]
    screen: Screen | None = None


class PatchWork(Work[PatchExample | WithoutPair]):
    """The rows of `spec`, a batch of pairs at a time; both runs of a pair are computed together."""

    def __init__(self, spec: PatchSpec, inputs: Inputs, executor: Executor) -> None:
        self.spec, self.view, self.executor = spec, inputs.view, executor
        scenes = data_name(spec.data) == "scenes"
        self.pairs = Pairs(inputs.examples, spec.pairs, spec.seed, controls=spec.controls, scenes=scenes)
        baseline = inputs.baseline if spec.controls else None
        self.baselines = [] if baseline is None else random_models(baseline, spec.baseline, spec.random_models)
        self.seconds = {"answers": 0.0, "patches": 0.0, "random weights": 0.0}
        self._preparing = for_preparing(self.view)
        self._preparing_baseline = for_preparing(baseline) if baseline else None

    def prepare(self, index: int, example: Example) -> PatchExample | WithoutPair:
        skipped: list[tuple[str, str]] = []
        try:
            found = self.pairs.of(example)
        except ExampleError as error:
            return WithoutPair(example.id, str(error))

        def encoded(view: ModelView, one: Example, what: str) -> Encoded:
            try:
                require_usable(one)
                return view.encode(one, instruction=self.spec.instruction)
            except ExampleError as error:
                raise ExampleError(f"{what} `{one.id}`: {error}") from error

        own = self._preparing.encode(example, instruction=self.spec.instruction)
        pair = EncodedPair(own, encoded(self._preparing, found.donor, "its donor"), found.how)
        others = {"like_own": found.like_own, "like_donor": found.like_donor, "unrelated": found.unrelated}
        for name, other in others.items():
            if other is not None:
                control = SHUFFLED if name == "unrelated" else SAME_ANSWER
                try:
                    pair = pair._replace(**{name: encoded(self._preparing, other, control)})
                except ExampleError as error:
                    skipped.append((example.id, str(error)))
        baseline = None
        if self._preparing_baseline is not None:
            view = self._preparing_baseline
            own, donor = (encoded(view, one, "random weights") for one in (example, found.donor))
            baseline = EncodedPair(own, donor, found.how)
        return PatchExample(index, example, found.donor, pair, baseline, tuple(skipped))

    def compute(self, prepared: Sequence[PatchExample | WithoutPair]) -> Computed:
        started = time.perf_counter()
        left_out = [(item.example_id, item.reason) for item in prepared if isinstance(item, WithoutPair)]
        failures: list[tuple[str, str]] = []
        right = self._right([item for item in prepared if isinstance(item, PatchExample)], left_out)
        kept = self._planned(right, left_out, failures)
        answered = time.perf_counter()
        rows: RowsByTable = defaultdict(list)
        skipped: list[tuple[str, str]] = []
        outcomes = self._run(self.view, [(one.plan, one.tokens) for one in kept])
        done = []
        for one, outcome in zip(kept, outcomes, strict=True):
            if isinstance(outcome, ExampleError):
                failures.append((one.item.example.id, str(outcome)))
                continue
            found = self._result(one.item, one.tokens, one.plan, outcome)
            rows["examples"].append(example_row(one.item.example))
            rows["pairs"].append(found.row(self._texts(self.view, one.tokens)))
            pair_rows(rows, one.plan, found)
            if one.screen is not None:
                rows["screen"] += _screened(one.screen, rows.pop("sampled", []), one.item, found)
            skipped += one.skipped
            done.append(one.item)
        patched = time.perf_counter()
        for sample, view in enumerate(self.baselines):
            own = [one for one in done if self._sample(one.example) == sample]
            skipped += self._baseline_rows(rows, view, sample, own)
        for name, (start, stop) in {
            "answers": (started, answered),
            "patches": (answered, patched),
            "random weights": (patched, time.perf_counter()),
        }.items():
            self.seconds[name] += stop - start
        return Computed({name: found for name, found in rows.items() if found}, failures, left_out, len(done), skipped)

    def _right(self, prepared: Sequence[PatchExample], left_out: list[tuple[str, str]]) -> list[PatchExample]:
        """The pairs to follow: all, or those of which the model answers both examples as they are labelled; adds the
        others to the list."""
        if self.spec.keep == "all" or not prepared:
            return list(prepared)
        answers = generate(self.view, [one for item in prepared for one in (item.pair.own, item.pair.donor)])
        kept = []
        for k, item in enumerate(prepared):
            own, donor = answers[2 * k : 2 * k + 2]
            if not correct(own.text, item.example.answer):
                left_out.append((item.example.id, f"answered {own.text!r} instead of {item.example.answer!r}"))
            elif item.donor.answer and not correct(donor.text, item.donor.answer):
                left_out.append((item.example.id, f"its donor was answered wrongly, {donor.text!r}"))
            else:
                kept.append(item)
        return kept

    def _planned(
        self, items: Sequence[PatchExample], left_out: list[tuple[str, str]], failures: list[tuple[str, str]]
    ) -> list[_Kept]:
        """What is run for every pair whose answers begin differently; adds the others to the lists."""
        tokens = self._first_tokens(self.view, [item.pair for item in items])
        kept = []
        for item, first in zip(items, tokens, strict=True):
            name, skipped = item.example.id, list(item.skipped)
            own, donor = first["own"], first["donor"]
            if isinstance(own, ExampleError) or isinstance(donor, ExampleError):
                failures.append((name, str(own) if isinstance(own, ExampleError) else f"its donor: {donor}"))
                continue
            if own == donor:
                (text, _) = self._texts(self.view, (own, donor))
                left_out.append((name, f"both runs are answered alike, beginning with {text!r}"))
                continue
            pair = item.pair
            for control, wanted in (("like_own", own), ("like_donor", donor), ("unrelated", None)):
                found = first.get(control)
                if found is None:
                    continue
                if isinstance(found, ExampleError) or wanted not in (None, found):
                    reason = found if isinstance(found, ExampleError) else "the model gives another answer there"
                    skipped.append((name, f"{SAME_ANSWER if wanted is not None else SHUFFLED}: {reason}"))
                    pair = pair._replace(**{control: None})
            try:
                screen = self._screen(item, own)
                planned = self._plan(self.spec, self.view, item, pair, screen)
            except ExampleError as error:
                failures.append((name, str(error)))
                continue
            kept.append(_Kept(item, (own, donor), planned, [*skipped, *planned.skipped], screen))
        return kept

    def _screen(self, item: PatchExample, token: int) -> Screen | None:
        """What the gradient says of the pair, where that is asked for."""
        if item.place >= self.spec.screen:
            return None
        sites: list[Site] = [site for site in SITES if site in self.spec.sites]
        return screened(self.view, self.executor, item.pair, token, sites, self.spec.directions)

    @staticmethod
    def _plan(
        spec: PatchSpec, view: ModelView, item: PatchExample, pair: EncodedPair, screen: Screen | None = None
    ) -> PairPlan:
        half, sampled = view.precision.half, None
        if screen is not None:
            sampled = {name: screen.sample(name, spec.seed, item.example.id) for name in spec.directions}
        return plan(spec, view.kinds, item.place, item.example, pair, half=half, sampled=sampled)

    def _first_tokens(self, view: ModelView, pairs: Sequence[EncodedPair]) -> list[dict[str, int | ExampleError]]:
        """The first token of the answer in every run of every pair, by what the run is."""
        names = ("own", "donor", "like_own", "like_donor", "unrelated")
        runs = [(k, name, one) for k, pair in enumerate(pairs) for name in names if (one := _run_of(pair, name))]
        results = self.executor.run(view, [Job(one, ()) for _, _, one in runs]) if runs else []
        found: list[dict[str, int | ExampleError]] = [{} for _ in pairs]
        for (k, name, _), result in zip(runs, results, strict=True):
            found[k][name] = result if isinstance(result, ExampleError) else int(result.tokens[0])
        return found

    def _run(
        self, view: ModelView, plans: Sequence[tuple[PairPlan, tuple[int, int]]]
    ) -> list[tuple[JobResult, JobResult] | ExampleError]:
        """What comes out of both runs of every pair, in order; pairs of one kind are computed together."""
        kinds: dict[Any, list[int]] = {}
        for place, (one, _) in enumerate(plans):
            kinds.setdefault(one.kind, []).append(place)
        found: dict[int, tuple[JobResult, JobResult] | ExampleError] = {}
        for places in kinds.values():
            jobs = [side.job(plans[k][1]) for k in places for side in (plans[k][0].own, plans[k][0].donor)]
            results = self.executor.run(view, jobs)
            for place, own, donor in zip(places, results[::2], results[1::2], strict=True):
                if isinstance(own, ExampleError):
                    found[place] = own
                elif isinstance(donor, ExampleError):
                    found[place] = ExampleError(f"its donor: {donor}")
                else:
                    found[place] = own, donor
        return [found[place] for place in range(len(plans))]

    def _result(
        self, item: PatchExample, tokens: tuple[int, int], planned: PairPlan, outcome: tuple[JobResult, JobResult]
    ) -> PairResult:
        least = least_gap(planned, *outcome, self.spec.smallest_gap)
        return PairResult(item.example, item.donor.id, item.pair.how, tokens, *outcome, least)

    def _baseline_rows(
        self, rows: RowsByTable, view: ModelView, sample: int, items: Sequence[PatchExample]
    ) -> list[tuple[str, str]]:
        """Append what a model with random weights shows: the gap of every pair, and patches where there is one."""
        control, skipped = {"control": RANDOM_WEIGHTS, "sample": sample}, []
        pairs = [item.baseline for item in items if item.baseline is not None]
        if not pairs:
            return []
        bare = replace(self.spec, controls=False, knockouts=False, tokens=0, screen=0)
        planned, chosen = [], []
        for item, pair, first in zip(items, pairs, self._first_tokens(view, pairs), strict=True):
            own, donor = first["own"], first["donor"]
            if isinstance(own, ExampleError) or isinstance(donor, ExampleError):
                skipped.append(
                    (item.example.id, f"{RANDOM_WEIGHTS}: {own if isinstance(own, ExampleError) else donor}")
                )
                continue
            try:
                # Without another answer there is no gap to take shares of, and the clean runs say all.
                one = clean_plan(pair) if own == donor else self._plan(bare, view, item, pair)
            except ExampleError as error:
                skipped.append((item.example.id, f"{RANDOM_WEIGHTS}: {error}"))
                continue
            planned.append((one, (own, donor)))
            chosen.append(item)
        for item, (one, tokens), outcome in zip(chosen, planned, self._run(view, planned), strict=True):
            if isinstance(outcome, ExampleError):
                skipped.append((item.example.id, f"{RANDOM_WEIGHTS}: {outcome}"))
                continue
            found = self._result(item, tokens, one, outcome)
            rows["pairs_controls"].append(found.row(self._texts(view, tokens)) | control)
            if tokens[0] != tokens[1]:
                own_rows: RowsByTable = defaultdict(list)
                pair_rows(own_rows, one, found)
                rows["controls"] += [row | control for row in own_rows["effects"]]
        return skipped

    def _sample(self, example: Example) -> int:
        """Which of the random-weights models an example is given to; it depends on the example and the seed alone."""
        return model_of(example.id, self.spec.seed, len(self.baselines))

    @staticmethod
    def _texts(view: ModelView, tokens: tuple[int, int]) -> tuple[str, str]:
        own, donor = (text_of(view.tokenizer, [token]).strip() for token in tokens)
        return own, donor


def _screened(
    screen: Screen, sampled: Sequence[dict[str, Any]], item: PatchExample, found: PairResult
) -> list[dict[str, Any]]:
    """The rows of the table `screen` of one pair."""
    exact = {(one["direction"], one["site"], one["layer"], one["position"]): one["exact"] for one in sampled}
    rows = screen_rows(screen, item.pair.own, found.gap, found.least, exact)
    return [found.columns | row for row in rows]


def _run_of(pair: EncodedPair, name: str) -> Encoded | None:
    return {
        "own": pair.own,
        "donor": pair.donor,
        "like_own": pair.like_own,
        "like_donor": pair.like_donor,
        "unrelated": pair.unrelated,
    }[name]


def compute(spec: PatchSpec) -> RunDirectory:
    """The run of `spec`: what its directory already holds is not computed again.

    **Errors:** `ChiasmError` for a baseline of another depth, or if no pair is left.
    """
    spec = with_defaults(spec)
    inputs = load_inputs(spec, read_examples(spec, spec.data))
    _require_windows(spec, inputs.view.n_layers)
    return STUDY.completed(spec, inputs.facts, lambda directory: _fill(directory, spec, inputs))


def _require_windows(spec: PatchSpec, layers: int) -> None:
    if spec.window >= 2 * layers:
        found = f"each window takes in all {layers} layers of this model"
        raise ChiasmError(f"--window {spec.window}", found, "Give 1, which tells layers apart")


def _fill(directory: RunDirectory, spec: PatchSpec, inputs: Inputs) -> None:
    view, examples = inputs.view, inputs.examples
    require_same_depth(view, inputs.baseline)
    executor = executor_of(spec.executor, spec.memory, _LANES * spec.batch)
    work = PatchWork(spec, inputs, executor)
    run_examples(work, examples, directory, spec.batch, "patch")
    directory.take_turn()
    facts: dict[str, Any] = {"seconds": {name: round(value, 3) for name, value in work.seconds.items()}}
    if isinstance(executor, LockstepExecutor):
        guard = executor.guard
        facts["guard"] = {"seconds": round(guard.seconds, 3), "largest": guard.largest, "allowed": guard.allowed}
        facts["guard"]["reused"] = guard.reused
    directory.manifest = directory.manifest | facts
    if "tokens" in directory.tables():
        mapped = set(directory.table("tokens")["example_id"])
        images.keep(directory, (example for example in examples[: spec.tokens] if example.id in mapped))
    keep_thumbnails(directory, examples)
    directory.finish()
