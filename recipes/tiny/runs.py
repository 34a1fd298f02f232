"""What every stage shares: a clock, a log, checkpoints that a killed run continues from."""

import json
import os
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch
from recipes.tiny.muon import Muon
from torch import Tensor, nn

# A killed run loses at most this many seconds.
_SAVE_EVERY: Final = 60.0


@dataclass(slots=True)
class Run:
    """One stage in a directory: `log.jsonl` and `checkpoint.pt`. `seconds` counts training over all restarts."""

    path: Path
    step: int = 0
    seconds: float = 0.0
    _marks: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    _last: float = field(default_factory=time.monotonic)
    _saved: float = field(default_factory=time.monotonic)

    def open(self, modules: dict[str, nn.Module], optimizers: Sequence[torch.optim.Optimizer]) -> None:
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

    def tick(self, marks: dict[str, float], every: int = 50) -> dict[str, float] | None:
        """Counts a step; every so many steps writes the means of the marks to the log and returns them."""
        now = time.monotonic()
        self.seconds += now - self._last
        self._last = now
        self.step += 1
        for name, value in marks.items():
            if value == value:
                self._marks[name].append(value)
        if self.step % every:
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


Hook = Callable[[], None]
