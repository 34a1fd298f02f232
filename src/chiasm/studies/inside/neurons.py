"""Multimodal neurons: which carry the image into the answer, which belong to a domain, what is lost without them."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import torch
from jaxtyping import Bool, Float

from chiasm.core.errors import ChiasmError, ExampleError
from chiasm.core.statistics.intervals import mean_interval
from chiasm.measures.base import RowsByTable, bound
from chiasm.measures.neurons import as_specific, domain_specific, matched, rates_of, strongest
from chiasm.models.encoded import Encoded
from chiasm.models.inside.neurons import Neurons
from chiasm.models.inside.rerun import Rerun
from chiasm.models.view import ModelView
from chiasm.studies.inside.explained import ExplainedAnswer, Failures
from chiasm.studies.inside.spec import NeuronOptions
from chiasm.studies.inside.tables import ENTROPY, GRADIENT, UNEMBEDDING

_MIN_EXAMPLES = 4
# The log-probability of an answer that is certain does not move: what moves is its lead over the runner-up.
_TARGET: Final = "contrast"


def neuron_rows(
    view: ModelView,
    explained: Sequence[ExplainedAnswer],
    groups: Mapping[str, Sequence[Encoded]],
    options: NeuronOptions,
    group: str = "",
) -> tuple[RowsByTable, Failures]:
    """Rows of `neurons`, `neuron_ablation` and `specific_neurons`, and examples that failed.

    Every other example of `explained` finds the neurons, the others judge what is lost without them: an effect is never
    measured on the examples that chose. `groups`: images of each domain (or class), counted for the entropy; `group`
    is the one that `explained` are from.

    **Errors:** `ChiasmError` for a model whose neurons cannot be named, or fewer than four examples.
    """
    if len(explained) < _MIN_EXAMPLES:
        todo = f"Give at least {_MIN_EXAMPLES}: half find, half judge"
        raise ChiasmError("find neurons", f"{len(explained)} examples are few", todo)
    rows: RowsByTable = defaultdict(list)
    neurons = Neurons(view, explained[0].prompt)
    finding, judging, failures = explained[::2], explained[1::2], []
    scores: dict[str, list[np.ndarray]] = {GRADIENT: [], UNEMBEDDING: []}
    for one in finding:
        try:
            rerun = Rerun(view, one.prompt, one.answer, target=_TARGET, guard=one is finding[0])
        except ExampleError as error:
            failures.append((one.example.id, str(error)))
            continue
        scores[GRADIENT].append(neurons.by_gradient(rerun).numpy())
        token = one.answer[0]
        scores[UNEMBEDDING].append(neurons.by_unembedding(rerun, token, released=options.released).numpy())
    sets: dict[tuple[str, str], np.ndarray] = {}
    for score, values in scores.items():
        if values:
            marked = strongest(np.mean(values, axis=0), options.top)
            sets[score, ""] = marked
            rows["neurons"] += _strongest_rows(neurons, score, np.stack(values), marked)
    if len(groups) > 1:
        sets |= _add_specific(rows, neurons, groups, options)
    for one in judging:
        try:
            rerun = Rerun(view, one.prompt, one.answer, target=_TARGET, guard=False)
        except ExampleError as error:
            failures.append((one.example.id, str(error)))
            continue
        for (score, owner), marked in sets.items():
            about = {"score": score, "group": owner, "own": owner in ("", group)}
            rows["neuron_ablation"].append(one.row | about | _ablated(neurons, rerun, marked, options))
    return dict(rows), failures


def _ablated(neurons: Neurons, rerun: Rerun, marked: Bool[np.ndarray, "L K"], options: NeuronOptions) -> dict[str, Any]:
    """What taking the neurons away changes, beside as many random ones of the same layers."""
    random = matched(marked, options.draws, options.seed)
    off = torch.from_numpy(np.concatenate([np.zeros_like(random[:1]), marked[None], random]))
    clean, chosen, *drawn = neurons.without(rerun, off).tolist()
    return {
        "count": int(marked.sum()),
        "change": chosen - clean,
        "change_random": float(np.mean(drawn)) - clean,
        "draws": options.draws,
    }


def _strongest_rows(
    neurons: Neurons, score: str, values: Float[np.ndarray, "n L K"], marked: Bool[np.ndarray, "L K"]
) -> list[dict[str, Any]]:
    """Rows of `neurons` for those that are `marked` by their mean score over examples."""
    estimate = mean_interval(values)
    places = sorted(np.argwhere(marked).tolist(), key=lambda place: -estimate.mean[*place])
    return [
        _listed(neurons, score, rank, place, estimate.mean)
        | {"low": bound(estimate.low[*place]), "high": bound(estimate.high[*place]), "groups": "", "n": len(values)}
        for rank, place in enumerate(places, start=1)
    ]


def _listed(
    neurons: Neurons, score: str, rank: int, place: list[int], values: Float[np.ndarray, "L K"]
) -> dict[str, Any]:
    layer, neuron = place
    return {
        "score": score,
        "rank": rank,
        "layer": layer,
        "neuron": neuron,
        "value": float(values[layer, neuron]),
        "words": " ".join(neurons.words(layer, neuron)),
    }


def _add_specific(
    rows: RowsByTable, neurons: Neurons, groups: Mapping[str, Sequence[Encoded]], options: NeuronOptions
) -> dict[tuple[str, str], Bool[np.ndarray, "L K"]]:
    """Neurons by the entropy of their activity over groups: listed, counted beside shuffled groups, and by group."""
    names = list(groups)
    counted = [neurons.active(encoded) for name in names for encoded in groups[name]]
    active = np.stack([counts.numpy() for counts, _ in counted])
    tokens = np.array([count for _, count in counted])
    owner = np.repeat(np.arange(len(names)), [len(groups[name]) for name in names])
    found = domain_specific(rates_of(active, tokens, owner), share=options.share)
    rng = np.random.default_rng(options.seed)
    shuffled = [as_specific(active, tokens, rng.permutation(owner), found.edge) for _ in range(options.draws)]
    rows["specific_neurons"].append(
        {
            "groups": ", ".join(names),
            "share": options.share,
            "edge": found.edge,
            "count": int(found.chosen.sum()),
            "count_random": float(np.mean(shuffled)),
            "low_random": float(np.percentile(shuffled, 2.5)),
            "high_random": float(np.percentile(shuffled, 97.5)),
            "draws": options.draws,
            "n": len(counted),
        }
    )
    places = sorted(np.argwhere(found.chosen).tolist(), key=lambda place: found.entropy[*place])
    for rank, place in enumerate(places, start=1):
        owners = ", ".join(name for g, name in enumerate(names) if found.assigned[g, *place])
        listed = _listed(neurons, ENTROPY, rank, place, found.entropy)
        rows["neurons"].append(listed | {"low": None, "high": None, "groups": owners, "n": len(counted)})
    return {(ENTROPY, name): found.assigned[g] for g, name in enumerate(names) if found.assigned[g].any()}
