"""transformers' Trainer with what a comparison needs: separate rates, a stop at the first loss that is no number."""

import math
import os
import tempfile
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import Trainer, TrainingArguments

from chiasm.core.errors import ChiasmError
from chiasm.models.encoded import Encoded
from chiasm.models.frame import keep_logits
from chiasm.models.view import ModelView
from chiasm.training.batches import IGNORED, collator
from chiasm.training.features import frozen_tower
from chiasm.training.parts import rate_groups, set_parameters, trained_state
from chiasm.training.settings import PUBLISHED_TOWER, RateGroup, TuningSetting, rate_for

_WARM_UP: Final = 0.03
_KEEP_EVERY: Final = 10
_RECOMPUTED: Final = "_checkpoint_wrapped_module."
"""What accelerate puts into the names of layers whose activations are computed again; states leave it out."""
TRAINED: Final = "trained.safetensors"


@dataclass(frozen=True, slots=True)
class TuningOptions:
    """How a setting is trained here.

    `steps` (0: what `epochs` gives) ends it after so many. `batch`: examples per step (0: the setting's own).
    `micro_batch`: of these, how many go through the model together (0: all). `scale`: multiplies the setting's rates;
    None takes what `rate_for` makes of the width. `from_features`: batches hold features of a frozen tower. `out`:
    where what was trained is written (`TRAINED`), and checkpoints every `save_every` steps (0: none).
    """

    epochs: float = 1.0
    steps: int = 0
    batch: int = 0
    micro_batch: int = 0
    scale: float | None = None
    seed: int = 0
    bf16: bool = False
    checkpointing: bool = False
    from_features: bool = False
    save_every: int = 0
    out: Path | None = None
    resume: bool = False


class TuningResult(NamedTuple):
    """What came of it. `diverged`: at which step the loss was no number; the last state before it is then kept."""

    steps: int
    losses: tuple[float, ...]
    seconds: float
    diverged: int | None


class _Diverged(Exception):  # noqa: N818 (it ends the loop and is not an error)
    pass


def tune(view: ModelView, rows: Sequence[Encoded], setting: TuningSetting, options: TuningOptions) -> TuningResult:
    """Train the parameters that `trainable` has chosen, in place, on `rows` (which may make them on demand).

    AdamW without weight decay, cosine schedule, warm-up over 3 % of the steps, gradients clipped at 1, as LLaVA's
    scripts.

    **Errors:** `ChiasmError` if nothing trains, or the loss is no number at the very first step.
    """
    if not any(parameter.requires_grad for parameter in view.model.parameters()):
        raise ChiasmError(f"tune {view.name} as `{setting.name}`", "no parameter trains", "Call `trainable` first")
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="chiasm-tune-") as scratch:
        trainer = _Trainer(view, setting, options, rows, options.out or Path(scratch))
        diverged = None
        with frozen_tower(view) if options.from_features else nullcontext():
            try:
                trainer.train(resume_from_checkpoint=_checkpoint(options))
            except _Diverged:
                diverged = trainer.restore()
        if options.out is not None:
            trainer.save_model(str(options.out))
        # Mixed precision wraps the model's forward; answers are to be computed as before.
        trainer.accelerator.unwrap_model(trainer.model_wrapped, keep_fp32_wrapper=False)
    view.model.eval()
    return TuningResult(trainer.state.global_step, tuple(trainer.losses), time.perf_counter() - started, diverged)


def _checkpoint(options: TuningOptions) -> str | None:
    found = sorted(options.out.glob("checkpoint-*"), key=_step) if options.resume and options.out else []
    # A checkpoint that was cut short has no state yet: the one before it counts.
    whole = [path for path in found if (path / "trainer_state.json").exists()]
    return str(whole[-1]) if whole else None


def _step(path: Path) -> int:
    return int(path.name.rpartition("-")[2])


