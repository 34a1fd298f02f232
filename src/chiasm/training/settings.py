"""The settings of the comparison: what trains, on which text and picture, at which rate.

Rates and batches: Verma et al. 2024 name none; these are of the scripts that their README points to, LLaVA's
`pretrain.sh` (FT-Proj) and `finetune_task.sh` (FT-E2E).
"""

from dataclasses import dataclass
from typing import Final, Literal

from chiasm.core.errors import ChiasmError

Part = Literal["projector", "decoder", "tower"]
Kind = Part | Literal["adapters"]
"""What is moved at a rate of its own: a part of the model, or the low-rank adapters in its decoder."""
PUBLISHED_WIDTH: Final = 4096
"""Width of the decoder that the published rates are for (LLaVA-1.5-7B)."""
PUBLISHED_TOWER: Final = 1024
"""Width of the vision tower of that model (CLIP ViT-L/14)."""
HIGHEST: Final = 2e-3
"""No rate is raised above this: projectors and adapters learned no more there, and the model forgot more."""


def rate_for(
    rate: float,
    width: int,
    scale: float | None = None,
    *,
    published: int = PUBLISHED_WIDTH,
    highest: float = HIGHEST,
) -> float:
    """A rate that was `published` for one width at another: times `scale`, or raised by the width up to `highest`.

    Rates of hidden matrices under Adam go with 1 / width (Yang et al. 2022, table 3); a tower's own with the tower's.
    That it suits a projector, whose published rate is 50 times the decoder's, and adapters, whose inner width does not
    grow with the model's, is an assumption that measurements did not bear out: hence the bound (docs/project.md).
    """
    if scale is not None:
        return rate * scale
    return min(rate * published / width, max(rate, highest))


@dataclass(frozen=True, slots=True)
class Setting:
    """One way to adapt a model to a domain.

    `rate` (of AdamW) is for a decoder of width 4096; `batch` is the global one. `plain`: the question, the classes and
    the chat template are left out of training, as in the released code. `square`: pictures are resized and cropped in
    training, while at test they are padded. `rank` (0: none): low-rank adapters stand in for the decoder's own
    weights; `projector_rate` is then the projector's.
    """

    name: str
    parts: tuple[Part, ...]
    rate: float = 0.0
    batch: int = 32
    plain: bool = False
    square: bool = False
    rank: int = 0
    projector_rate: float | None = None
    told: str = ""

    @property
    def tunes(self) -> bool:
        return bool(self.parts)

    def published(self, kind: Kind) -> float:
        """The rate of one kind of parameter at the published widths."""
        return self.rate if kind != "projector" or self.projector_rate is None else self.projector_rate


_ALL: Final = (
    Setting("zero-shot", (), told="nothing is tuned"),
    Setting("ft-proj", ("projector",), 1e-3, 64, told="the projector, question shown, as the paper's formula"),
    Setting(
        "ft-proj-released",
        ("projector",),
        1e-3,
        64,
        plain=True,
        square=True,
        told="the projector as in the released code: question not shown, pictures cropped",
    ),
    Setting("ft-proj-lowlr", ("projector",), 2e-5, 32, told="the projector at the rate and batch of ft-e2e"),
    Setting("ft-e2e", ("projector", "decoder"), 2e-5, 32, told="projector and decoder"),
    Setting(
        "ft-lora",
        ("projector", "decoder"),
        2e-4,
        32,
        rank=128,
        projector_rate=2e-5,
        told="projector, and low-rank adapters in the decoder (rank 128, alpha 256)",
    ),
    Setting("ft-tower", ("projector", "decoder", "tower"), 2e-5, 32, told="everything, the vision tower too"),
)
SETTINGS: Final = {setting.name: setting for setting in _ALL}


def setting_of(name: str) -> Setting:
    """The setting called `name`.

    **Errors:** `ChiasmError` naming the ones there are.
    """
    if name not in SETTINGS:
        raise ChiasmError(f"the setting `{name}`", f"there are {', '.join(SETTINGS)}", "Name one of those")
    return SETTINGS[name]
