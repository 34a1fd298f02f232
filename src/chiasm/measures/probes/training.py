"""Many probes trained as one program: their weights are stacked, and one batched product serves all of a group.

Legend: R feature sets of a group, K probes on each, P = R K; B examples of a mini-batch, D input width, H first hidden
width.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple, final

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from chiasm.core.statistics.intervals import Estimate, mean_interval
from chiasm.measures.probes.kinds import Probe

_MEMORY = 1 << 28
# Narrower inputs are padded with zeros up to this factor: their weights there stay without gradient and without use.
_PADDED = 1.5
# A group is packed anew once no more than this share of it still trains.
_SHARE = 0.8
_RESAMPLES = 1000


class FeatureSet(NamedTuple):
    """One representation of a domain's images, part by part (n x D each). A validation part may be empty."""

    train: Float[np.ndarray, "n D"]
    validation: Float[np.ndarray, "v D"]
    test: Float[np.ndarray, "m D"]

    @property
    def width(self) -> int:
        return self.train.shape[1]


class Labels(NamedTuple):
    """The class of each image as a number below `classes`, part by part."""

    train: Int[Tensor, " n"]
    validation: Int[Tensor, " v"]
    test: Int[Tensor, " m"]
    classes: int


class ProbeRun(NamedTuple):
    """One probe to train: on which feature set, from which seed, on the labels or (a control) on shuffled ones."""

    features: int
    seed: int
    shuffled: bool = False


class Fitted(NamedTuple):
    """Log-probabilities of the test images, and the epochs behind the state of the probe that counts."""

    logprobs: Float[np.ndarray, "m C"]
    epochs: int


def standardised(features: FeatureSet, dtype: type[np.floating] = np.float32) -> FeatureSet:
    """Every dimension with mean 0 and deviation 1 over the training part; a dimension that does not vary becomes 0."""
    mean, std = features.train.mean(axis=0, dtype=np.float64), features.train.std(axis=0, dtype=np.float64)
    # What varies by rounding alone is constant.
    varies = std > 1e-6 * np.maximum(np.abs(mean), 1e-12)
    scale = np.where(varies, 1 / np.where(varies, std, 1), 0)
    return FeatureSet(*(((part - mean) * scale).astype(dtype) if len(part) else part for part in features))


