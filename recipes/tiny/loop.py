"""The training loop that every stage shares: optimisers, schedule, log, checkpoints that a killed run continues from.

Muon is momentum, orthogonalised by five Newton-Schulz steps (Jordan et al., 2024): the optimiser that makes binding
appear in minutes on two cores. torch has `torch.optim.Muon`; this one does all matrices of a shape in one batched
product, which on small models and few cores is several times faster.
"""

import json
import os
import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

# A killed run loses at most this many seconds.
_SAVE_EVERY: Final = 60.0
_LOG_EVERY: Final = 25
_COEFFICIENTS: Final = (3.4445, -4.7750, 2.0315)


@dataclass(slots=True)
class Run:
    """One stage in a directory: `log.jsonl` and `checkpoint.pt`. `seconds` counts training over all restarts."""

    path: Path
    step: int = 0
    seconds: float = 0.0
    _marks: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    _last: float = field(default_factory=time.monotonic)
    _saved: float = field(default_factory=time.monotonic)

    def resume(self, modules: dict[str, nn.Module], optimizers: Sequence[torch.optim.Optimizer]) -> None:
        """Continues from the checkpoint if the directory holds one."""
        self.path.mkdir(parents=True, exist_ok=True)
        file = self.path / "checkpoint.pt"
        if file.exists():
            held: dict[str, Any] = torch.load(file, weights_only=True)
            for name, module in modules.items():
                module.load_state_dict(held["modules"][name])
            for optimizer, state in zip(optimizers, held["optimizers"], strict=True):
                optimizer.load_state_dict(state)
            self.step, self.seconds = held["step"], held["seconds"]
        self._last = self._saved = time.monotonic()

    def tick(self, marks: dict[str, float]) -> dict[str, float] | None:
        """Counts a step; every `_LOG_EVERY` steps writes the means of the marks to the log and returns them."""
        now = time.monotonic()
        self.seconds += now - self._last
        self._last = now
        self.step += 1
        for name, value in marks.items():
            if value == value:
                self._marks[name].append(value)
        if self.step % _LOG_EVERY:
            return None
        means = {name: round(sum(values) / len(values), 4) for name, values in sorted(self._marks.items()) if values}
        self._marks.clear()
        line = json.dumps({"step": self.step, "seconds": round(self.seconds), **means})
        with (self.path / "log.jsonl").open("a") as log:
            log.write(line + "\n")
        print(line, flush=True)
        return means

    def save(
        self, modules: dict[str, nn.Module], optimizers: Sequence[torch.optim.Optimizer], always: bool = False
    ) -> None:
        """Writes the checkpoint, atomically, when the last one is a minute old."""
        if not always and time.monotonic() - self._saved < _SAVE_EVERY:
            return
        held = {
            "modules": {name: module.state_dict() for name, module in modules.items()},
            "optimizers": [optimizer.state_dict() for optimizer in optimizers],
            "step": self.step,
            "seconds": self.seconds,
        }
        part = self.path / "checkpoint.part"
        torch.save(held, part)
        os.replace(part, self.path / "checkpoint.pt")
        self._saved = time.monotonic()


def orthogonal(stack: Tensor, steps: int = 5) -> Tensor:
    """The nearest semi-orthogonal matrices to `stack` (N, rows, columns), up to the iteration's known looseness."""
    a, b, c = _COEFFICIENTS
    tall = stack.shape[1] > stack.shape[2]
    x = stack.mT if tall else stack
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """Muon for matrices. `lr` is the spectral norm of an update; Nesterov momentum; no weight decay."""

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float = 0.02, momentum: float = 0.95) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One update of every matrix that has a gradient."""
        for group in self.param_groups:
            shapes: dict[torch.Size, list[nn.Parameter]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    shapes[parameter.shape].append(parameter)
            for parameters in shapes.values():
                self._step(parameters, group["lr"], group["momentum"])

    def _step(self, parameters: list[nn.Parameter], lr: float, momentum: float) -> None:
        moved = []
        for parameter in parameters:
            held = self.state[parameter].setdefault("momentum", torch.zeros_like(parameter))
            held.mul_(momentum).add_(parameter.grad)
            moved.append(parameter.grad + momentum * held)
        rows, columns = parameters[0].shape
        updates = orthogonal(torch.stack(moved)) * (-lr * max(1.0, rows / columns) ** 0.5)
        for parameter, update in zip(parameters, updates, strict=True):
            parameter.add_(update)


def optimizers(module: nn.Module, matrices: float, others: float) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of transformer layers at rate `matrices`, AdamW for everything else at `others`."""
    layered = [p for name, p in module.named_parameters() if p.requires_grad and p.ndim == 2 and ".layers." in name]
    inside = {id(p) for p in layered}
    rest = [p for p in module.parameters() if p.requires_grad and id(p) not in inside]
    made: list[torch.optim.Optimizer] = [Muon(layered, lr=matrices)] if layered else []
    return [*made, torch.optim.AdamW(rest, lr=others, betas=(0.9, 0.98), weight_decay=0.01, foreach=True)]


def schedule(made: Sequence[torch.optim.Optimizer], share: float, warm: float = 0.02, cool: float = 0.4) -> None:
    """Sets the learning rates `share` (0..1) of the way through: a short rise, a plateau, a linear fall to 2 %."""
    factor = min(1.0, (share + 1e-3) / warm) * min(1.0, 0.02 + 0.98 * max(0.0, 1 - share) / cool)
    for optimizer in made:
        for group in optimizer.param_groups:
            group["lr"] = group.setdefault("base_lr", group["lr"]) * factor


def update(module: nn.Module, made: Sequence[torch.optim.Optimizer], loss: Tensor) -> None:
    """One step down the loss, the gradient clipped to length 1."""
    loss.backward()
    torch.nn.utils.clip_grad_norm_([p for p in module.parameters() if p.grad is not None], 1.0)
    for optimizer in made:
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


StepLoss = Callable[[int, random.Random], tuple[Tensor, dict[str, float]]]
"""The loss of a step and what goes to the log, from the step's number and a source of its random draws."""


def train(
    path: Path,
    name: str,
    modules: dict[str, nn.Module],
    step_loss: StepLoss,
    steps: int,
    *,
    matrices: float = 0.01,
    others: float = 2e-3,
    cool: float = 0.4,
    stop: int | None = None,
) -> dict[str, float]:
    """Trains `modules` together in the directory `path`, from its checkpoint if there is one; the last line logged.

    `name` seeds the draws of each step. `matrices`, `others`: learning rates (`optimizers`). `cool`: the share of the
    steps over which they fall. `stop` ends the process early, at that step; the next call continues.
    """
    whole = nn.ModuleDict(modules).train()
    made = optimizers(whole, matrices, others)
    run = Run(path)
    run.resume(modules, made)
    reached: dict[str, float] = {}
    while run.step < (steps if stop is None else stop):
        schedule(made, run.step / steps, cool=cool)
        loss, marks = step_loss(run.step, random.Random(f"{name}/{run.step}"))
        update(whole, made, loss)
        reached = run.tick({"loss": float(loss.detach()), **marks}) or reached
        run.save(modules, made)
    run.save(modules, made, always=True)
    return reached
