"""What a skipping run was asked to do."""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any

from chiasm.core.options import MISSING, Section, example_option, option, write_option
from chiasm.interventions.skips import SkipPlan, SkipSpan
from chiasm.studies.options import (
    ControlledSpec,
    Data,
    ExecutorName,
    FunctionOptions,
    LoadingOptions,
    Model,
    ReadingOptions,
    data_option,
    examples_option,
    loss_option,
    memory_option,
    random_models_option,
    studied_option,
)
from chiasm.studies.options import share as share
from chiasm.studies.skip.tables import SMALLEST
from chiasm.training.settings import RecoveryPart, RecoverySettings

STEPS = (0.25, 0.5, 1.0, 2.0)
"""Without budgets of operations: the divergences that the search's proposals are foretold to cost, in the loss allowed.

Contributions are nat, and 0.01 nat is about 1 % of the answer's probability. What they add up to is not known before it
is verified, so there are proposals on both sides.
"""


def _train_examples_option() -> Any:
    return example_option(1024, "At most so many of them.", at_least=1)


def _rate_option() -> Any:
    return option(
        None,
        "Learning rate. Default: 1e-4 for the projector and 2e-4 for LoRA at width 4096; narrower decoders take more, "
        "up to 5e-4 and 5e-3.",
        above=0,
    )


def _answer_length_option() -> Any:
    return option(32, "Longest answer.", at_least=1)


@dataclass(frozen=True, kw_only=True)
class SkipSpec(ControlledSpec):
    """Which work on perceptual tokens can be left out, at what loss, and how much time does that save?

    Measures what each layer's feed-forward and attention contribute for the tokens of a span, proposes plans, verifies
    them on other examples beside the published methods, times them, and writes the recommended one to plan.json and
    every verified one to `plans/`.

    The embedded model, on the embedded world:

        chiasm skip tiny

    Your model, your data, up to two of a hundred answers:

        chiasm skip llava-hf/llava-1.5-7b-hf --data my.jsonl --max-loss 2%

    A cheaper plan, and the projector trained to live with it (kept in `recovered/` of the run):

        chiasm skip tiny --train-with-plan projector

    Then, in Python, `chiasm.apply(model, "runs/...")` gives an ordinary transformers model that skips.

    Sources: Shukor & Cord 2024 (arXiv 2405.16700, 2410.09454); ShortV (arXiv 2504.00502) for the criterion.
    """

    controls: bool = option(
        True,
        "Random layers beside every proposal, and the random-weights baseline.",
        common=True,
    )
    max_loss: float | str = loss_option()
    budgets: Sequence[float] = option(
        (),
        "Share of the prompt's operations that a plan may take, as 0.6; repeat it for several. Default: as few as the "
        "contributions allow for --max-loss, with milder and bolder plans beside it.",
        above=0,
        below=1,
        common=True,
    )
    smallest_effect: float = option(
        SMALLEST,
        "Smallest change of the answer's log-probability worth naming, in nat; 0.05 is about 5 %. Of right answers "
        "it is --max-loss.",
        above=0,
        below=10,
    )
    random_models: int = random_models_option(8, "share the examples of the contributions")
    span: SkipSpan | None = option(
        None,
        "Whose work is left out. Default: images, or whatever else the examples have besides text.",
        common=True,
    )
    peers: bool = option(
        True,
        "Also visual and textual feed-forward skipping, ShortV, V-Skip, FastV, tokens dropped at random, and the "
        "companion paper's blocks.",
        common=True,
    )
    draws: int = option(2, "Random draws of layers per proposal, and of tokens per share.", at_least=1)
    repeats: int = option(7, "Timed calls of every plan.", at_least=1)
    max_new_tokens: int = _answer_length_option()
    calibration: int = example_option(32, "Examples that contributions are measured on; the others verify.", at_least=1)
    train_with_plan: RecoveryPart | None = option(
        None,
        "Then fine-tune the projector, or LoRA, with a plan in effect: what comes back, beside training without it.",
        common=True,
    )
    train_plan: str | None = option(
        None, "Plan to train with, by its name in the table `plans`. Default: the one with the fewest operations."
    )
    train_on: Data | None = data_option(
        "Examples to train on. Default: the other split of `scenes`, else the calibration examples.",
        section=Section.EXAMPLES,
    )
    train_examples: int = _train_examples_option()
    train_steps: int = option(200, "Steps of 16 examples.", at_least=1)
    train_rate: float | None = _rate_option()
    memory: int | str | None = memory_option()
    executor: ExecutorName = option(
        "lockstep",
        "All contributions in one walk down the layers, or one full pass each (slow, the yardstick).",
        section=Section.COMPUTE,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.recovery()

    @property
    def smallest(self) -> float | None:
        return self.smallest_effect

    @property
    def proposals(self) -> int:
        """How many plans the search proposes at most."""
        return len(self.budgets or STEPS)

    @property
    def skipped_span(self) -> SkipSpan:
        """The span whose work is left out; images until the examples have been seen."""
        return self.span or "image"

    def recovery(self) -> RecoverySettings | None:
        """How a plan is trained with; None where none is."""
        if self.train_with_plan is None:
            return None
        trained = {"train": self.train_with_plan, "steps": self.train_steps, "learning_rate": self.train_rate}
        return RecoverySettings(seed=self.seed, **trained)


@dataclass(frozen=True)
class RecoverSpec(FunctionOptions, ReadingOptions, LoadingOptions):
    """Fine-tune a model with a plan in effect, and measure on `data` what that gives back.

    A model in memory is changed: it stays trained, without the plan in effect; give the same plan to `apply`, with
    `same_weights=False`.

    Source: Shukor & Cord 2024 (arXiv 2410.09454); the optimiser's settings for other models than theirs are ours.

    **Errors:** `ChiasmError` for a plan of another model, or if both sets share an example or an image.
    """

    model: Model = studied_option()
    plan: SkipPlan | str | Path = option(
        MISSING, "A `SkipPlan`, or a path to a plan.json, a run, or a checkpoint that `save` wrote.", positional=True
    )
    data: Data | None = examples_option()
    _: KW_ONLY
    train: RecoveryPart = option("projector", "The projector, or low-rank updates of the decoder, merged at the end.")
    train_on: Data | None = data_option(
        "Examples to train on. Default: the other split of `scenes`; other data need them.", section=Section.EXAMPLES
    )
    train_examples: int = _train_examples_option()
    steps: int = option(200, "Steps of training.", at_least=1)
    batch_size: int = option(16, "Examples of one step, and answered together.", at_least=1)
    rate: float | None = _rate_option()
    rank: int = option(8, "Rank of the low-rank updates.", at_least=1)
    controls: bool = option(True, "Also train as long without the plan, and undo it.")
    max_new_tokens: int = _answer_length_option()
    out: str | Path | None = write_option(None, "New folder for the trained model and its plan.")

    def recovery(self) -> RecoverySettings:
        """How the plan is trained with."""
        shape = {"steps": self.steps, "batch_size": self.batch_size, "learning_rate": self.rate, "rank": self.rank}
        return RecoverySettings(train=self.train, seed=self.seed, **shape)
