"""What a skipping run was asked to do."""

from dataclasses import dataclass
from typing import get_args

from chiasm.core.errors import ChiasmError
from chiasm.core.example import DEFAULT_INSTRUCTION
from chiasm.interventions.skips import SkipSpan
from chiasm.training.settings import RecoverySettings

SHARES = (0.25, 0.5, 0.75, 0.9)
"""Candidates of the search: shares of what could be left out at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SkipSpec:
    """One run of `chiasm skip`. Equal specs ask for equal tables, times apart.

    `max_loss`: share of right answers that may be lost (0.01: one of a hundred). `span`: whose work is left out.
    `calibration`: examples that contributions are measured on; the others verify. `peers`: also the published methods.
    `controls`: plans with random layers, `draws` of them per candidate, and the twin's contributions. `repeats`: timed
    calls of every plan. `unit`: examples computed together.

    `train_with_plan`: `projector` or `lora`, fine-tuned for `train_steps` with `train_plan` in effect (default: the
    plan with the fewest operations), on up to `train_examples` of `train_on` (default: the other split of data without
    end, else the calibration examples), at `train_rate` (default: of `RecoverySettings`).
    """

    model: str
    data: str
    max_loss: float = 0.01
    span: SkipSpan = "image"
    limit: int | None = None
    split: str = "heldout"
    calibration: int = 32
    peers: bool = True
    controls: bool = True
    twin: str | None = None
    draws: int = 2
    repeats: int = 7
    instruction: str = DEFAULT_INSTRUCTION
    max_new_tokens: int = 32
    seed: int = 0
    unit: int = 8
    executor: str = "lockstep"
    train_with_plan: str | None = None
    train_plan: str | None = None
    train_on: str | None = None
    train_examples: int = 1024
    train_steps: int = 200
    train_rate: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.max_loss < 1:
            raise ChiasmError(
                f"--max-loss {self.max_loss:g}", "a share of answers lies in 0 <= share < 1", "Write for example 1%"
            )
        if self.span not in get_args(SkipSpan):
            raise ChiasmError(f"--span {self.span}", f"there are {', '.join(get_args(SkipSpan))}", "Name one of those")
        for name, value, least in (
            ("calibration", self.calibration, 1),
            ("draws", self.draws, 1),
            ("repeats", self.repeats, 1),
            ("max-new-tokens", self.max_new_tokens, 1),
            ("batch-size", self.unit, 1),
            ("train-examples", self.train_examples, 1),
            ("train-steps", self.train_steps, 1),
        ):
            if value < least:
                raise ChiasmError(f"--{name} {value}", f"the least is {least}", "Give a larger number")
        self.recovery()

    def recovery(self) -> RecoverySettings | None:
        """How a plan is trained with; None where none is."""
        if self.train_with_plan is None:
            return None
        return RecoverySettings(
            train=self.train_with_plan,  # pyright: ignore[reportArgumentType]
            steps=self.train_steps,
            learning_rate=self.train_rate,
            seed=self.seed,
        )
