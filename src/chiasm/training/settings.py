"""The settings of the comparison: what trains, on which text and image, at which rate.

Rates and batches: Verma et al. 2024 name none; these are of the scripts that their README points to, LLaVA's
`pretrain.sh` (FT-Proj) and `finetune_task.sh` (FT-E2E).
"""

from dataclasses import dataclass
from typing import Final, Literal, get_args

from chiasm.core.errors import ChiasmError

ModelPart = Literal["projector", "decoder", "tower"]
RateGroup = ModelPart | Literal["adapters"]
"""What has a learning rate of its own: a part of the model, or the low-rank adapters in its decoder."""
PUBLISHED_WIDTH: Final = 4096
"""Width of the decoder that the published rates are for (LLaVA-1.5-7B)."""
PUBLISHED_TOWER: Final = 1024
"""Width of the vision tower of that model (CLIP ViT-L/14)."""
MAX_RATE: Final = 2e-3
"""No rate is raised above this: projectors and adapters learned no more there, and the model forgot more."""


def rate_for(
    rate: float,
    width: int,
    scale: float | None = None,
    *,
    published: int = PUBLISHED_WIDTH,
    max_rate: float = MAX_RATE,
) -> float:
    """A rate that was `published` for one width at another: times `scale`, or raised by the width up to `max_rate`.

    Rates of hidden matrices under Adam go with 1 / width (Yang et al. 2022, table 3); a tower's own with the tower's.
    That it suits a projector, whose published rate is 50 times the decoder's, and adapters, whose inner width does not
    grow with the model's, is an assumption that measurements did not bear out: hence the bound (docs/project.md).
    """
    if scale is not None:
        return rate * scale
    return min(rate * published / width, max(rate, max_rate))


@dataclass(frozen=True, slots=True)
class TuningSetting:
    """One way to adapt a model to a domain.

    `rate` (of AdamW) is for a decoder of width 4096; `batch` is the global one. `plain`: the question, the classes and
    the chat template are left out of training, as in the released code. `square`: images are resized and cropped in
    training, while at test they are padded. `rank` (0: none): low-rank adapters stand in for the decoder's own
    weights; `projector_rate` is then the projector's.
    """

    name: str
    parts: tuple[ModelPart, ...]
    rate: float = 0.0
    batch: int = 32
    plain: bool = False
    square: bool = False
    rank: int = 0
    projector_rate: float | None = None

    @property
    def tunes(self) -> bool:
        return bool(self.parts)

    def published_rate(self, group: RateGroup) -> float:
        """The rate of one group of parameters at the published widths."""
        return self.rate if group != "projector" or self.projector_rate is None else self.projector_rate


_ALL: Final = (
    TuningSetting("zero-shot", ()),
    # The question is shown, as in the paper's formula.
    TuningSetting("ft-proj", ("projector",), 1e-3, 64),
    TuningSetting("ft-proj-released", ("projector",), 1e-3, 64, plain=True, square=True),
    # At the rate and batch of `ft-e2e`.
    TuningSetting("ft-proj-lowlr", ("projector",), 2e-5, 32),
    TuningSetting("ft-e2e", ("projector", "decoder"), 2e-5, 32),
    TuningSetting("ft-lora", ("projector", "decoder"), 2e-4, 32, rank=128, projector_rate=2e-5),
    TuningSetting("ft-tower", ("projector", "decoder", "tower"), 2e-5, 32),
)
SETTINGS: Final = {setting.name: setting for setting in _ALL}


def setting_of(name: str) -> TuningSetting:
    """The setting called `name`.

    **Errors:** `ChiasmError` naming the ones there are.
    """
    if name not in SETTINGS:
        raise ChiasmError(f"the setting `{name}`", f"there are {', '.join(SETTINGS)}", "Name one of those")
    return SETTINGS[name]


RecoveryPart = Literal["projector", "lora"]
"""What is trained while a model skips."""
_RECOVERY_RATES: Final = {"projector": 1e-4, "lora": 2e-4}  # for a width of 4096; `rate_for` makes others of them
# A projector that is aligned already has little way to go, and 3.2e-3 cost the embedded model answers without any plan.
_MAX_RECOVERY_RATES: Final = {"projector": 5e-4, "lora": 5e-3}


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoverySettings:
    """What is trained while a model skips, and for how long.

    `train`: the projector, or low-rank updates of `rank` on every linear layer of the decoder. `learning_rate` None:
    1e-4 for the projector and 2e-4 for LoRA at width 4096, more for narrower models (`rate_for`), up
    to 5e-4 and 5e-3; a rate that is given is taken as it is. `batch_size`: examples of one step.
    """

    train: RecoveryPart = "projector"
    steps: int = 200
    batch_size: int = 16
    learning_rate: float | None = None
    rank: int = 8
    seed: int = 0

    def __post_init__(self) -> None:
        if self.train not in get_args(RecoveryPart):
            known = ", ".join(get_args(RecoveryPart))
            raise ChiasmError(f"train `{self.train}` with a plan", f"there are {known}", "Name one of those")
        for name, value in (("steps", self.steps), ("batch-size", self.batch_size), ("rank", self.rank)):
            if value < 1:
                raise ChiasmError(f"train with {name} {value}", "the minimum is 1", "Give a larger number")
        if self.learning_rate is not None and not self.learning_rate > 0:
            raise ChiasmError(
                f"train at the rate {self.learning_rate}", "nothing would be learned", "Give a rate above 0"
            )

    def rate(self, width: int) -> float:
        """The learning rate for a decoder of `width`."""
        if self.learning_rate is not None:
            return self.learning_rate
        return rate_for(_RECOVERY_RATES[self.train], width, max_rate=_MAX_RECOVERY_RATES[self.train])

    def setting(self, width: int) -> TuningSetting:
        """The same in the terms of the training loop, whose rates are then taken as they are."""
        rate = self.rate(width)
        if self.train == "projector":
            return TuningSetting("recovery", ("projector",), rate, self.batch_size)
        return TuningSetting("recovery", ("decoder",), rate, self.batch_size, rank=self.rank)
