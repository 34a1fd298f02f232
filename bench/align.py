"""What reading states costs beside a plain forward, measure by measure: `python -m bench.align` (some minutes)."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Literal

import torch
from cyclopts import App
from rich.console import Console

from bench.measure import RESULTS, Summary, machine, seconds
from bench.report import Sheet, machine_lines, write_results
from bench.shapes import SHAPES, build, default_dtype, default_shape, prompts
from chiasm.measures.base import Measure, ReadSizes, sampled
from chiasm.measures.centres import Centres, Pilot
from chiasm.measures.geometry import Geometry
from chiasm.measures.norms import Drift, InsideBlocks, Norms
from chiasm.measures.overlap import Overlap, matrices_of
from chiasm.measures.score import Score
from chiasm.measures.similarity import Similarity
from chiasm.measures.token_pairs import TokenPairs
from chiasm.measures.vocabulary import Vocabulary
from chiasm.models.encoded import Encoded
from chiasm.models.frame import keep_logits
from chiasm.models.hooks import SITES, Block, find_blocks
from chiasm.models.observe import Batch, SiteStates, observe
from chiasm.models.view import ModelView

SPANS = ("image", "question")
_FEW = 3
BOUNDS = {"norms + drift + mean similarities": 1.10, "overlap (Wanda statistics)": 1.25}

app = App(name="bench.align", help=__doc__, help_format="plaintext")


@app.default
def align(
    *,
    device: Literal["cpu", "cuda"] = "cpu",
    shape: str | None = None,
    threads: int = 1,
    repeats: int = 5,
    only: tuple[str, ...] = (),
    out: Path = RESULTS,
) -> None:
    """Measure, print, and write `align.json` and `align.md`.

    device: cuda measures LLaVA-1.5-7B's shape in bfloat16.
    shape: another of the shapes in bench/shapes.py.
    threads: of the process.
    repeats: of every measurement, each between plain forwards.
    only: names of the rows to measure; all by default.
    out: where the results go.
    """
    torch.set_num_threads(threads)
    chosen, dtype = SHAPES[shape or default_shape(device)], default_dtype(device)
    view = ModelView(build(chosen, device, dtype), None, "bench").as_served()
    (encoded,) = prompts(chosen, 1, device, dtype)
    kept = out / "align.json"
    # Rows that are not measured now stay as they were measured.
    results = json.loads(kept.read_text())["results"] if only and kept.exists() else {}
    facts = machine(device, threads)
    sizes = ReadSizes(
        layers=chosen.layers,
        width=chosen.width,
        inner=chosen.inner,
        vocabulary=chosen.vocabulary,
        tokens={span: len(encoded.spans[span]) for span in SPANS},
        sampled=len(sampled(chosen.layers)),
    )
    sets, ratios = priced(view, encoded, only, repeats, device)
    for name, ratio in ratios.items():
        prices = [measure.cost(sizes) for measure in sets[name]()]
        bound = BOUNDS.get(name)
        held = sum(price.bytes for price in prices)
        load = facts["load average at the start"]
        results[name] = {"ratio": asdict(ratio), "bound": bound, "bytes": held, "load": load}

    rows = [_row(name, found) for name, found in results.items()]
    sheet = Sheet(
        f"Reading states beside a plain forward ({chosen.layers} layers, width {chosen.width}, {chosen.length} tokens)",
        ("measures", "time, in plain forwards", "must be at most", "repeats", "held, any number of examples"),
        rows,
        ["Median (least to largest) of ratios, each to the plain forwards run just before and after it."],
    )
    sheet.show(Console())
    text = f"# What alignment measures cost\n\n{machine_lines(facts)}\n\n{sheet.markdown()}"
    write_results(out, "align", {"machine": facts, "results": results}, text)


def priced(
    view: ModelView, encoded: Encoded, only: Sequence[str], repeats: int, device: str
) -> tuple[dict[str, Callable[[], Sequence[Measure]]], dict[str, Summary]]:
    """The sets of measures called `only` (all, if none is), and what reading them takes, in plain forwards."""
    blocks, plain = find_blocks(view, encoded), _plain(view, encoded)
    plain()
    sets = {k: v for k, v in _sets(view, _centres(view, blocks, encoded)).items() if not only or k in only}
    readings = {name: _reading(view, blocks, encoded, make) for name, make in sets.items()}
    return sets, _ratios(plain, readings, repeats, device)


def _row(name: str, found: dict) -> tuple[str, ...]:
    ratio, bound = found["ratio"], found["bound"]
    spread = f"{ratio['median']:.3f} ({ratio['low']:.3f} to {ratio['high']:.3f})"
    return name, spread, "" if bound is None else f"{bound:.2f}", str(ratio["n"]), f"{found['bytes'] / 1e6:.0f} MB"


def _sets(view: ModelView, centres: Centres) -> dict[str, Callable[[], Sequence[Measure]]]:
    few, matrices = sampled(view.n_layers), matrices_of(view.layers)
    unembed = lambda states: view.unembed(states.to(view.dtype))  # noqa: E731
    cheap = lambda: [Norms(), Drift(), Similarity(SPANS, centres, inside=False)]  # noqa: E731
    words = lambda: [Vocabulary(SPANS, few, unembed, str)]  # noqa: E731
    pairs = lambda: [TokenPairs(SPANS, few, centres)]  # noqa: E731
    return {
        "nothing but hooks and the check for NaN": list,
        "norms": lambda: [Norms()],
        "drift": lambda: [Drift()],
        "drift, as released too": lambda: [Drift(as_released=True)],
        "mean similarities, residual stream": lambda: [Similarity(SPANS, centres, inside=False)],
        "norms + drift + mean similarities": cheap,
        "mean similarities, also inside blocks": lambda: [Similarity(SPANS, centres)],
        "norms and change, also inside blocks": lambda: [InsideBlocks()],
        "score": lambda: [Score(SPANS)],
        "medians and extremes of token pairs, 9 states": pairs,
        "medians and extremes of token pairs, also inside 9 blocks": lambda: [
            TokenPairs(SPANS, few, centres, inside=True)
        ],
        "overlap (Wanda statistics)": lambda: [Overlap(SPANS, matrices)],
        "vocabulary, 64 tokens per span, 9 states": words,
        "vocabulary, 16 tokens per span, 9 states": lambda: [Vocabulary(SPANS, few, unembed, str, tokens=16)],
        "geometry, 9 states": lambda: [Geometry(SPANS, few)],
        "everything that is on by default": lambda: [
            Norms(),
            Drift(),
            Score(SPANS),
            Similarity(SPANS, centres),
            InsideBlocks(),
            *pairs(),
            Overlap(SPANS, matrices),
            Geometry(SPANS, few),
            *words(),
        ],
    }


def _plain(view: ModelView, encoded: Encoded) -> Callable[[], object]:
    def run() -> object:
        with torch.no_grad(), view.readable_attention():
            return view.model(**encoded.inputs, **keep_logits(view, slice_to=1), use_cache=False)

    return run


def _reading(
    view: ModelView, blocks: Sequence[Block], encoded: Encoded, make: Callable[[], Sequence[Measure]]
) -> Callable[[], object]:
    made = make()
    sites = frozenset().union(*(measure.sites() for measure in made)) if made else frozenset({"residual"})
    listening = [measure for measure in made if measure.needs_inputs]

    def listen(seen: SiteStates) -> None:
        for measure in made:
            if seen.site in measure.sites():
                measure.update(seen)

    def listen_inputs(layer: int, names: tuple[str, ...], batch: Batch, x: torch.Tensor) -> None:
        for measure in listening:
            measure.update_inputs(layer, names, batch, x)

    def run() -> None:
        hear = listen_inputs if listening else None
        batch = observe(view, blocks, [encoded], SPANS, listen, sites=sites, on_inputs=hear)
        for measure in made:
            measure.end_batch(batch)

    return run


def _centres(view: ModelView, blocks: Sequence[Block], encoded: Encoded) -> Centres:
    pilot = Pilot()
    pilot.end_batch(observe(view, blocks, [encoded], SPANS, pilot.update, sites=frozenset(SITES)))
    return pilot.centres()


def _ratios(
    plain: Callable[[], object], readings: dict[str, Callable[[], object]], repeats: int, device: str
) -> dict[str, Summary]:
    """Of every reading, its time in plain forwards: the mean of those run before and after a few readings."""
    found: dict[str, list[float]] = {name: [] for name in readings}
    names = list(readings)
    for _ in range(repeats):
        before = seconds(plain, device)
        for start in range(0, len(names), _FEW):
            few = {name: seconds(readings[name], device) for name in names[start : start + _FEW]}
            after = seconds(plain, device)
            for name, taken in few.items():
                found[name].append(taken / ((before + after) / 2))
            before = after
    return {name: Summary.of(values) for name, values in found.items()}


if __name__ == "__main__":
    app()
