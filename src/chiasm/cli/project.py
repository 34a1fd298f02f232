"""`chiasm project`."""

import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from chiasm.cli.options import Model, Place

Setting = Literal["zero-shot", "ft-proj", "ft-proj-released", "ft-proj-lowlr", "ft-e2e", "ft-lora", "ft-tower"]

Probe = Literal["linear", "mlp-paper", "mlp-code", "none"]


def project(
    model: Model,
    /,
    *,
    domain: tuple[str, ...] = ("surfaces", "leaves"),
    setting: tuple[Setting, ...] = (),
    seeds: int = 3,
    epochs: float | None = None,
    train_batch: int | None = None,
    scale: float | None = None,
    projector: tuple[str, ...] = (),
    align_steps: int = 200,
    captions: str = "scenes",
    skill: int = 60,
    contrastive: str | None = None,
    topic: str | None = None,
    output: Annotated[bool, Parameter(negative="")] = False,
    probe: tuple[Probe, ...] = (),
    controls: bool = True,
    inside: int = 0,
    limit: int | None = None,
    bf16: Annotated[bool, Parameter(negative="")] = False,
    checkpointing: Annotated[bool, Parameter(negative="")] = False,
    seed: int = 0,
    batch_size: int | Literal["auto"] = "auto",
    workers: int | Literal["auto"] = "auto",
    out: Path | None = None,
    resume: Annotated[bool, Parameter(negative="")] = False,
    fresh: Annotated[bool, Parameter(negative="")] = False,
    place: Place = Place(),  # noqa: B008 (frozen)
) -> None:
    """Tune the projector or the language model to a domain: what does it buy?

    Adapts the model to each domain in every setting and seed, and asks it before and after: freely, and for the most
    probable of all labels. The model itself is left as it was.

    The embedded model, on two domains that it has never seen; first a quick look:

        chiasm project tiny --seeds 1 --limit 60
        chiasm project tiny

    Your model, your pictures (one folder per class in train/ and test/):

        chiasm project llava-hf/llava-1.5-7b-hf --domain plantdoc/ --setting zero-shot --setting ft-proj

    Other projectors, each aligned on captions before it is tuned:

        chiasm project tiny --projector linear --projector perceiver:tokens=9,depth=2

    Parameters
    ----------
    domain
        `surfaces`, `leaves`, a folder, a .csv or a .jsonl; may be given several times.
    setting
        What is tuned, and how; may be given several times. Default: all seven.
    seeds
        How many, counted from --seed.
    epochs
        Passes over the training part. Default: the paper's 1 (embedded model: 3, as it starts from less).
    train_batch
        Pictures per step of ft-e2e; the others keep the published proportion. Default: 32 (embedded model: 4).
    scale
        Multiplies the published learning rates. Default: 4096 / width of the decoder (of the
        tower: 1024 / its width), up to a rate of 2e-3.
    projector
        Another projector to put in, as mlp:depth=3,width=512; may be given several times.
    align_steps
        Steps of 32 captions that a new projector is aligned for.
    captions
        Data with captions that new projectors are aligned on.
    skill
        Held-out scenes asked before and after tuning.
    contrastive
        The CLIP model whose tower this is. Default: of the embedded models, their own.
    topic
        What the prompt calls the classes; the paper's is known for one domain only.
    output
        End prompts as the released code does.
    probe
        What reads the model's states in every setting; may be given several times. Default: all three.
    controls
        Probes on shuffled labels and behind a projector with permuted weights.
    inside
        Trace the answers to so many test pictures inside the model: attribution, neurons, concepts (at least 4).
    limit
        Pictures per part of a domain, classes in turn.
    bf16
        Train in mixed precision.
    checkpointing
        Compute activations again instead of keeping them.
    seed
        The first seed.
    batch_size
        Pictures answered together.
    workers
        Processes that share the work. Default: for an embedded model on the CPU one per core, else one.
    out
        Run directory. Default: `runs/project-MODEL`.
    resume
        Go on with the run in --out; finished settings are not repeated.
    fresh
        Replace the run in --out.
    """
    from chiasm import api
    from chiasm.cli.told import tell
    from chiasm.measures.probes.kinds import PROBES
    from chiasm.training import SETTINGS

    run = api.project(
        place.load(model),
        domain,
        settings=setting or tuple(SETTINGS),
        seeds=seeds,
        epochs=epochs,
        train_batch=train_batch,
        scale=scale,
        projectors=projector,
        align_steps=align_steps,
        captions=captions,
        skill=skill,
        contrastive=contrastive,
        topic=topic,
        output=output,
        probes=tuple(name for name in probe if name != "none") if probe else PROBES,
        controls=controls,
        inside=inside,
        limit=limit,
        bf16=bf16,
        checkpointing=checkpointing,
        seed=seed,
        batch_size=None if batch_size == "auto" else batch_size,
        workers=None if workers == "auto" else workers,
        say=lambda text: print(text, file=sys.stderr),
        out=out or Path("runs") / f"project-{Path(model).name}",
        resume=resume,
        fresh=fresh,
    )
    tell(run)
