"""What a run of `chiasm project` was asked to do."""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import ClassVar, Literal, get_args

from chiasm.core.errors import ChiasmError
from chiasm.core.options import Section, compute_option, example_option, option
from chiasm.interventions.projectors import parse_projector
from chiasm.measures.probes.kinds import PROBES
from chiasm.studies.options import Data, Model, StudySpec, data_option, model_name, outside_option, studied_option
from chiasm.studies.project.tables import SMALLEST
from chiasm.tiny.registry import names
from chiasm.training.settings import setting_of

SettingName = Literal["zero-shot", "ft-proj", "ft-proj-released", "ft-proj-lowlr", "ft-e2e", "ft-lora", "ft-tower"]
ProbeName = Literal["linear", "mlp-paper", "mlp-code", "none"]
_NO_PROBE = "none"
_MIN_TRACED = 4


@dataclass(frozen=True)
class ProjectSpec(StudySpec):
    """Tune the projector or the language model to a domain: what does it buy?

    Adapts the model to each domain in every setting and seed, and asks it before and after: freely, and for the most
    probable of all labels. The model itself is left as it was.

    The embedded model, on two domains that it has never seen; first a quick look:

        chiasm project tiny --seeds 1 --limit 60
        chiasm project tiny

    Your model, your images (one folder per class in train/ and test/):

        chiasm project llava-hf/llava-1.5-7b-hf --domain plantdoc/ --setting zero-shot --setting ft-proj

    Other projectors, each aligned on captions before it is tuned:

        chiasm project tiny --projector linear --projector perceiver:tokens=9,depth=2

    Source: Verma et al. 2024 (arXiv 2402.16832). The released FT-Proj never shows the question to the model, crops
    images, and runs at 50 times the rate of FT-E2E; here the fair form is the default and the released one a name.
    """

    auto_batch_size: ClassVar[int] = 24

    model: Model = studied_option(by_content=True)
    domains: str | Path | Sequence[str | Path] = example_option(
        ("surfaces", "leaves"),
        "`surfaces`, `leaves`, a folder, a .csv or a .jsonl. Repeat it for several. Default: `surfaces` and `leaves`.",
        positional=True,
        typed_as=tuple[str, ...],
        by_flag=True,
        by_content=True,
        common=True,
    )
    _: KW_ONLY
    settings: Sequence[SettingName] = option(
        get_args(SettingName), "What is tuned, and how. Repeat it for several. Default: all seven.", common=True
    )
    seeds: int = option(3, "How many, counted from --seed.", at_least=1, common=True)
    epochs: float | None = option(
        None, "Passes over the training part. Default: the paper's 1 (embedded model: 3, as it starts from less)."
    )
    train_batch: int | None = option(
        None,
        "Images per step of ft-e2e; the others keep the published proportion. Default: 32 (embedded model: 4).",
        at_least=1,
    )
    scale: float | None = option(
        None,
        "Multiplies the published learning rates. Default: 4096 / width of the decoder (of the tower: 1024 / its "
        "width), up to a rate of 2e-3.",
    )
    projectors: Sequence[str] = option(
        (), "Another projector to put in, as mlp:depth=3,width=512. Repeat it for several.", common=True
    )
    align_steps: int = option(200, "Steps of 32 captions that a new projector is aligned for.", at_least=1)
    captions: Data = data_option("Data with captions that new projectors are aligned on.", "scenes")
    skill: int = option(60, "Held-out scenes asked before and after tuning.", at_least=0)
    contrastive: str | Path | None = option(
        None,
        "The CLIP model whose tower this is, for its zero-shot answers. Default: of the embedded models, their own.",
        typed_as=str | None,
    )
    topic: str | None = option(None, "What the prompt calls the classes; the paper's is known for one domain only.")
    released_prompt: bool = option(False, "End prompts as the released code does.", formerly=("output",))
    probes: Sequence[ProbeName] = option(
        PROBES,
        "What reads the model's states in every setting, or none. Repeat it for several. Default: all three.",
        common=True,
    )
    controls: bool = option(
        True, "Probes on shuffled labels and behind a projector with permuted weights.", common=True
    )
    smallest_effect: float = option(
        SMALLEST, "Smallest difference of macro-F1, or of a share, worth naming.", at_least=0, below=1
    )
    inside: int = option(
        0,
        "Trace the answers to so many test images inside the model: attribution, neurons, concepts (at least 4).",
        at_least=0,
        common=True,
    )
    limit: int | None = example_option(None, "Images per part of a domain, classes in turn.", common=True, at_least=1)
    seed: int = example_option(0, "The first seed.", at_least=0)
    allow_outside: bool = outside_option()
    bf16: bool = option(False, "Train in mixed precision.", section=Section.COMPUTE)
    checkpointing: bool = option(False, "Compute activations again instead of keeping them.", section=Section.COMPUTE)
    workers: int | Literal["auto"] | None = compute_option(
        1,
        "Processes that share the work. `auto`: for an embedded model on the CPU one per core, else one. A script that "
        'asks for several needs `if __name__ == "__main__":`.',
        at_least=1,
        typed_as=int | Literal["auto"],
        typed_default="auto",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.domains or not self.settings:
            raise ChiasmError("compare settings", "no domain or no setting is named", "Name at least one of each")
        named = {"domain": self.sources, "setting": self.settings, "projector": self.projectors, "probe": self.probes}
        for name, values in named.items():
            if len(set(values)) < len(values):
                raise ChiasmError(f"compare {', '.join(values)}", f"a {name} is named twice", "Name each once")
        for text in self.projectors:
            parse_projector(text)
        if self.epochs is not None and self.epochs <= 0:
            raise ChiasmError(f"--epochs {self.epochs:g}", "nothing would be tuned", "Give a number above 0")
        if 0 < self.inside < _MIN_TRACED:
            raise ChiasmError(f"--inside {self.inside}", f"the minimum is {_MIN_TRACED}", "Give a larger number")
        if not self.probes:  # written as a word, so that the command line can say it
            object.__setattr__(self, "probes", (_NO_PROBE,))

    @property
    def sources(self) -> tuple[str, ...]:
        """The domains as they were named."""
        named = (self.domains,) if isinstance(self.domains, str | Path) else self.domains
        return tuple(str(source) for source in named)

    @property
    def trained_probes(self) -> tuple[str, ...]:
        """The probes that are trained on the model's states; empty where that part is left out."""
        return tuple(name for name in self.probes if name != _NO_PROBE)

    def auto_workers(self, cores: int) -> int:
        """As many as share nothing that is computed once; one for a model of another size than the embedded ones."""
        return min(cores, len(self.sources) * self.seeds) if model_name(self.model) in names() else 1

    @property
    def smallest(self) -> float | None:
        return self.smallest_effect

    @property
    def all_seeds(self) -> range:
        """Every seed of training."""
        return range(self.seed, self.seed + self.seeds)

    def batch_of(self, setting: str) -> int:
        """Examples per step: the published batches keep their proportion."""
        return max(1, setting_of(setting).batch * (self.train_batch or 32) // 32)

    def title(self) -> tuple[str, ...]:
        return (Path(model_name(self.model) or "").name,)
