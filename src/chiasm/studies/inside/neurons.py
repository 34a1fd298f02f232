"""Multimodal neurons: which carry the picture into the answer, which belong to a domain, what is lost without them."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch

from chiasm.core.errors import ChiasmError, ExampleError
from chiasm.core.statistics.intervals import mean_interval
from chiasm.measures.neurons import as_specific, domain_specific, matched, rates_of, strongest
from chiasm.models.encoding.encoded import Encoded
from chiasm.models.inside.neurons import Neurons
from chiasm.models.inside.rerun import AttributionTarget, Rerun
from chiasm.models.view import ModelView
from chiasm.studies.inside.spec import Asked, Frames

GRADIENT: Final = "gradient"
UNEMBEDDING: Final = "unembedding"
ENTROPY: Final = "entropy"


@dataclass(frozen=True, slots=True, kw_only=True)
class NeuronOptions:
    """`top`: neurons that are listed and taken away together. `draws`: random sets beside them, and shuffles of groups.

    `share`: of all neurons that count as specific to a group (the source's is 1 %). `released`: Pan et al.'s score
    without the final norm's gain. `target`: by default the contrast of the answer's first token with the runner-up,
    since the log-probability of an answer that is certain does not move.
    """

    top: int = 10
    draws: int = 20
    share: float = 0.01
    released: bool = False
    target: AttributionTarget = "contrast"
    seed: int = 0


def neuron_rows(
    view: ModelView,
    asked: Sequence[Asked],
    groups: Mapping[str, Sequence[Encoded]],
    options: NeuronOptions,
    group: str = "",
) -> tuple[Frames, list[tuple[str, str]]]:
    """Rows of `neurons`, `neuron_ablation` and `specific_neurons`, and examples that failed.

    Every other example of `asked` finds the neurons, the others tell what is lost without them: an effect is never
    measured on the examples that chose. `groups`: pictures of each domain (or class), counted for the entropy; `group`
    is the one that `asked` are from.

    **Errors:** `ChiasmError` for a model whose neurons cannot be named, or fewer than four examples.
    """
    if len(asked) < 4:
        raise ChiasmError("find neurons", f"{len(asked)} examples are few", "Give at least 4: half find, half judge")
    frames: Frames = defaultdict(list)
    neurons = Neurons(view, asked[0].prompt)
    finding, judging, failures = asked[::2], asked[1::2], []
    found: dict[str, list[np.ndarray]] = {GRADIENT: [], UNEMBEDDING: []}
    for one in finding:
        try:
            rerun = Rerun(view, one.prompt, one.answer, target=options.target, guard=one is finding[0])
        except ExampleError as error:
            failures.append((one.example.id, str(error)))
            continue
        found[GRADIENT].append(neurons.by_gradient(rerun).numpy())
        token = one.answer[0]
        found[UNEMBEDDING].append(neurons.by_unembedding(rerun, token, released=options.released).numpy())
    sets: dict[tuple[str, str], np.ndarray] = {}
    for score, values in found.items():
        if values:
            marked = strongest(np.mean(values, axis=0), options.top)
            sets[score, ""] = marked
            frames["neurons"] += _listed(neurons, score, np.stack(values), marked)
    if len(groups) > 1:
        sets |= _specific(frames, neurons, groups, options)
    for one in judging:
        try:
            rerun = Rerun(view, one.prompt, one.answer, target=options.target, guard=False)
        except ExampleError as error:
            failures.append((one.example.id, str(error)))
            continue
        for (score, owner), marked in sets.items():
            told = {"score": score, "group": owner, "own": owner in ("", group)}
            frames["neuron_ablation"].append(one.row | told | _lost(neurons, rerun, marked, options))
    return dict(frames), failures


def _lost(neurons: Neurons, rerun: Rerun, marked: np.ndarray, options: NeuronOptions) -> dict[str, Any]:
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


def _listed(neurons: Neurons, score: str, values: np.ndarray, marked: np.ndarray) -> list[dict[str, Any]]:
    estimate = mean_interval(values)
    places = sorted(np.argwhere(marked).tolist(), key=lambda place: -estimate.mean[*place])
    return [
        {
            "score": score,
            "rank": rank + 1,
            "layer": layer,
            "neuron": neuron,
            "value": float(estimate.mean[layer, neuron]),
            "low": _known(estimate.low[layer, neuron]),
            "high": _known(estimate.high[layer, neuron]),
            "groups": "",
            "words": " ".join(neurons.words(layer, neuron)),
            "n": len(values),
        }
        for rank, (layer, neuron) in enumerate(places)
    ]


def _specific(
    frames: Frames, neurons: Neurons, groups: Mapping[str, Sequence[Encoded]], options: NeuronOptions
) -> dict[tuple[str, str], np.ndarray]:
    """Neurons by the entropy of their activity over groups: listed, counted beside shuffled groups, and by group."""
    names = list(groups)
    counted = [neurons.active(encoded) for name in names for encoded in groups[name]]
    active = np.stack([counts.numpy() for counts, _ in counted])
    tokens = np.array([count for _, count in counted])
    owner = np.repeat(np.arange(len(names)), [len(groups[name]) for name in names])
    found = domain_specific(rates_of(active, tokens, owner), share=options.share)
    rng = np.random.default_rng(options.seed)
    shuffled = [as_specific(active, tokens, rng.permutation(owner), found.edge) for _ in range(options.draws)]
    frames["specific_neurons"].append(
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
    frames["neurons"] += [
        {
            "score": ENTROPY,
            "rank": rank + 1,
            "layer": layer,
            "neuron": neuron,
            "value": float(found.entropy[layer, neuron]),
            "low": None,
            "high": None,
            "groups": ", ".join(name for g, name in enumerate(names) if found.assigned[g, layer, neuron]),
            "words": " ".join(neurons.words(layer, neuron)),
            "n": len(counted),
        }
        for rank, (layer, neuron) in enumerate(places)
    ]
    return {(ENTROPY, name): found.assigned[g] for g, name in enumerate(names) if found.assigned[g].any()}


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
