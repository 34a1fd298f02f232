"""Attention of chosen queries, and the words that the image's tokens are closest to."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import torch
from jaxtyping import Float
from torch import Tensor

from chiasm.core.example import Example
from chiasm.core.recordings import load_video
from chiasm.core.spans import TOP_LEVEL
from chiasm.measures.base import bound
from chiasm.models.encoded import Encoded
from chiasm.models.inside.attention_rows import attention_rows, sinks
from chiasm.models.inside.context_index import IndexLens, index_digest
from chiasm.models.support import require_able
from chiasm.models.view import ModelView
from chiasm.results import images
from chiasm.results.rundir import RunDirectory
from chiasm.results.schemas import RANDOM_WEIGHTS
from chiasm.runners.driver import Computed
from chiasm.runners.examples import Work, run_examples
from chiasm.studies.inputs import (
    example_row,
    for_preparing,
    keep_thumbnails,
    load_inputs,
    model_of,
    random_models,
    read_examples,
    require_same_depth,
    sized,
    with_defaults,
)
from chiasm.studies.look import STUDY
from chiasm.studies.look.naming import WordReader, texts_of
from chiasm.studies.look.spec import LookSpec


class LookExample(NamedTuple):
    """An example whose attention is read; those to be `drawn` are decoded into words as well, and of those
    to be `named` it is judged whether words at an object name it."""

    example: Example
    encoded: Encoded
    baseline: Encoded | None
    drawn: bool
    named: bool


class AttentionRows(NamedTuple):
    """The attention of one example's query spans in the `layers` that attend; others (convolutions) have none."""

    layers: tuple[int, ...]
    weights: tuple[Float[Tensor, "N H T"], ...]  # some decoders have other heads in each kind of layer

    def mean(self) -> Float[Tensor, "L N T"]:
        """Over the heads of every layer."""
        return torch.stack([one.mean(1) for one in self.weights])


