"""Many probes trained as one program: their weights are stacked, and one batched product serves all of a group.

Legend: R clouds of a group, K probes on each, P = R K; B examples of a mini-batch, D input width, H first hidden width.
"""

from collections.abc import Mapping, Sequence
from typing import final

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from chiasm.measures.probes.clouds import Cloud, Fitted, Labels, Task, judged_by, numpy_type, standardised
from chiasm.measures.probes.kinds import Probe, initial, order, shuffled

_MEMORY = 1 << 28
# Narrower inputs are padded with zeros up to this factor: their weights there stay without gradient and without use.
_PADDED = 1.5
# A group is packed anew once no more than this share of it still trains.
_SHARE = 0.8


def train_probes(
    probe: Probe,
    clouds: Sequence[Cloud],
    labels: Labels,
    tasks: Sequence[Task],
    *,
    memory: int = _MEMORY,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> list[Fitted]:
    """Train one probe per task, in groups that keep within `memory` bytes, and read the test part with each.

    Every probe has its own initial weights, early stopping and optimiser state, so the result is that of `train_alone`
    up to rounding, in whichever group it stands. All clouds hold the same pictures in one order; inputs are
    standardised by their training part.
    """
    on: dict[int, list[int]] = {}
    for place, task in enumerate(tasks):
        on.setdefault(task.cloud, []).append(place)
    blocks = [(c, part) for c, places in on.items() for part in _split(probe, clouds[c].width, places, labels, memory)]
    sizes = {k: (len(places), clouds[cloud].width) for k, (cloud, places) in enumerate(blocks)}
    found: dict[int, Fitted] = {}
    for group in grouped(probe, sizes, labels, memory):
        places = [place for k in group for place in blocks[k][1]]
        shown = [standardised(clouds[blocks[k][0]], numpy_type(dtype)) for k in group]
        fitted = _Group(probe, shown, labels, [tasks[k] for k in places], torch.device(device), dtype).train()
        found |= dict(zip(places, fitted, strict=True))
    return [found[k] for k in range(len(tasks))]


def grouped(probe: Probe, sizes: Mapping[int, tuple[int, int]], labels: Labels, memory: int) -> list[list[int]]:
    """Blocks (some probes on one cloud) that train together: equally large, of like width, as many as fit.

    `sizes`: how many probes each block has, and the width of its cloud.
    """
    groups: list[list[int]] = []
    used, least, count = 0, 0, 0
    for cloud in sorted(sizes, key=lambda c: sizes[c]):
        probes, width = sizes[cloud]
        need = price(probe, probes, width, labels)
        if not groups or used + need > memory or width > _PADDED * least or probes != count:
            groups.append([])
            used, least, count = 0, width, probes
        groups[-1].append(cloud)
        used += need
    return groups


def _split(probe: Probe, width: int, places: list[int], labels: Labels, memory: int) -> list[list[int]]:
    """Probes on one cloud that are too many for `memory`, in parts that fit (at least one each)."""
    most = len(places)
    while most > 1 and price(probe, most, width, labels) > memory:
        most -= 1
    return [places[k : k + most] for k in range(0, len(places), most)]


def price(probe: Probe, probes: int, width: int, labels: Labels) -> int:
    """Bytes of a cloud and its probes: weights, gradients, two moments, the best state; a batch's activations."""
    sizes = probe.sizes(width, labels.classes)
    held = 5 * probe.parameters(width, labels.classes) + 3 * probe.batch * sum(sizes)
    return 4 * (probes * held + width * sum(len(part) for part in labels[:3]))


@final
class _Group:
    """`tasks` come cloud by cloud, equally many for each. `slots` (R x K) says which of them still train, and where."""

    def __init__(
        self,
        probe: Probe,
        clouds: Sequence[Cloud],
        labels: Labels,
        tasks: Sequence[Task],
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self.probe, self.tasks, self.device, self.dtype = probe, tasks, device, dtype
        self.widest = max(cloud.width for cloud in clouds)
        parts = zip(*((c.train, judged_by(c), c.test) for c in clouds), strict=True)
        self.train_x, self.judge_x, self.test_x = (self._stack(part) for part in parts)
        judged = labels.validation if len(clouds[0].validation) else labels.train
        self.train_y = torch.stack([_labels(labels.train, task) for task in tasks]).to(device)
        self.judge_y = torch.stack([_labels(judged, task) for task in tasks]).to(device)
        self.slots = np.arange(len(tasks)).reshape(len(clouds), -1)
        self.start = self.slots
        widths = np.repeat([cloud.width for cloud in clouds], self.slots.shape[1])
        self.best = self._initial(widths, labels.classes)
        self.weights = [w.requires_grad_(True) for w in _packed(self.best, self.slots)]
        self.adam = self._optimiser()

    def _stack(self, parts: Sequence[np.ndarray]) -> Float[Tensor, "R n D"]:
        padded = [F.pad(torch.from_numpy(part), (0, self.widest - part.shape[1])) for part in parts]
        return torch.stack(padded).to(self.device, self.dtype)

    def _initial(self, widths: np.ndarray, classes: int) -> list[Tensor]:
        """Weights (P x in x out) and biases (P x 1 x out) in turn."""
        each = [initial(self.probe, int(w), classes, t.seed) for w, t in zip(widths, self.tasks, strict=True)]
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
        probe, count = self.probe, len(self.tasks)
        lowest, at = np.full(count, np.inf), np.zeros(count, dtype=int)
        for epoch in range(probe.epochs):
            self._epoch(epoch)
            if not probe.patience:
                continue
            loss = self._judge(self.weights, self.slots)
            # One that was kept for its place only, after its end, learns nothing that counts.
            better = (loss < lowest[self.slots]) & (epoch - at[self.slots] < probe.patience)
            lowest[self.slots[better]], at[self.slots[better]] = loss[better], epoch + 1
            self._keep(better)
            going = epoch + 1 - at[self.slots] < probe.patience
            if not going.any():
                break
            if going.sum() <= _SHARE * going.size:
                self._repack(going)
        if not probe.patience:
            self._keep(np.ones_like(self.slots, dtype=bool))
            at[:] = probe.epochs
        return self._read(at)

    def _epoch(self, epoch: int) -> None:
        n, each = self.train_x.shape[1], self.slots.shape[1]
        places = order(epoch, n).to(self.device)
        truth = self.train_y[torch.from_numpy(self.slots.ravel()).to(self.device)]
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
    def _judge(self, weights: Sequence[Tensor], slots: Int[np.ndarray, "R K"]) -> Float[np.ndarray, "R K"]:
        logits = _forward(self.judge_x, weights, slots.shape[1])
        truth = self.judge_y[torch.from_numpy(slots.ravel()).to(self.device)]
        losses = F.cross_entropy(logits.flatten(0, 1), truth.flatten(), reduction="none")
        return losses.view(*slots.shape, -1).mean(dim=-1).cpu().numpy()

    @torch.no_grad()
    def _keep(self, better: Bool[np.ndarray, "R K"]) -> None:
        if not better.any():
            return
        here = torch.from_numpy(np.flatnonzero(better)).to(self.device)
        there = torch.from_numpy(self.slots[better]).to(self.device)
        for kept, weight in zip(self.best, _unpacked(self.weights, self.slots.shape[1]), strict=True):
            kept[there] = weight[here]

    @torch.no_grad()
    def _repack(self, going: Bool[np.ndarray, "R K"]) -> None:
        """Go on with the clouds that have a probe left, and per cloud with as many probes as the most have left."""
        clouds = np.flatnonzero(going.any(axis=1))
        each = int(going.sum(axis=1).max())
        if len(clouds) == len(going) and each == going.shape[1]:
            return
        # Those that go on first; the rest of a row is filled with some that have ended.
        chosen = np.argsort(~going[clouds], axis=1, kind="stable")[:, :each]
        flat = torch.from_numpy((clouds[:, None] * going.shape[1] + chosen).ravel()).to(self.device)
        before, states = going.shape[1], [self.adam.state[weight] for weight in self.weights]
        self.slots = np.take_along_axis(self.slots[clouds], chosen, axis=1)

        def moved(values: Sequence[Tensor]) -> list[Tensor]:
            return _packed([value[flat] for value in _unpacked(values, before)], self.slots)

        first, second = (moved([state[name] for state in states]) for name in ("exp_avg", "exp_avg_sq"))
        self.weights = [weight.requires_grad_(True) for weight in moved(self.weights)]
        self.adam = self._optimiser()
        for weight, state, one, two in zip(self.weights, states, first, second, strict=True):
            self.adam.state[weight] = {"step": state["step"], "exp_avg": one, "exp_avg_sq": two}
        kept = torch.from_numpy(clouds).to(self.device)
        self.train_x, self.judge_x = self.train_x[kept], self.judge_x[kept]

    @torch.no_grad()
    def _read(self, epochs: Int[np.ndarray, " P"]) -> list[Fitted]:
        logits = _forward(self.test_x, _packed(self.best, self.start), self.start.shape[1])
        said = logits.log_softmax(-1).cpu().numpy()
        return [Fitted(said[k], int(epochs[k])) for k in range(len(self.tasks))]


def _forward(x: Float[Tensor, "R B D"], weights: Sequence[Tensor], each: int) -> Float[Tensor, "P B C"]:
    clouds, count, _ = x.shape
    # Probes on one cloud stand side by side in one matrix, which reads the cloud once.
    x = torch.baddbmm(weights[1], x, weights[0]).view(clouds, count, each, -1).transpose(1, 2).flatten(0, 1)
    for layer in range(2, len(weights), 2):
        x = torch.baddbmm(weights[layer + 1], x.relu(), weights[layer])
    return x


def _packed(each: Sequence[Tensor], slots: np.ndarray) -> list[Tensor]:
    """One weight per probe (P x in x out) as the program holds them: the first layer's as R x in x (K H)."""
    clouds, count = slots.shape
    side = [w.view(clouds, count, *w.shape[1:]).transpose(1, 2).flatten(2) for w in each[:2]]
    return [w.detach().clone(memory_format=torch.contiguous_format) for w in (*side, *each[2:])]


def _unpacked(weights: Sequence[Tensor], count: int) -> list[Tensor]:
    """The inverse of `_packed`."""
    side = [w.view(*w.shape[:2], count, -1).transpose(1, 2).flatten(0, 1) for w in weights[:2]]
    return [*side, *weights[2:]]


def _labels(labels: Int[Tensor, " n"], task: Task) -> Int[Tensor, " n"]:
    return shuffled(labels, task.seed) if task.shuffled else labels
