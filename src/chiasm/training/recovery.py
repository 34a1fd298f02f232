"""Recovery: a model is fine-tuned while it skips, so that it learns to do without the work that is left out.

Source: Shukor & Cord 2024 (Skipping Computations in Multimodal LLMs, arXiv 2410.09454): the mapping module is trained
with the skips active. Rates and steps for other models than theirs are unknown.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from chiasm.core.errors import ChiasmError
from chiasm.interventions.skips import SkipPlan
from chiasm.models.encoded import Encoded
from chiasm.models.skipping.apply import skipping
from chiasm.models.view import ModelView
from chiasm.training.loop import TuningOptions, tune
from chiasm.training.parts import ParameterSnapshot, trainable
from chiasm.training.settings import RecoverySettings


@dataclass(slots=True)
class RecoveredModel:
    """A model while it is tuned. `losses`: nat per token, step by step."""

    losses: tuple[float, ...] = ()
    kept: bool = False
    _merge: Callable[[], None] = lambda: None

    def keep(self) -> None:
        """Do not undo the tuning at the end; LoRA is then merged into the weights."""
        self.kept = True

    def merge(self) -> None:
        """Make it an ordinary model now, to be saved as one. Memory: the adapted weights a second time, on the CPU."""
        self._merge()


@contextmanager
def trained_while_skipping(
    view: ModelView, encoded: Sequence[Encoded], settings: RecoverySettings, plan: SkipPlan | None = None
) -> Iterator[RecoveredModel]:
    """While open, `view.model` is fine-tuned on the forced answers of `encoded`, with `plan` in effect as it trained.

    The plan is not in effect inside the block. At its end every weight is as it was, bit by bit, unless `keep` was
    called. The order of the examples and the adapters' start depend on the seed alone, so two tunings differ by their
    plan only.

    **Errors:** `ChiasmError` for a model without a projector, one wrapped by PEFT, weights that cannot be trained in
    their dtype, examples without a forced answer, or a loss that is no number.
    """
    _require_trainable(view, encoded, settings)
    grads = {name: p.requires_grad for name, p in view.model.named_parameters()}
    linears = [m.weight for layer in view.layers for m in layer.modules() if isinstance(m, nn.Linear)]
    result = RecoveredModel()
    with ExitStack() as stack:
        stack.callback(_put_back_grads, view.model, grads)
        setting = settings.setting(view.width)
        training = trainable(view, setting, settings.seed)
        if settings.train == "lora":
            _undo_adapters(training, linears, stack, result)
        else:
            stack.callback(lambda before: None if result.kept else before.restore(), ParameterSnapshot(training))
        with torch.enable_grad(), ExitStack() as skips:
            if plan is not None:
                skips.enter_context(skipping(view, plan, same_weights=False))
            found = tune(training, encoded, setting, _options(len(encoded), settings))
        if found.diverged is not None:
            raise ChiasmError(
                f"train `{view.name}` with a plan",
                f"the loss is no number at step {found.diverged}",
                "Lower the learning rate",
            )
        result.losses = found.losses
        yield result


def _options(examples: int, settings: RecoverySettings) -> TuningOptions:
    batch = min(settings.batch_size, examples)
    steps_an_epoch = -(-examples // batch)
    return TuningOptions(epochs=settings.steps / steps_an_epoch, batch=batch, scale=1.0, seed=settings.seed)


def _undo_adapters(training: ModelView, weights: Sequence[Tensor], stack: ExitStack, result: RecoveredModel) -> None:
    wrapper: Any = training.model  # PEFT's, whose methods torch's types do not know
    before: list[Tensor] = []

    def merge() -> None:
        if not before:
            before.extend(weight.detach().cpu().clone() for weight in weights)
            wrapper.merge_and_unload()

    def take_off() -> None:
        if not before:
            wrapper.merge_and_unload() if result.kept else wrapper.unload()
        elif not result.kept:
            with torch.no_grad():
                for weight, old in zip(weights, before, strict=True):
                    weight.copy_(old)

    result._merge = merge
    stack.callback(take_off)


def _put_back_grads(model: nn.Module, grads: dict[str, bool]) -> None:
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(grads[name])


def _require_trainable(view: ModelView, encoded: Sequence[Encoded], settings: RecoverySettings) -> None:
    asked = f"train the {settings.train} of `{view.name}`"
    if view.is_peft:
        raise ChiasmError(asked, "it is wrapped by PEFT", "Merge the adapter first (`merge_and_unload`)")
    # Adapters are kept in single precision whatever they stand beside.
    trainable_dtypes = (torch.float32, torch.float64) + ((torch.bfloat16,) if settings.train == "lora" else ())
    kept = view.precision.weights
    if kept not in trainable_dtypes:
        raise ChiasmError(asked, f"its weights are {kept}, which small steps do not move", "Load it in float32")
    if any(p.device.type == "meta" or not p.is_floating_point() for p in view.model.parameters()):
        raise ChiasmError(asked, "some of its weights are offloaded or quantised", "Load it whole and unquantised")
    if not encoded or any(not one.answer_tokens for one in encoded):
        raise ChiasmError(asked, "there are no examples, or some without an answer", "Give examples with answers")