class LookWork(Work[LookExample]):
    """The rows of `spec` on `view`, beside the same shares in the random-weights models of `baseline`'s kind."""

    def __init__(self, spec: LookSpec, view: ModelView, baseline: ModelView | None, texts: Sequence[str] = ()) -> None:
        self.spec, self.view, self.texts = spec, view, texts
        self.baselines = [] if baseline is None else random_models(baseline, spec.baseline, spec.random_models)
        self._readers: dict[int, WordReader] = {}
        self._index: IndexLens | None = None
        self._preparing = for_preparing(view)
        self._preparing_baseline = None if baseline is None else for_preparing(baseline)

    def prepare(self, index: int, example: Example) -> LookExample:
        encoded = self._preparing.encode(example, instruction=self.spec.instruction)
        for query in self.spec.queries:
            encoded.spans.require(query)
        other = self._preparing_baseline
        baseline = None if other is None else other.encode(example, instruction=self.spec.instruction)
        return LookExample(example, encoded, baseline, index < self.spec.maps, index < self.spec.named)

    def compute(self, prepared: Sequence[LookExample]) -> Computed:
        frames: dict[str, list[Any]] = defaultdict(list)
        if not prepared:
            return Computed({})
        rows = self._rows(self.view, [item.encoded for item in prepared])
        for item, found in zip(prepared, rows, strict=True):
            frames["examples"].append(example_row(item.example))
            frames["attention"] += self._attention(item, found)
            frames["shares"] += _shares(self.spec, item.example, item.encoded, found)
            if item.drawn:
                frames["places"] += _places(item.encoded)
                frames["lens"] += self._reader(self.view).nearest_words(item.example, item.encoded)
            if item.named:
                frames["named"] += self._reader(self.view).named(item.example, item.encoded)
        for sample, baseline in enumerate(self.baselines):
            own = [
                (item, item.baseline)
                for item in prepared
                if item.baseline is not None
                and model_of(item.example.id, self.spec.seed, len(self.baselines)) == sample
            ]
            if not own:
                continue
            control = {"control": RANDOM_WEIGHTS, "sample": sample}
            for (item, encoded), found in zip(own, self._rows(baseline, [one for _, one in own]), strict=True):
                shares = _shares(self.spec, item.example, encoded, found)
                frames["shares_controls"] += [row | control for row in shares]
                if item.drawn:
                    words = self._reader(baseline).nearest_words(item.example, encoded)
                    frames["lens_controls"] += [row | control for row in words]
                if item.named:
                    words = self._reader(baseline).named(item.example, encoded)
                    frames["named_controls"] += [row | control for row in words]
        attention = {"attention": pl.concat(frames.pop("attention"))}
        return Computed(attention | {name: found for name, found in frames.items() if found}, kept=len(prepared))

    def _reader(self, view: ModelView) -> WordReader:
        """The lenses on a model, whose words in context are read when they are first needed."""
        if id(view) not in self._readers:
            folder = self.spec.context_index
            if folder and self._index is None:
                self._index = IndexLens(self.view, Path(folder))
            self._readers[id(view)] = WordReader(view, self.texts, self.spec.seed, self._index)
        return self._readers[id(view)]

    def _rows(self, view: ModelView, encoded: Sequence[Encoded]) -> list[AttentionRows]:
        """The attention of every query span, mean over its tokens, by layer and head."""
        queries = [sorted({int(p) for q in self.spec.queries for p in e.spans[q]}) for e in encoded]
        found: list[dict[int, Tensor]] = [{} for _ in encoded]

        def listen(layer: int, index: int, weights: Float[Tensor, "H Q T"]) -> None:
            places = [np.searchsorted(queries[index], encoded[index].spans[q]) for q in self.spec.queries]
            found[index][layer] = torch.stack([weights[:, torch.as_tensor(p)].mean(1) for p in places]).cpu()

        attention_rows(view, encoded, queries, listen)
        return [AttentionRows(tuple(sorted(of)), tuple(of[k] for k in sorted(of))) for of in found]

    def _attention(self, item: LookExample, found: AttentionRows) -> list[pl.DataFrame]:
        """The table `attention` of one example: every token by layer, head and query."""
        spans, index = _where(item.encoded)
        last = [int(item.encoded.spans[query][-1]) for query in self.spec.queries]
        mean = found.mean()
        marked = sinks(mean, last).numpy()
        kept: list[tuple[str, int, Tensor]] = [("mean", depth, mean[depth]) for depth in range(len(found.layers))]
        if self.spec.heads:
            most = max(one.shape[1] for one in found.weights)
            depths = [(h, depth) for h in range(most) for depth, one in enumerate(found.weights) if h < one.shape[1]]
            kept += [(str(h), depth, found.weights[depth][:, h]) for h, depth in depths]
        return [
            pl.DataFrame(
                {
                    "example_id": item.example.id,
                    "layer": found.layers[depth],
                    "head": head,
                    "query": query,
                    "span": spans,
                    "index": index,
                    "weight": weights[place].double().numpy(),
                    "sink": marked,
                }
            )
            for head, depth, weights in kept
            for place, query in enumerate(self.spec.queries)
        ]


def _where(encoded: Encoded) -> tuple[list[str], Sequence[int]]:
    """The top-level span of every position, and the place within it."""
    spans, index = [""] * encoded.length, [0] * encoded.length
    for name in TOP_LEVEL:
        if name in encoded.spans:
            for place, position in enumerate(encoded.spans[name]):
                spans[position], index[position] = name, place
    return spans, index


def _shares(spec: LookSpec, example: Example, encoded: Encoded, found: AttentionRows) -> list[dict[str, Any]]:
    """What each span takes, and what it would take if all visible tokens got the same (causal order)."""
    rows, mean = [], found.mean()
    for place, query in enumerate(spec.queries):
        targets = encoded.spans[query]
        for span in encoded.spans:
            keys = encoded.spans[span]
            if len(keys):
                visible = float(np.mean([(keys <= target).sum() / (target + 1) for target in targets]))
                about = {"example_id": example.id, "type": example.type, "query": query, "span": span}
                taken = mean[:, place, torch.as_tensor(keys)].sum(-1).tolist()
                rows += [
                    about | {"layer": layer, "share": share, "visible": visible}
                    for layer, share in zip(found.layers, taken, strict=True)
                ]
    return rows