def train_probes(
    probe: Probe,
    feature_sets: Sequence[FeatureSet],
    labels: Labels,
    runs: Sequence[ProbeRun],
    *,
    memory: int = _MEMORY,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> list[Fitted]:
    """Train one probe per run, in groups that keep within `memory` bytes, and read the test part with each.

    Every probe has its own initial weights, early stopping and optimiser state, so the result is that of a plain
    loop over them up to rounding, in whichever group it stands. All feature sets hold the same images in one order;
    inputs are standardised by their training part.
    """
    on: dict[int, list[int]] = {}
    for place, run in enumerate(runs):
        on.setdefault(run.features, []).append(place)
    blocks = [
        (c, part) for c, places in on.items() for part in _split(probe, feature_sets[c].width, places, labels, memory)
    ]
    sizes = {k: (len(places), feature_sets[features].width) for k, (features, places) in enumerate(blocks)}
    numpy_type = np.float64 if dtype == torch.float64 else np.float32
    found: dict[int, Fitted] = {}
    for group in grouped(probe, sizes, labels, memory):
        places = [place for k in group for place in blocks[k][1]]
        shown = [standardised(feature_sets[blocks[k][0]], numpy_type) for k in group]
        fitted = _Group(probe, shown, labels, [runs[k] for k in places], torch.device(device), dtype).train()
        found |= dict(zip(places, fitted, strict=True))
    return [found[k] for k in range(len(runs))]


def grouped(probe: Probe, sizes: Mapping[int, tuple[int, int]], labels: Labels, memory: int) -> list[list[int]]:
    """Blocks (some probes on one feature set) that train together: equally large, of like width, as many as fit.

    `sizes`: how many probes each block has, and the width of its feature set.
    """
    groups: list[list[int]] = []
    used, min_width, count = 0, 0, 0
    for features in sorted(sizes, key=lambda c: sizes[c]):
        probes, width = sizes[features]
        need = probe_bytes(probe, probes, width, labels)
        if not groups or used + need > memory or width > _PADDED * min_width or probes != count:
            groups.append([])
            used, min_width, count = 0, width, probes
        groups[-1].append(features)
        used += need
    return groups


def _split(probe: Probe, width: int, places: list[int], labels: Labels, memory: int) -> list[list[int]]:
    """Probes on one feature set that are too many for `memory`, in parts that fit (at least one each)."""
    fits = len(places)
    while fits > 1 and probe_bytes(probe, fits, width, labels) > memory:
        fits -= 1
    return [places[k : k + fits] for k in range(0, len(places), fits)]


def probe_bytes(probe: Probe, probes: int, width: int, labels: Labels) -> int:
    """Bytes of a feature set and its probes: weights, gradients, two moments, the best state; a batch's activations."""
    sizes = probe.sizes(width, labels.classes)
    held = 5 * probe.parameters(width, labels.classes) + 3 * probe.batch * sum(sizes)
    return 4 * (probes * held + width * sum(len(part) for part in labels[:3]))


@final
class _Group:
    """`runs` come feature set by feature set, equally many for each. `grid` (R x K): which still train, and where."""

    def __init__(
        self,
        probe: Probe,
        feature_sets: Sequence[FeatureSet],
        labels: Labels,
        runs: Sequence[ProbeRun],
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self.probe, self.runs, self.device, self.dtype = probe, runs, device, dtype
        self.widest = max(each.width for each in feature_sets)
        # The part whose loss stops a probe: validation, or training where there is none.
        judged = "validation" if len(feature_sets[0].validation) else "train"
        parts = [each._asdict() for each in feature_sets]
        self.train_x, self.judge_x, self.test_x = (
            self._stack([each[name] for each in parts]) for name in ("train", judged, "test")
        )
        self.train_y, self.judge_y = (
            torch.stack([shuffled(y, run.seed) if run.shuffled else y for run in runs]).to(device)
            for y in (labels.train, labels.validation if judged == "validation" else labels.train)
        )
        self.grid = np.arange(len(runs)).reshape(len(feature_sets), -1)
        self.start = self.grid
        widths = np.repeat([each.width for each in feature_sets], self.grid.shape[1])
        self.best = self._initial(widths, labels.classes)
        self.weights = [w.requires_grad_(True) for w in _packed(self.best, self.grid)]
        self.adam = self._optimiser()

    def _stack(self, parts: Sequence[np.ndarray]) -> Float[Tensor, "R n D"]:
        padded = [F.pad(torch.from_numpy(part), (0, self.widest - part.shape[1])) for part in parts]
        return torch.stack(padded).to(self.device, self.dtype)

    def _initial(self, widths: np.ndarray, classes: int) -> list[Tensor]:
        """Weights (P x in x out) and biases (P x 1 x out) in turn."""
        each = [initial(self.probe, int(w), classes, t.seed) for w, t in zip(widths, self.runs, strict=True)]
        made = []
        for layer, (weight, _) in enumerate(each[0]):
            rows = self.widest if layer == 0 else len(weight)
            made.append(torch.stack([F.pad(one[layer][0], (0, 0, 0, rows - len(one[layer][0]))) for one in each]))
            made.append(torch.stack([one[layer][1][None] for one in each]))
        return [w.to(self.device, self.dtype) for w in made]

    def _optimiser(self) -> torch.optim.Adam:
        return torch.optim.Adam(self.weights, lr=self.probe.rate, fused=True)

    def train(self) -> list[Fitted]:
        """Train to the end of every probe."""
        probe, count = self.probe, len(self.runs)
        lowest, at = np.full(count, np.inf), np.zeros(count, dtype=int)
        for epoch in range(probe.epochs):
            self._epoch(epoch)
            if not probe.patience:
                continue
            loss = self._judge(self.weights, self.grid)
            # One that was kept for its place only, after its end, learns nothing that counts.
            better = (loss < lowest[self.grid]) & (epoch - at[self.grid] < probe.patience)
            lowest[self.grid[better]], at[self.grid[better]] = loss[better], epoch + 1
            self._keep(better)
            going = epoch + 1 - at[self.grid] < probe.patience
            if not going.any():
                break
            if going.sum() <= _SHARE * going.size:
                self._repack(going)
        if not probe.patience:
            self._keep(np.ones_like(self.grid, dtype=bool))
            at[:] = probe.epochs
        return self._read(at)

    def _epoch(self, epoch: int) -> None:
        n, each = self.train_x.shape[1], self.grid.shape[1]
        places = order(epoch, n).to(self.device)
        truth = self.train_y[torch.from_numpy(self.grid.ravel()).to(self.device)]
        for start in range(0, n, self.probe.batch):
            chosen = places[start : start + self.probe.batch]
            logits = _forward(self.train_x.index_select(1, chosen), self.weights, each)
            asked = truth.index_select(1, chosen).flatten()
            # Each probe's own mean: what others lose does not reach its weights.
            loss = F.cross_entropy(logits.flatten(0, 1), asked, reduction="sum") / len(chosen)
            for weight, grad in zip(self.weights, torch.autograd.grad(loss, self.weights), strict=True):
                weight.grad = grad
            self.adam.step()

    @torch.no_grad()
    def _judge(self, weights: Sequence[Tensor], grid: Int[np.ndarray, "R K"]) -> Float[np.ndarray, "R K"]:
        logits = _forward(self.judge_x, weights, grid.shape[1])
        truth = self.judge_y[torch.from_numpy(grid.ravel()).to(self.device)]
        losses = F.cross_entropy(logits.flatten(0, 1), truth.flatten(), reduction="none")
        return losses.view(*grid.shape, -1).mean(dim=-1).cpu().numpy()

    @torch.no_grad()
    def _keep(self, better: Bool[np.ndarray, "R K"]) -> None:
        if not better.any():
            return
        here = torch.from_numpy(np.flatnonzero(better)).to(self.device)
        there = torch.from_numpy(self.grid[better]).to(self.device)
        for kept, weight in zip(self.best, _unpacked(self.weights, self.grid.shape[1]), strict=True):
            kept[there] = weight[here]

    @torch.no_grad()
    def _repack(self, going: Bool[np.ndarray, "R K"]) -> None:
        """Go on with the feature sets that have a probe left, and on each with as many probes as the most have left."""
        feature_sets = np.flatnonzero(going.any(axis=1))
        each = int(going.sum(axis=1).max())
        if len(feature_sets) == len(going) and each == going.shape[1]:
            return
        # Those that go on first; the rest of a row is filled with some that have ended.
        chosen = np.argsort(~going[feature_sets], axis=1, kind="stable")[:, :each]
        flat = torch.from_numpy((feature_sets[:, None] * going.shape[1] + chosen).ravel()).to(self.device)
        before, states = going.shape[1], [self.adam.state[weight] for weight in self.weights]
        self.grid = np.take_along_axis(self.grid[feature_sets], chosen, axis=1)

        def moved(values: Sequence[Tensor]) -> list[Tensor]:
            return _packed([value[flat] for value in _unpacked(values, before)], self.grid)

        first, second = (moved([state[name] for state in states]) for name in ("exp_avg", "exp_avg_sq"))
        self.weights = [weight.requires_grad_(True) for weight in moved(self.weights)]
        self.adam = self._optimiser()
        for weight, state, one, two in zip(self.weights, states, first, second, strict=True):
            self.adam.state[weight] = {"step": state["step"], "exp_avg": one, "exp_avg_sq": two}
        kept = torch.from_numpy(feature_sets).to(self.device)
        self.train_x, self.judge_x = self.train_x[kept], self.judge_x[kept]

    @torch.no_grad()
    def _read(self, epochs: Int[np.ndarray, " P"]) -> list[Fitted]:
        logits = _forward(self.test_x, _packed(self.best, self.start), self.start.shape[1])
        logprobs = logits.log_softmax(-1).cpu().numpy()
        return [Fitted(logprobs[k], int(epochs[k])) for k in range(len(self.runs))]


def _forward(x: Float[Tensor, "R B D"], weights: Sequence[Tensor], each: int) -> Float[Tensor, "P B C"]:
    feature_sets, count, _ = x.shape
    # Probes on one feature set stand side by side in one matrix, which reads it once.
    x = torch.baddbmm(weights[1], x, weights[0]).view(feature_sets, count, each, -1).transpose(1, 2).flatten(0, 1)
    for layer in range(2, len(weights), 2):
        x = torch.baddbmm(weights[layer + 1], x.relu(), weights[layer])
    return x


def _packed(each: Sequence[Tensor], grid: np.ndarray) -> list[Tensor]:
    """One weight per probe (P x in x out) as the program holds them: the first layer's as R x in x (K H)."""
    feature_sets, count = grid.shape
    side = [w.view(feature_sets, count, *w.shape[1:]).transpose(1, 2).flatten(2) for w in each[:2]]
    return [w.detach().clone(memory_format=torch.contiguous_format) for w in (*side, *each[2:])]


def _unpacked(weights: Sequence[Tensor], count: int) -> list[Tensor]:
    """The inverse of `_packed`."""
    side = [w.view(*w.shape[:2], count, -1).transpose(1, 2).flatten(0, 1) for w in weights[:2]]
    return [*side, *weights[2:]]


def initial(
    probe: Probe, width: int, classes: int, seed: int
) -> list[tuple[Float[Tensor, "i o"], Float[Tensor, " o"]]]:
    """Weights and biases before training: uniform within 1 / sqrt(fan-in), as torch's linear layers start."""
    generator = torch.Generator().manual_seed(seed)
    sizes, made = probe.sizes(width, classes), []
    for a, b in pairwise(sizes):
        edge = a**-0.5
        weight = torch.empty(a, b).uniform_(-edge, edge, generator=generator)
        made.append((weight, torch.empty(b).uniform_(-edge, edge, generator=generator)))
    return made


def order(epoch: int, n: int) -> Int[Tensor, " n"]:
    """In which order all probes see the training examples in an epoch; their seeds decide where they start."""
    return torch.randperm(n, generator=torch.Generator().manual_seed(1_000_003 + epoch))


def shuffled(labels: Int[Tensor, " n"], seed: int) -> Int[Tensor, " n"]:
    """The same labels in another order: what a probe reads after learning them, it did not learn from the image."""
    return labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(7_919 + seed))]


def information(
    logprobs: Float[np.ndarray, "m C"], truth: Int[np.ndarray, " m"], known: Int[np.ndarray, " n"], *, seed: int = 0
) -> Estimate:
    """V-information about the class, in nats: how much less a probe is surprised by test labels than their frequencies.

    H_V(Y) - H_V(Y | X), both as cross-entropy over the test part; without the representation the family's best guess
    is how often each class occurs in training (`known`; one is added to every count). At most log C; below 0 where a
    probe is sure of what is wrong. Interval: 95 % bootstrap over images.

    Source: Xu et al. 2020 (arXiv 2002.10689), definition 2, the family V being the probe's. Assumption: the probe is
    near the best of its family; it is a lower bound of what the family could use.
    """
    classes = logprobs.shape[1]
    frequency = np.log((np.bincount(known, minlength=classes) + 1) / (len(known) + classes))
    gained = logprobs[np.arange(len(truth)), truth].astype(np.float64) - frequency[truth]
    return mean_interval(gained, resamples=_RESAMPLES, seed=seed)