class _Trainer(Trainer):
    def __init__(
        self, view: ModelView, setting: TuningSetting, options: TuningOptions, rows: Sequence[Encoded], out: Path
    ) -> None:
        self.view, self.setting = view, setting
        self.scale = options.scale
        self.losses: list[float] = []
        self._kept: tuple[int, dict[str, Tensor]] | None = None
        self._counted = -1
        batch = options.batch or setting.batch
        # Under a launcher the processes share a batch.
        batch_here = batch // int(os.environ.get("WORLD_SIZE", "1"))
        micro_batch = min(options.micro_batch or batch_here, batch_here)
        if not micro_batch or batch_here % micro_batch:
            raise ChiasmError(
                f"batches of {batch_here}", f"{micro_batch} at once do not divide them", "Choose a divisor"
            )
        steps = options.steps or max(1, math.ceil(len(rows) / batch) * options.epochs)
        arguments = TrainingArguments(
            output_dir=str(out),
            num_train_epochs=options.epochs,
            max_steps=options.steps or -1,
            per_device_train_batch_size=micro_batch,
            gradient_accumulation_steps=batch_here // micro_batch,
            learning_rate=rate_for(setting.rate, view.width, self.scale),
            lr_scheduler_type="cosine",
            warmup_steps=math.ceil(_WARM_UP * steps),
            weight_decay=0.0,
            max_grad_norm=1.0,
            seed=options.seed,
            data_seed=options.seed,
            bf16=options.bf16,
            **_recomputing(options.checkpointing),
            save_strategy="steps" if options.save_every else "no",
            save_steps=options.save_every or 500,
            save_total_limit=2,
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
            remove_unused_columns=False,
            label_names=["labels"],
            use_cpu=view.device.type == "cpu",
            dataloader_pin_memory=False,
        )
        super().__init__(model=view.model, args=arguments, train_dataset=rows, data_collator=collator(view))

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """AdamW, each group of parameters at its own rate."""
        if self.optimizer is None:
            group_of = rate_groups(self.view)
            groups: dict[RateGroup, list[nn.Parameter]] = {}
            model = model or self.model
            assert model is not None, "the trainer is made with a model"
            for parameter in model.parameters():
                if parameter.requires_grad:
                    groups.setdefault(group_of[id(parameter)], []).append(parameter)
            given = [{"params": held, "lr": self._rate(group)} for group, held in groups.items()]
            self.optimizer = torch.optim.AdamW(given, lr=self.args.learning_rate, weight_decay=0.0)
        return self.optimizer

    def _rate(self, group: RateGroup) -> float:
        rate = self.setting.published_rate(group)
        if group == "tower":
            return rate_for(rate, self.view.tower_width, self.scale, published=PUBLISHED_TOWER)
        return rate_for(rate, self.view.width, self.scale)

    def compute_loss(self, model: nn.Module, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """The model's own loss; its head is run where an answer is learned, not over image and question."""
        labels = inputs["labels"]
        # The logits that predict an answer's first token stand at the position before it.
        last = int((labels != IGNORED).sum(1).max()) + 1
        keep = keep_logits(self.view, slice_to=last)
        given = inputs | {"labels": labels[:, -last:]} | keep if keep else inputs
        return super().compute_loss(model, given, *args, **kwargs)

    def log(self, *args: Any, **kwargs: Any) -> None:
        """Nothing is printed: losses are kept for the result."""

    def training_step(self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Any = None) -> Tensor:
        """One step; a loss that is no number ends the loop before the optimiser sees it."""
        snapshot = None
        if self._kept is None or self.state.global_step - self._kept[0] >= _KEEP_EVERY:
            # A process holds only its shards of the state under FSDP: checkpoints are what is left then.
            snapshot = {} if self.is_fsdp_enabled else trained_state(self.view)
        loss = super().training_step(model, inputs, num_items_in_batch)
        everywhere = cast(Tensor, self.accelerator.gather(loss.detach().reshape(1)))
        if not bool(torch.isfinite(everywhere).all()):
            raise _Diverged
        if snapshot is not None:
            self._kept = (self.state.global_step, snapshot)
        value = float(everywhere.mean())
        if self.state.global_step == self._counted:
            # Micro-batches of one step: each is a share of its loss.
            self.losses[-1] += value
        else:
            self.losses.append(value)
        self._counted = self.state.global_step
        return loss

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        """A checkpoint holds what trains and nothing else; everything else is as it was loaded."""
        if not self.args.should_save:
            return  # where weights are shared among processes, the others have only helped to gather them
        output_dir = output_dir or self.args.output_dir
        assert output_dir is not None, "the arguments name a directory"
        folder = Path(output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        if state_dict is not None:
            # Gathered from all processes by the trainer.
            named = self.view.model.named_parameters()
            trains = {name.replace(_RECOMPUTED, "") for name, p in named if p.requires_grad}
            save_file({n: v.contiguous() for n, v in state_dict.items() if n in trains}, folder / TRAINED)
        else:
            save_file(trained_state(self.view), folder / TRAINED)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        if self.is_fsdp_enabled:
            super()._load_from_checkpoint(resume_from_checkpoint, model)  # a process holds its shards only
            return
        set_parameters(self.view, load_file(Path(resume_from_checkpoint) / TRAINED))

    def restore(self) -> int:
        """Put back the last state whose loss was a number. Returns the step at which it was none any more."""
        step = self.state.global_step
        if self._kept is None:
            raise ChiasmError(
                f"tune {self.view.name} as `{self.setting.name}`",
                "the loss is no number at the first step",
                "Check the model and the data, or compute in another dtype",
            )
        if not self._kept[1]:
            raise ChiasmError(
                f"tune {self.view.name} as `{self.setting.name}`",
                f"the loss is no number at step {step}, and no process holds the state before it",
                "Lower the rate; or go on from a checkpoint (--save-every, --resume)",
            )
        set_parameters(self.view, self._kept[1])
        return step


def _recomputing(on: bool) -> dict[str, Any]:
    """The arguments by the names of the installed transformers: 5.23 gave them new ones."""
    known = {field.name for field in fields(TrainingArguments)}
    name = "activation_checkpointing" if "activation_checkpointing" in known else "gradient_checkpointing"
    return {name: on, f"{name}_kwargs": {"use_reentrant": False} if on else None}