def _places(encoded: Encoded) -> list[dict[str, Any]]:
    """Where the tokens of every image and frame lie in it; learned queries see all of it, and lie nowhere."""
    shown = [("image", f"image[{k}]", layout) for k, layout in enumerate(encoded.layouts) if layout.has_places]
    shown += [("video", f"video.frame[{k}]", layout) for k, layout in enumerate(encoded.frames)]
    index = {s: {int(p): k for k, p in enumerate(encoded.spans[s])} for s in dict.fromkeys(s for s, _, _ in shown)}
    return [
        {"example_id": encoded.example_id, "span": span, "index": index[span][int(position)], "position": int(position)}
        | {"picture": name, "tile": str(tile)}
        | {name: bound(corner) for name, corner in zip(("x0", "y0", "x1", "y1"), rect, strict=True)}
        for span, name, layout in shown
        for position, rect, tile in zip(layout.positions, layout.rects, layout.tile, strict=True)
        if int(position) in index[span]  # a newline behind the last frame belongs to no frame
    ]


def compute(spec: LookSpec) -> RunDirectory:
    """The run of `spec`: what its directory already holds is not computed again.

    **Errors:** `ChiasmError` for an unknown span, a baseline of another depth, attention that cannot be read, or if no
    example is left.
    """
    asked, spec = spec, with_defaults(spec)
    inputs = load_inputs(spec, read_examples(spec, spec.data))
    spec = sized(spec, asked, inputs)
    facts = inputs.facts
    if spec.context_index:
        for one in (inputs.view, inputs.baseline):
            if one is not None:
                IndexLens(one, Path(spec.context_index))  # refused before anything is computed
        facts = facts | {"data": facts["data"] | {"context_index": index_digest(Path(spec.context_index))}}
    return STUDY.completed(
        spec, facts, lambda directory: run_look(spec, inputs.view, inputs.examples, directory, inputs.baseline)
    )


def run_look(
    spec: LookSpec,
    view: ModelView,
    examples: Sequence[Example],
    directory: RunDirectory,
    baseline: ModelView | None = None,
) -> None:
    """Fill `directory` with the tables of `spec` and the images that maps are drawn over.

    **Errors:** as in `compute`.
    """
    require_able(view.family, "look", "`chiasm check` on it shows what holds")
    require_same_depth(view, baseline)
    texts = texts_of(examples, spec.seed) if (spec.maps or spec.named) and not spec.context_index else ()
    run_examples(LookWork(spec, view, baseline, texts), examples, directory, spec.batch, "look")
    directory.take_turn()
    if "places" in directory.tables():
        places = directory.table("places").group_by("example_id").agg(pl.col("picture").unique(maintain_order=True))
        drawn = dict(places.iter_rows())
        chosen = [example for example in examples[: spec.maps] if example.id in drawn]
        frames = view.family.max_frames
        images.keep(directory, [one for e in chosen for one in _images(e, drawn[e.id], frames)])
    keep_thumbnails(directory, examples)
    directory.finish()


def _images(example: Example, names: Sequence[str], max_frames: int | None) -> list[Example]:
    """An example for each of its images and frames; boxes belong to the first image.

    Where a model merges neighbouring frames, the first of those stands for all.
    """
    seen = list(example.images)
    frames = [frame for video in example.videos for frame in load_video(video, max_frames).frames]
    merged = sum(name.startswith("video") for name in names)
    seen += [frames[k * len(frames) // merged] for k in range(merged)]
    return [
        Example(id=f"{example.id}/{name}", question="?", images=(one,), boxes=example.boxes if one is seen[0] else ())
        for name, one in zip(names, seen, strict=True)
    ]
