"""What a run of `chiasm project` was asked to do."""

from dataclasses import dataclass
from typing import Final

from chiasm.core.errors import ChiasmError
from chiasm.data.domains import PROCEDURAL
from chiasm.measures.probes.kinds import PROBES, probe_of
from chiasm.models.projectors import parse_projector
from chiasm.training import SETTINGS, setting_of
from chiasm.training.settings import PUBLISHED_WIDTH

DEFAULT_SETTINGS: Final = tuple(SETTINGS)
MOST_TOKENS: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectSpec:
    """One run of `chiasm project`. Equal specs ask for equal tables.

    `seeds`: how many, counted from `seed`. `epochs`: the paper's is 1. `train_batch`: examples per step of FT-E2E;
    settings keep their published proportions to it (0: as published, 32). `scale` multiplies the published rates
    (None: by width, `training.settings.rate_for`). `projectors`: other projectors to put in, align on captions and
    tune; `align_steps` of it, 32 pictures each. `skill`: held-out scenes asked before and after tuning (0: none).
    `contrastive`: the CLIP model whose tower this is, for its own zero-shot answers. `output`: the released
    prompt's ending. `probes`: classifiers that are trained on the model's states (none: that part is left out);
    `controls`: the same on shuffled labels and behind a random projector. `inside`: test
    pictures (and scenes) whose answers are traced inside the model (0: none). `limit`: pictures per part of a domain.
    `unit`: examples answered together.
    """

    model: str
    data: str
    domains: tuple[str, ...] = PROCEDURAL
    settings: tuple[str, ...] = DEFAULT_SETTINGS
    seeds: int = 3
    seed: int = 0
    epochs: float = 1.0
    train_batch: int = 4
    scale: float | None = None
    projectors: tuple[str, ...] = ()
    align_steps: int = 200
    skill: int = 60
    contrastive: str | None = None
    topic: str | None = None
    output: bool = False
    probes: tuple[str, ...] = PROBES
    controls: bool = True
    inside: int = 0
    limit: int | None = None
    bf16: bool = False
    checkpointing: bool = False
    unit: int = 24

    def __post_init__(self) -> None:
        for name in self.settings:
            setting_of(name)
        for text in self.projectors:
            parse_projector(text)
        for name in self.probes:
            probe_of(name, PUBLISHED_WIDTH)
        if not self.domains or not self.settings:
            raise ChiasmError("compare settings", "no domain or no setting is named", "Name at least one of each")
        named = {"domain": self.domains, "setting": self.settings, "projector": self.projectors, "probe": self.probes}
        for name, values in named.items():
            if len(set(values)) < len(values):
                raise ChiasmError(f"compare {', '.join(values)}", f"a {name} is named twice", "Name each once")
        for name, value, least in (
            ("seeds", self.seeds, 1),
            ("train-batch", self.train_batch, 1),
            ("align-steps", self.align_steps, 1),
            ("skill", self.skill, 0),
            ("inside", self.inside, 4 if self.inside else 0),
            ("batch-size", self.unit, 1),
        ):
            if value < least:
                raise ChiasmError(f"--{name} {value}", f"the least is {least}", "Give a larger number")
        if self.epochs <= 0:
            raise ChiasmError(f"--epochs {self.epochs:g}", "nothing would be tuned", "Give a number above 0")

    def batch_of(self, setting: str) -> int:
        """Examples per step: the published batches keep their proportion."""
        return max(1, setting_of(setting).batch * self.train_batch // 32)
